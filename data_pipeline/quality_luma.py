"""What one pass over a video's luma tells before any flow is spent: repeats, cuts, fades, black bars, a fingerprint.

Luma is of 255. The pass keeps a few pictures at a time, however long the video is.
"""

import base64
import collections
from typing import Any

import numpy as np
from PIL import Image

from data_pipeline.contact_sheet import encode_jpeg

_SIDE = 0.5  # s: a fade is judged by what lies so long before and after, ...
_LASTING = 2.0  # ... and by whether the picture comes back within so long
_THUMBNAIL = 16, 10  # no finer: what sways averages out
_COARSE = 8, 5
_ALIKE, _GAIN, _AS_ONE = 0.6, 2.0, 0.7  # same scene, other light: correlation, ratio of contrasts, share of the change
_STAYS = 0.25  # s: a change of light of which less than half is left so much later was a flash
_GRID = 0.125  # s: pictures are kept at times 0, g, 2 g, ... with g this or a double, double ... of it,
_KEPT = 32  # so that no more than this many are
LOOK = 32, 20  # pixels of the fingerprint's pictures
_MOMENTS = 32  # so many tell the changes, spread over the video
_TINY = 192  # tiny pictures kept, one of every n frames, with n as small as keeps them so few
_EDGE = 0.5  # a bar ends in a line: so much of the next two rows is brighter
_STRIP = 160, 100


