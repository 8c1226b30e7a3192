"""What a run writes down for people and scripts: `metrics.jsonl`, TensorBoard events, pictures, `config.json`."""

import io
import json
import os
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict
from PIL import Image

from gid_jax.checkpoints.checkpoint import CONFIG_FILE

METRICS_FILE = "metrics.jsonl"
PICTURES = "images"  # folder
INTERVAL = 60.0  # s between writes of what is expensive to write


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

    def __init__(self, path: epath.Path, lines: list[str]):
        self._path, self._lines, self._written = path, lines, time.monotonic()

    def add(self, line: str) -> None:
        self._lines.append(line)
        if time.monotonic() - self._written > INTERVAL:
            self.close()

    def close(self) -> None:
        self._path.write_text("".join(line + "\n" for line in self._lines))
        self._written = time.monotonic()


class _Events:
    """TensorBoard's event file. What cannot be written raises here: the thread of tensorboardX's own writer would
    die of a full disk unseen, and block its tenth caller for ever.
    """

    def __init__(self, workdir: str, start_step: int):
        # slow to import where torch is installed: not for a finished run
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._event, self._summary = event_pb2.Event, summary
        self._writer, self._written = EventsWriter(os.path.join(workdir, "events")), time.monotonic()
        if start_step:  # TensorBoard forgets later steps, which will be done again
            restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._add(start_step + 1, session_log=restart)

    def scalar(self, name: str, value: float, step: int) -> None:
        self._add(step, summary=self._summary.scalar(name, value))

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        self._add(step, summary=self._summary.image(name, picture, dataformats="HWC"))

    def _add(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._event(wall_time=time.time(), step=step, **content))
        if time.monotonic() - self._written > INTERVAL:
            self._writer.flush()
            self._written = time.monotonic()

    def close(self) -> None:
        self._writer.close()


class Records:
    """Appends a line `{"step": n, "split": "train"|"test", name: value, ...}` for each call of `write`; process 0 only.

    Lines beyond `start_step`, written by a run that was killed before its next checkpoint, are removed first: no step
    appears twice.
    """

    def __init__(self, workdir: str, start_step: int):
        self._file: _Appended | _Rewritten | None = None
        self._events: _Events | None = None
        self._folder = epath.Path(workdir) / PICTURES
        if jax.process_index():
            return
        path = epath.Path(workdir) / METRICS_FILE
        kept = path.read_text().splitlines() if path.exists() else []
        kept = [line for line in kept if _step(line) <= start_step]
        self._file = _Rewritten(path, kept) if "://" in str(workdir) else _Appended(path, kept)
        self._events = _Events(workdir, start_step)

    def write(self, split: str, step: int, metrics: Mapping[str, float]) -> None:
        if self._file is None or self._events is None:
            return
        rounded = {name: float(f"{value:.7g}") for name, value in metrics.items()}
        self._file.add(json.dumps({"step": step, "split": split, **rounded}))
        for name, value in metrics.items():
            self._events.scalar(f"{split}/{name}", value, step)

    def write_pictures(self, step: int, pictures: Mapping[str, np.ndarray]) -> None:
        """uint8 [h, w, 3] by name: for TensorBoard, and as images/NAME-STEP.png."""
        if self._events is None:
            return
        for name, picture in pictures.items():
            self._events.image(name, picture, step)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "png")
            self._folder.mkdir(exist_ok=True)
            (self._folder / f"{name}-{step:07d}.png").write_bytes(buffer.getvalue())

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
    try:
        temporary.write_text(json.dumps(config.to_dict(), indent=2) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
