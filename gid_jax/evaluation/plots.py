"""The report's pictures, each a PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gid_jax.data.statistics import DatasetStatistics
from gid_jax.evaluation.motion import Case
from gid_jax.metrics.motion import map_correlation

NAMES = {
    "model": "model",
    "uncoordinated": "model without coordination",
    "shuffled": "model, shuffled pictures",
    "nearest": "nearest picture's motion",
    "mean_spectrum": "mean of training set",
    "eulerian": "constant (Eulerian) flow",
    "repeat_i0": "repeat I0",
    "real": "another real clip",
    "stored": "estimated flow",
    "exact": "exact motion",
}
COLOURS = {
    "model": "#2563eb",
    "uncoordinated": "#7dd3fc",
    "shuffled": "#9ca3af",
    "nearest": "#059669",
    "mean_spectrum": "#d97706",
    "eulerian": "#dc2626",
    "repeat_i0": "#7c3aed",
    "real": "#111827",
    "true": "#111827",
}


@dataclass(frozen=True)
class Scene:
    """One example as the report shows it: picture [h, w, 3], and row `row` of its frames over time, [t, w, 3], with
    true and with predicted motion; `recorded` says that the true ones are the video's own."""

    case: Case
    truth: str
    image: np.ndarray
    row: int
    true_slice: np.ndarray
    predicted_slice: np.ndarray
    recorded: bool


def draw(
    metrics: dict,
    cases: Sequence[Case],
    scenes: Sequence[Scene],
    mean_map: np.ndarray,
    mean_bands: np.ndarray,
    statistics: DatasetStatistics,
) -> dict[str, bytes]:
    """Name -> PNG."""
    truth = metrics["summary"]["truth"]
    return {
        "correlation": correlation(metrics, truth),
        "bands": bands(cases, truth, mean_bands, statistics),
        "maps": maps(scenes, mean_map),
        "slices": slices(scenes),
        **{f"over_time_{name}": over_time(name, row) for name, row in curves(metrics["distributions"]).items()},
    }


def row_name(name: str) -> str:
    """What a row of the table of distances is called."""
    return "two halves of the videos" if name == "real" else NAMES[name]


def curves(distributions: dict[str, dict]) -> dict[str, dict]:
    """Those distances that are over time, of two windows or more."""
    return {name: row for name, row in distributions.items() if len(row.get("starts", [])) > 1}


def over_time(name: str, row: dict) -> bytes:
    """A distance of one window after another, a line for each row of the table."""
    figure, axes = _figure(8, 3.2)
    for who, values in row["rows"].items():
        if None not in values:
            style = "o--" if who == "real" else "o-"
            axes.plot(row["starts"], values, style, markersize=4, label=row_name(who), color=COLOURS.get(who))
    axes.set_xlabel(f"first frame of a window of {row['frames']}")
    axes.set_ylabel(name.removeprefix("sliding "))
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return _png(figure)


def correlation(metrics: dict, truth: str) -> bytes:
    """Map correlation of every predictor: a dot for each example, the mean and its interval."""
    figures = metrics["motion"][truth]["map_correlation"]
    names = [name for name in NAMES if name in figures and name != "repeat_i0"]
    figure, axes = _figure(6.5, 0.5 + 0.45 * len(names))
    rng = np.random.default_rng(0)
    for place, name in enumerate(reversed(names)):
        values = [
            row["motion"][truth][name]["map_correlation"] for row in metrics["examples"] if name in row["motion"][truth]
        ]
        colour = COLOURS.get(name, "#059669")
        axes.plot(values, place + rng.uniform(-0.16, 0.16, len(values)), ".", color=colour, alpha=0.35, markersize=5)
        mean, low, high = (figures[name][key] for key in ("mean", "low", "high"))
        if low is not None:
            axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([mean], [place], "o", color=colour, markersize=8, markeredgecolor="white")
    axes.set_yticks(range(len(names)), [NAMES[name] for name in reversed(names)])
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.axvline(0, color="#111827", linewidth=0.8)
    axes.set_xlabel(f"correlation of motion maps with the {_truth_name(truth)}")
    return _png(figure)