class LumaPass:
    """Takes each frame's luma, float32 [h, w], upright, in order of time; `finish` tells what was found."""

    def __init__(self) -> None:
        self.differences: list[float] = []
        self.leaps: list[float] = []
        self.spans: list[float] = []
        self.kinks: list[float] = []
        self.relit: list[bool] = []
        self._first = self._before = np.zeros((0, 0), np.float32)
        self._recent: collections.deque[tuple[float, np.ndarray]] = collections.deque()
        self._judged = 0  # place in it of the next frame to be judged
        self._kept: list[np.ndarray] = []
        self._grid = _GRID
        self._tiny: list[np.ndarray] = []
        self._tiny_step = 1
        self._rows: list[np.ndarray] = []

    def add(self, time: float, luma: np.ndarray) -> None:
        if not self._kept:
            self._first = luma
        self.differences.append(_difference(luma, self._before))
        self.leaps.append(_leap(luma, self._before))
        self._before = luma
        self._recent.append((time, _resize(luma, _THUMBNAIL)))
        self._judge_fades(time - _LASTING)
        if time >= len(self._kept) * self._grid - 1e-3:
            self._kept.append(luma)
        if len(self._kept) > _KEPT:
            self._kept, self._grid = self._kept[::2], 2 * self._grid
        if (len(self.differences) - 1) % self._tiny_step == 0:
            self._tiny.append(_resize(luma, LOOK))
        if len(self._tiny) > _TINY:
            self._tiny, self._tiny_step = self._tiny[::2], 2 * self._tiny_step
        row = luma[luma.shape[0] // 2 : luma.shape[0] // 2 + 1]
        self._rows.append(np.asarray(_resize(row, (_STRIP[0], 1))[0], np.uint8))

    def _judge_fades(self, until: float) -> None:
        """Appends to `spans` and `kinks` for frames up to this time, and forgets what is no longer needed."""
        while self._judged < len(self._recent) and self._recent[self._judged][0] <= until:
            now = self._recent[self._judged][0]
            times, thumbnails = (np.asarray(part) for part in zip(*self._recent, strict=True))
            span, kink = _transition(times, thumbnails, now)
            self.spans.append(span)
            self.kinks.append(kink)
            self.relit.append(_is_relit(times, thumbnails, self._judged))
            self._judged += 1
            while self._recent[0][0] < now - _LASTING:
                self._recent.popleft()
                self._judged -= 1

    def finish(self, bar_luma: float) -> dict[str, Any]:
        """The fields of `video.Timeline` of the same names."""
        self._judge_fades(np.inf)
        self.differences[0] = _difference(self._first, self._before)
        self.leaps[0] = _leap(self._first, self._before)
        size = self._kept[-1].shape
        kept = [luma for luma in self._kept if luma.shape == size]
        bars = find_bars(np.stack(kept), bar_luma) if bar_luma else (0.0, 0.0, 0.0, 0.0)
        appearance, changes = _fingerprint(np.stack(self._tiny), bars)
        series = {"differences": self.differences, "leaps": self.leaps, "spans": self.spans, "kinks": self.kinks}
        return {
            **{name: tuple(round(value, 3) for value in values) for name, values in series.items()},
            "relit": tuple(self.relit),
            "bars": bars,
            "appearance": appearance,
            "changes": changes,
            "strip": self._strip(),
        }

    def _strip(self) -> str:
        """The first picture beside the middle row over time, downwards: a JPEG in base64."""
        picture = _resize(self._first, _STRIP)
        over_time = _resize(np.stack(self._rows).astype(np.float32), _STRIP)
        jpeg = encode_jpeg(np.concatenate([picture, over_time], axis=1).astype(np.uint8))
        return base64.b64encode(jpeg).decode()


def _transition(times: np.ndarray, thumbnails: np.ndarray, now: float) -> tuple[float, float]:
    """Span and kink (`video.Timeline`) at a time, of thumbnails [n, h, w] at `times`; (0, 1) where these end."""
    early, late = np.flatnonzero(times <= now - 0.9 * _SIDE), np.flatnonzero(times >= now + 0.9 * _SIDE)
    if not len(early) or not len(late) or late[0] - early[-1] < 2:
        return 0.0, 1.0
    before, after = thumbnails[early[-1]], thumbnails[late[0]]
    span = min(
        np.abs(thumbnails[late] - before).mean((1, 2)).min(), np.abs(thumbnails[early] - after).mean((1, 2)).min()
    )
    if _same_in_other_light(before, after):
        span = np.float32(0)
    way, between = after - before, thumbnails[early[-1] : late[0] + 1] - before
    gone = np.tensordot(between, way, axes=2) / max(float(np.sum(way**2)), 1e-6)
    gone = np.maximum.accumulate(np.clip(gone, 0, 1))
    if np.diff(gone).max() > 0.5:
        return float(span), 1.0  # a cut
    stray = np.abs(between - gone[:, None, None] * way)[1:-1].mean()
    return float(span), float(stray / max(float(np.abs(way).mean()), 1e-6))


def _is_relit(times: np.ndarray, thumbnails: np.ndarray, at: int) -> bool:
    """Whether a picture is the one before in other light, and stays so: a flash does not."""
    if at == 0 or not _same_in_other_light(thumbnails[at - 1], thumbnails[at]):
        return False
    change = thumbnails[at] - thumbnails[at - 1]
    later = thumbnails[min(np.searchsorted(times, times[at] + _STAYS), len(times) - 1)] - thumbnails[at - 1]
    return bool(later.mean() / change.mean() > 0.5)


def _same_in_other_light(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a camera that sets its exposure, or a cloud, made the one of the other, whatever sways meanwhile.

    All of the picture then grows brighter, or darker, and is still the same: correlated, of a contrast not far off.
    """
    change = after - before
    a, b = before - before.mean(), after - after.mean()
    contrasts = np.sqrt(float(np.sum(a * a))), np.sqrt(float(np.sum(b * b)))
    alike = float(np.sum(a * b)) > _ALIKE * contrasts[0] * contrasts[1]
    gain = contrasts[1] / max(contrasts[0], 1e-6)
    return alike and 1 / _GAIN < gain < _GAIN and bool(abs(change.mean()) > _AS_ONE * np.abs(change).mean())


def find_bars(lumas: np.ndarray, bar_luma: float) -> tuple[float, float, float, float]:
    """Black bars left, top, right and bottom as shares of the width and the height, of pictures [n, h, w].

    A bar is never brighter than `bar_luma` anywhere and ends in a straight line: beyond it at least half of the
    picture's width (or height) is brighter. A dark room passes the first test and fails the second.
    """
    brightest, mean = lumas.max(axis=0), lumas.mean(axis=0)
    left, right = (_bar(b.T, m.T, bar_luma) for b, m in ((brightest, mean), (brightest[:, ::-1], mean[:, ::-1])))
    inside = slice(left, brightest.shape[1] - right)
    brightest, mean = brightest[:, inside], mean[:, inside]
    top, bottom = (_bar(b, m, bar_luma) for b, m in ((brightest, mean), (brightest[::-1], mean[::-1])))
    height, width = lumas.shape[1:]
    return left / width, top / height, right / width, bottom / height


def _bar(brightest: np.ndarray, mean: np.ndarray, bar_luma: float) -> int:
    """Rows of a bar at the top, with the one after it, where bar and picture mix; 0: none."""
    bright = brightest.max(axis=1) > bar_luma
    count = int(np.argmax(bright))
    if not bright.any() or count == 0 or count > len(mean) * 0.45:
        return 0
    beyond = mean[count : count + 2].max(axis=0) > bar_luma
    return count + 1 if beyond.mean() >= _EDGE else 0


def _fingerprint(tiny: np.ndarray, bars: tuple[float, float, float, float]) -> tuple[str, str]:
    """The mean picture [20, 32], and how the picture departs from it in even shares of the video [n, 20, 32].

    Each of unit length, int8 in base64. `tiny` are pictures [t, 20, 32] in equal steps of time.
    """
    height, width = tiny.shape[1:]
    left, top, right, bottom = (s * n for s, n in zip(bars, (width, height, width, height), strict=True))
    inner = left, top, width - right, height - bottom
    seen = np.stack([_resize(picture, LOOK, inner) for picture in tiny]) if any(bars) else tiny
    mean = seen.mean(axis=0)
    edges = np.linspace(0, len(seen), _MOMENTS + 1)
    sums = np.concatenate([np.zeros_like(seen[:1]), np.cumsum(seen - mean, axis=0, dtype=np.float64)])
    low = np.minimum(np.floor(edges).astype(int), len(seen) - 1)
    whole = sums[low] + (edges - low)[:, None, None] * (seen[low] - mean)
    moments = np.diff(whole, axis=0).astype(np.float32)
    return _pack(mean - mean.mean()), _pack(moments)


def _pack(values: np.ndarray) -> str:
    scaled = np.round(values * (127 / max(float(np.abs(values).max()), 1e-6)))
    return base64.b64encode(scaled.astype(np.int8).tobytes()).decode()


def unpack(text: str) -> np.ndarray:
    """Float32 [n] of unit length (or zero) of a packed part of a fingerprint."""
    values = np.frombuffer(base64.b64decode(text), np.int8).astype(np.float32)
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _difference(luma: np.ndarray, before: np.ndarray) -> float:
    """Mean |difference|; 255 where the size changes."""
    return float(np.abs(luma - before).mean()) if luma.shape == before.shape else 255.0


def _leap(luma: np.ndarray, before: np.ndarray) -> float:
    """Mean |difference| of what is left of two pictures at 8 x 5 pixels."""
    return _difference(_resize(luma, _COARSE), _resize(before, _COARSE)) if before.size else 255.0


def _resize(
    luma: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """float32 [h, w], or its part from left, top to right, bottom, at another (width, height), averaged."""
    return np.asarray(Image.fromarray(luma).resize(size, Image.Resampling.BOX, box), np.float32)
