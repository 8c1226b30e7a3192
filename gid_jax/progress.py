"""One progress bar for every long step: how far, how fast, how long still."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(
    steps: Iterable | None = None, *, name: str, total: int | None = None, initial: int = 0, unit: str = "it"
) -> Any:
    """A tqdm bar on stderr, redrawn in place on a terminal, a line every ten seconds elsewhere (logs, CI)."""
    terminal = sys.stderr.isatty()
    return tqdm(
        steps,
        desc=name,
        total=total,
        initial=initial,
        unit=unit,
        unit_scale=unit == "B",
        mininterval=0.2 if terminal else 10.0,
        maxinterval=10.0 if terminal else 30.0,
        dynamic_ncols=True,
        ascii=not terminal,
    )
