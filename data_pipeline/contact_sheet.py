"""contact_sheet.html, for the eye: what was accepted, what was rejected and why, and how the set's motion is spread.

One self-contained page. Of each verdict at most `SHOWN` clips are shown, spread evenly over the videos, so that the
page of a hundred thousand clips loads like that of a hundred.
"""

import base64
import collections
import dataclasses
import html
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHOWN = 60  # of each verdict
ACCEPTED = "accepted"
_WIDTH = 160  # of a thumbnail
_LIMITS = 0.3, 1000.0  # px, of a clip's spectrum
_PAPER = 0.2, 80.0  # Hz and px: what the paper's Fig. 2 shows, PAPER.md
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #111827; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } summary { font-size: 1.15rem; font-weight: 600; margin: 1.6rem 0 .4rem; cursor: pointer; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } small { color: #6b7280; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #e5e7eb; vertical-align: top; }
td img, td svg { display: block; } td.n { text-align: right; } td div { position: relative; }
hr { position: absolute; left: 50%; width: 50%; margin: 0; border: 0; border-top: 2px solid #dc2626; }
"""
_LEGEND = """<p>Each row: start frame (yellow marks: the row of the slice), motion map (mean displacement, white where
it is largest), X-t slice (that row, time downwards), amplitude of the motion by frequency (0.3 to 1000 px, logarithmic;
grey: mean of the accepted clips). Clips that were rejected before their motion was estimated share a row that shows the
video's first frame and the slice of its middle row; a red line in that marks a cut or a fade. Where a reason was seen
in the picture, a second picture shows it in red: light that changes, textured parts that move with the camera (green:
that stay), what drifts. <code>--keep=GLOB</code> accepts a video in spite of it.</p>"""


@dataclasses.dataclass(frozen=True)
class Row:
    """A clip; or a whole video where `start` is None; or `clips` clips of one, of which `start` is the first.

    `verdict`: what to list it under, ACCEPTED or the kind of the reason against it. `power` is the mean |S_k|^2, px^2
    at 256 wide. `strip` gives a JPEG, if there is one; `where` one that shows where the reason was seen, `when` tells
    at which share of the time that the slice covers.
    """

    name: str
    start: int | None
    verdict: str
    reason: str = ""
    power: Sequence[float] | None = None
    strip: Callable[[], bytes | None] | None = None
    clips: int = 1
    where: Callable[[], bytes | None] | None = None
    when: float | None = None


def strip(pictures: np.ndarray, trajectories: np.ndarray) -> bytes:
    """Start frame, motion map, X-t slice of the row that moves most, side by side as a JPEG.

    `pictures` uint8 [t, h, w, 3], `trajectories` [t, h, w, 2]. The map is the mean of |F_t|, white at its 99.5th
    percentile. Two marks show the row; its slice runs downwards.
    """
    motion = np.linalg.norm(trajectories, axis=-1).mean(axis=0)
    row = int(np.argmax(motion.mean(axis=1)))
    bright = motion / max(float(np.percentile(motion, 99.5)), 1e-6)
    heat = np.clip(bright[..., None] * 3 - np.arange(3), 0, 1) * 255
    start = pictures[0].copy()
    marks = max(2, start.shape[1] // 32)
    start[row, :marks] = start[row, -marks:] = (255, 255, 0)
    size = _WIDTH, round(_WIDTH * start.shape[0] / start.shape[1])
    parts = [
        Image.fromarray(part.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for part in (start, heat, pictures[:, row])
    ]
    return encode_jpeg(np.concatenate([np.asarray(part) for part in parts], axis=1))


def encode_jpeg(picture: np.ndarray) -> bytes:
    """uint8 [h, w] or [h, w, 3]."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=75)
    return out.getvalue()


def write(path: Path, title: str, rows: Sequence[Row], frequencies: Sequence[float]) -> None:
    """Writes the page as a whole. `frequencies` in Hz are those of `Row.power`."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(page(title, rows, frequencies).encode(errors="replace"))  # names of files may be anything
    temporary.replace(path)


def page(title: str, rows: Sequence[Row], frequencies: Sequence[float]) -> str:
    verdicts: dict[str, list[Row]] = collections.defaultdict(list, {ACCEPTED: []})
    for row in rows:
        verdicts[row.verdict].append(row)
    order = sorted(verdicts, key=lambda verdict: (verdict != ACCEPTED, -len(verdicts[verdict])))
    accepted = [row.power for row in verdicts[ACCEPTED] if row.power is not None]
    mean = np.mean(accepted, axis=0) if accepted else None
    counts = "".join(f"<tr><td>{html.escape(v)}</td><td class=n>{_clips(verdicts[v])}</td></tr>" for v in order)
    return "\n".join(
        [
            "<!doctype html><html lang='en'><meta charset='utf-8'>",
            f"<title>{html.escape(title)}</title><style>{_STYLE}</style><h1>{html.escape(title)}</h1>",
            f"<table><tr><th>verdict</th><th>clips</th></tr>{counts}</table>",
            _LEGEND,
            *([_spectrum(frequencies, mean, len(accepted))] if mean is not None else []),
            *(_group(verdict, verdicts[verdict], mean) for verdict in order),
        ]
    )


def _group(verdict: str, rows: Sequence[Row], mean: np.ndarray | None) -> str:
    count = min(SHOWN, len(rows))
    shown = [rows[i * len(rows) // count] for i in range(count)]
    note = f"{_clips(rows)} clips"
    if count < len(rows):
        note += f"; {count} of {len(rows)} rows are shown, spread evenly"
    body = "\n".join(_row(row, mean) for row in shown)
    return (
        f"<details open><summary>{html.escape(verdict)} <small>{note}</small></summary><table>{body}</table></details>"
    )


def _clips(rows: Sequence[Row]) -> int:
    return sum(row.clips for row in rows)


def _row(row: Row, mean: np.ndarray | None) -> str:
    picture, where = _image(row.strip), _image(row.where)
    if picture and row.when is not None:
        picture = f"<div>{picture}<hr style='top:{100 * row.when:.1f}%'></div>"
    curves = _curves(row.power, mean) if row.power is not None else ""
    more = f" and {row.clips - 1} more" if row.clips > 1 else ""
    place = "" if row.start is None else f"<br><small>frame {row.start}{more}</small>"
    reason = html.escape(row.reason or row.verdict)
    return (
        f"<tr><td>{picture}</td><td>{where}</td><td>{curves}</td>"
        f"<td>{html.escape(row.name)}{place}<br>{reason}</td></tr>"
    )


def _image(jpeg: Callable[[], bytes | None] | None) -> str:
    content = jpeg() if jpeg else None
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(content).decode()}'>" if content else ""


def _curves(power: Sequence[float], mean: np.ndarray | None) -> str:
    """A clip's amplitudes over the set's, as a drawing of 160 x 80."""
    low, high = np.log(_LIMITS)

    def line(values: Sequence[float] | np.ndarray, color: str) -> str:
        level = (np.log(np.maximum(np.sqrt(values), 1e-9)) - low) / (high - low)
        y = 78 - 76 * np.clip(level, 0, 1)
        x = np.linspace(2, 158, len(y))
        points = " ".join(f"{a:.0f},{b:.1f}" for a, b in zip(x, y, strict=True))
        return f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='1.5'/>"

    lines = (line(mean, "#d1d5db") if mean is not None else "") + line(power, "#2563eb")
    return f"<svg width='160' height='80' style='background:#f9fafb'>{lines}</svg>"


def _spectrum(frequencies: Sequence[float], power: np.ndarray, count: int) -> str:
    """The accepted clips' mean spectrum beside what the paper says of its own."""
    from matplotlib.figure import Figure  # takes its time, and the build's workers import this module

    hertz, amplitude = np.asarray(frequencies)[1:], np.maximum(np.sqrt(power[1:]), 1e-3)
    rate = np.polyfit(hertz, np.log(amplitude), 1)[0]
    figure = Figure((7, 3.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.semilogy(hertz, amplitude, "o-", color="#2563eb", markersize=3.5, label=f"{count} accepted clips")
    label = f"paper: {_PAPER[1]:g} px at {_PAPER[0]} Hz, about exponential"
    axes.semilogy(*_PAPER, "*", color="#d97706", markersize=13, label=label)
    line = _PAPER[1] * np.exp(rate * (hertz - _PAPER[0]))
    axes.semilogy(hertz, line, "--", color="#d97706", linewidth=1, label=f"exponential through it, {rate:.2f} per Hz")
    axes.set(xlabel="Hz", ylabel="amplitude, px at 256 wide")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return (
        f"<img alt='mean spectrum' src='data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}'>"
        "<p><small>Square root of the mean of |S_k|^2 over pixels, x and y, and accepted clips; unnormalised "
        "transform of 5 s at 30 fps, where a swing of 1 px is an amplitude of 75 px. The paper gives one value and the "
        "kind of fall; the dashed line falls as fast as this set's.</small></p>"
    )
