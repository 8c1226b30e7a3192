"""Which videos show the same thing, and where they come from: twenty takes of one rose count once."""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gid_jax.errors import UserError
from gid_jax.metrics import bootstrap


@dataclass(frozen=True)
class Subjects:
    """`entries` are (glob of video_id, source, subject): the first whose glob fits a video says what it is of. Without
    a subject each video is one of its own. No entries: nothing is known, and a video counts by its start frames."""

    entries: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Subjects":
        """Of `config.subjects`: "GLOB=SOURCE/SUBJECT", or "GLOB=SOURCE". Raises UserError for anything else."""
        entries = []
        for text in (texts,) if isinstance(texts, str) else texts:
            glob, _, of = str(text).rpartition("=")
            source, slash, subject = of.partition("/")
            if not glob or not source or (slash and not subject):
                raise UserError(
                    f"--config.subjects: {text!r} is not GLOB=SOURCE/SUBJECT or GLOB=SOURCE, as in 'rose*=studio/rose'"
                )
            entries.append((glob, source, subject))
        return cls(tuple(entries))

    def check(self, videos: Sequence[str]) -> None:
        """Raises UserError for a glob that fits none of `videos`, and for videos that no glob fits."""
        for glob, _, _ in self.entries:
            if not any(fnmatch.fnmatchcase(video, glob) for video in videos):
                raise UserError(f"--config.subjects: {glob!r} fits no video of the test split, such as {videos[0]}")
        for video in videos:
            if self.entries and self._entry(video) is None:
                raise UserError(f"--config.subjects: no glob fits {video}; end with '*=SOURCE' for all others")

    def of(self, video: str) -> tuple[str, str]:
        """Source, "" where nothing is known, and subject, which carries the source's name: no two sources share one."""
        entry = self._entry(video)
        if entry is None:
            return "", video
        _, source, subject = entry
        return source, f"{source}/{subject or video}"

    def estimate(self, values: Sequence[float] | np.ndarray, videos: Sequence[str]) -> dict:
        """Mean with an interval over videos; or mean of the subjects' means, with one over subjects."""
        return bootstrap.estimate(values, [self.of(v)[1] for v in videos], alike=bool(self.entries)).as_dict()

    def _entry(self, video: str) -> tuple[str, str, str] | None:
        return next((entry for entry in self.entries if fnmatch.fnmatchcase(video, entry[0])), None)


NOBODY = Subjects()