def bands(cases: Sequence[Case], truth: str, mean_bands: np.ndarray, statistics: DatasetStatistics) -> bytes:
    """Amplitude of each frequency band, median and quartiles over examples: predicted, true, mean of the training
    set."""
    hertz = np.arange(len(mean_bands)) * statistics.fps / statistics.num_frames
    figure, axes = _figure(6.5, 3.2)
    volumes = {
        "true": [c.truths[truth].bands for c in cases if truth in c.truths],
        "model": [c.model.bands for c in cases],
    }
    for name, values in volumes.items():
        low, middle, high = np.quantile(np.maximum(values, 1e-3), [0.25, 0.5, 0.75], axis=0)
        axes.fill_between(hertz, low, high, color=COLOURS[name], alpha=0.15, linewidth=0)
        label = NAMES.get(name, _truth_name(truth))
        axes.plot(hertz, middle, "o-", color=COLOURS[name], markersize=4, label=label)
    axes.plot(hertz, mean_bands, "--", color=COLOURS["mean_spectrum"], label=NAMES["mean_spectrum"])
    axes.set_yscale("log")
    axes.set_xlabel("frequency, Hz")
    axes.set_ylabel("amplitude |S|, px")
    axes.legend(frameon=False)
    return _png(figure)


def maps(scenes: Sequence[Scene], mean_map: np.ndarray) -> bytes:
    """Picture, true, predicted and mean motion map of each scene; the maps of a row on one colour scale."""
    height = 1.5 * len(scenes)
    figure = Figure(figsize=(9.5, height + 0.2), layout="constrained")
    grid = figure.subplots(len(scenes), 4, squeeze=False)
    for row, scene in zip(grid, scenes, strict=True):
        true = scene.case.truths[scene.truth].map
        brightest = max(float(np.quantile(true, 0.995)), 1e-3)
        panels = {_truth_name(scene.truth): true, "predicted": scene.case.model.map, "mean of training set": mean_map}
        row[0].imshow(scene.image)
        row[0].axhline(scene.row, color="white", linewidth=0.6, linestyle=":")
        row[0].set_title(_shorten(f"{scene.case.video}, frame {scene.case.start}"), fontsize=7)
        for axes, (name, values) in zip(row[1:], panels.items(), strict=True):
            shown = axes.imshow(values, vmin=0, vmax=brightest, cmap="magma")
            r = "" if name == _truth_name(scene.truth) else f", r = {float(map_correlation(values, true)):.2f}"
            axes.set_title(name + r, fontsize=7)
        bar = figure.colorbar(shown, ax=list(row), fraction=0.02, pad=0.01)
        bar.set_label("px", fontsize=7)
        bar.ax.tick_params(labelsize=7)
        for axes in row:
            axes.set_axis_off()
    return _png(figure)


def slices(scenes: Sequence[Scene]) -> bytes:
    """One row of pixels over time (downwards): of the video, or rendered with the true motion, and as predicted."""
    columns = min(len(scenes), 3)
    rows = -(-len(scenes) // columns)
    figure = Figure(figsize=(9.5, 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for place, scene in enumerate(scenes):
        row, column = divmod(place, columns)
        for axes, shown, name in (
            (grid[row, 2 * column], scene.true_slice, "video" if scene.recorded else "true motion"),
            (grid[row, 2 * column + 1], scene.predicted_slice, "predicted"),
        ):
            axes.imshow(shown, aspect="auto", interpolation="nearest")
            axes.set_title(f"{place + 1}: {name}", fontsize=7)
    return _png(figure)


def _truth_name(truth: str) -> str:
    return "exact motion" if truth == "exact" else "motion of the video (estimated flow)"


def _shorten(text: str, length: int = 34) -> str:
    return text if len(text) <= length else "…" + text[1 - length :]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()
