"""What a run writes down for people and scripts: `metrics.jsonl`, TensorBoard events, `config.json`."""

import json
import time
from collections.abc import Mapping

import jax
from etils import epath
from ml_collections import ConfigDict

from gid_jax.training.checkpoint import CONFIG_FILE

METRICS_FILE = "metrics.jsonl"


class _Appended:
    """A file that holds `lines` and every later one."""

    def __init__(self, path: epath.Path, lines: list[str]):
        if lines or path.exists():
            temporary = path.with_name(path.name + ".tmp")
            temporary.write_text("".join(line + "\n" for line in lines))
            temporary.replace(path)
        self._file = path.open("a")

    def add(self, line: str) -> None:
        self._file.write(line + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Rewritten:
    """The same where nothing can be appended, as in object storage: written as a whole, at most once in a minute."""

    INTERVAL = 60.0  # s

    def __init__(self, path: epath.Path, lines: list[str]):
        self._path, self._lines, self._written = path, lines, time.monotonic()

    def add(self, line: str) -> None:
        self._lines.append(line)
        if time.monotonic() - self._written > self.INTERVAL:
            self.close()

    def close(self) -> None:
        self._path.write_text("".join(line + "\n" for line in self._lines))
        self._written = time.monotonic()


class Records:
    """Appends a line `{"step": n, "split": "train"|"test", name: value, ...}` for each call of `write`; process 0 only.

    Lines beyond `start_step`, written by a run that was killed before its next checkpoint, are removed first: no step
    appears twice.
    """

    def __init__(self, workdir: str, start_step: int):
        self._file: _Appended | _Rewritten | None = None
        self._events = None
        if jax.process_index():
            return
        from tensorboardX import SummaryWriter  # slow to import where torch is installed: not for a finished run

        path = epath.Path(workdir) / METRICS_FILE
        kept = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in kept if _step(line) <= start_step]
        self._file = _Rewritten(path, kept) if "://" in str(workdir) else _Appended(path, kept)
        self._events = SummaryWriter(str(workdir), purge_step=start_step + 1 if start_step else None)

    def write(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        if self._file is None or self._events is None:
            return
        rounded = {name: float(f"{value:.7g}") for name, value in metrics.items()}
        self._file.add(json.dumps({"step": step, "split": split, **rounded}))
        for name, value in metrics.items():
            self._events.add_scalar(f"{split}/{name}", value, step)

    def close(self) -> None:
        if self._file is not None and self._events is not None:
            self._file.close()
            self._events.close()


def write_config(workdir: str, config: ConfigDict) -> None:
    """`config.json`, written by process 0 under a temporary name and renamed."""
    if jax.process_index():
        return
    path = epath.Path(workdir) / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(CONFIG_FILE + ".tmp")
    temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    temporary.replace(path)


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
