"""What a run writes down for people and scripts: `metrics.jsonl`, TensorBoard events, `config.json`."""

import json
from collections.abc import Mapping

import jax
from etils import epath
from ml_collections import ConfigDict

from gid_jax.training.checkpoint import CONFIG_FILE

METRICS_FILE = "metrics.jsonl"


class Records:
    """Appends a line `{"step": n, "split": "train"|"test", name: value, ...}` for each call of `write`; process 0 only.

    Lines beyond `start_step`, written by a run that was killed before its next checkpoint, are removed first: no step
    appears twice.
    """

    def __init__(self, workdir: str, start_step: int):
        self._file = self._events = None
        if jax.process_index():
            return
        from tensorboardX import SummaryWriter  # slow to import where torch is installed: not for a finished run

        path = epath.Path(workdir) / METRICS_FILE
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step(line) <= start_step]
            temporary = path.with_name(METRICS_FILE + ".tmp")
            temporary.write_text("".join(line + "\n" for line in kept))
            temporary.replace(path)
        self._file = path.open("a")
        self._events = SummaryWriter(str(workdir), purge_step=start_step + 1 if start_step else None)

    def write(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        if self._file is None or self._events is None:
            return
        rounded = {name: float(f"{value:.7g}") for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step, "split": split, **rounded}) + "\n")
        self._file.flush()
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
