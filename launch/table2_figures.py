"""The figures of table2: distances of every row, differences between rows, and which of the paper's orderings hold."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gid_jax.errors import UserError
from gid_jax.evaluation import clip_features
from gid_jax.evaluation.clip_features import Protocol
from gid_jax.metrics import distances, i3d, inception, networks
from gid_jax.metrics.bootstrap import estimate
from gid_jax.metrics.paired import paired_resamples

PAPER = {
    "repeat_i0": {"FVD": 237.5, "FVD32": 316.7},
    "k4": {"FID": 3.92, "KID": 0.07, "FVD": 60.3, "FVD32": 78.4},
    "k8": {"FID": 3.95, "KID": 0.07, "FVD": 52.1, "FVD32": 68.7},
    "size": {"FID": 4.53, "KID": 0.09, "FVD": 62.7, "FVD32": 80.1},
    "independent": {"FID": 4.00, "KID": 0.08, "FVD": 52.5, "FVD32": 71.3},
    "volume": {"FID": 4.74, "KID": 0.09, "FVD": 53.7, "FVD32": 71.1},
    "baseline_splat": {"FID": 4.25, "KID": 0.09, "FVD": 49.5, "FVD32": 66.8},
    "full": {"FID": 4.03, "KID": 0.08, "FVD": 47.1, "FVD32": 62.9},
}
"""Li et al. 2024, Table 2. The paper's Repeat I0 has no FID, since it would be of real frames."""
PAIRS = [(name, "full") for name in PAPER if name != "full"] + [("k4", "k8")]
INTERVAL = 1.96  # standard errors
Made = Mapping[tuple[str, int], Path]  # folders by row and seed


def check_networks() -> None:
    """Raises UserError where FID's or FVD's is missing."""
    for name in (inception.NAME, i3d.NAME):
        if not networks.present(name):
            raise UserError(f"missing weights: {networks.missing(name)}")


def measure(real: Path, made: Made, frame_step: int) -> dict:
    """`rows[NAME]` with the mean over seeds of each figure and its standard error, and `orderings`.

    Both errors are those of drawing pictures; with more seeds the spread between them is added.
    """
    protocol = Protocol(windows=(16, 32), all_windows=True, frame_step=frame_step)
    chosen = clip_features.measures(protocol, videos=True)
    figures: dict[str, tuple[str, int | None]] = {
        "FID": (inception.NAME, None),
        "KID": (inception.NAME, None),
        "FVD": (i3d.NAME, 16),
        "FVD32": (i3d.NAME, 32),
    }
    features = {}
    for key, folder in {("real", 0): real, **made}.items():
        side = clip_features.open_folder(folder / "clips", protocol)
        clip_features.measure(side, protocol, chosen)
        features[key] = {(m.network, m.window): side.features[m.tag] for m in chosen}
    rows: dict[str, dict] = {name: {"seeds": sorted(s for n, s in made if n == name)} for name, _ in made}
    values: dict[str, dict[tuple[str, int], float]] = {}
    draws: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    halves = {}
    for figure, place in figures.items():
        kernel, true = figure == "KID", features["real", 0][place]
        distance = distances.kid if kernel else distances.fid
        values[figure] = {key: distance(np.concatenate(true), np.concatenate(features[key][place])) for key in made}
        drawn = paired_resamples(true, [features[key][place] for key in made], kernel=kernel)
        draws[figure] = dict(zip(made, drawn.T, strict=True))
        halves[figure] = distances.of_halves(true, distance)
    for figure in figures:
        for name, row in rows.items():
            keys = [(name, seed) for seed in row["seeds"]]
            row[figure] = combine([values[figure][key] for key in keys], [draws[figure][key] for key in keys])
    for name, row in rows.items():
        row["motion"] = motion(made, name)
    return {"halves": halves, "rows": rows, "orderings": orderings(rows, values, draws)}


def combine(values: list[float], draws: list[np.ndarray]) -> dict[str, float]:
    """Mean of a figure over seeds, and its standard error: of drawing pictures, which seeds have in common, and of
    drawing seeds, as far as two or more tell it."""
    error = float(np.std(np.mean(draws, axis=0), ddof=1))
    between = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"value": float(np.mean(values)), "error": float(np.hypot(error, between))}


def motion(made: Made, name: str) -> dict[str, dict]:
    """Means of the motion figures over pictures and seeds, with intervals over pictures."""
    lists = [json.loads((folder / "motion.json").read_text()) for (row, _), folder in made.items() if row == name]
    each = [(i, case) for cases in lists for i, case in enumerate(cases)]
    groups = [i for i, _ in each]
    return {key: estimate([case[key] for _, case in each], groups).as_dict() for key in each[0][1]}


def orderings(rows: dict, values: dict, draws: dict) -> list[dict]:
    """For each pair of rows and figure that the paper tells apart, the difference here and what it says."""
    found = []
    for first, second in PAIRS:
        for figure in PAPER["full"]:
            if figure not in PAPER[first] or PAPER[first][figure] == PAPER[second][figure]:
                continue
            better, worse = sorted((first, second), key=lambda name: PAPER[name][figure])
            paper = [PAPER[name][figure] for name in (better, worse)]
            entry: dict = {"figure": figure, "better": better, "worse": worse, "paper": paper}
            if better in rows and worse in rows:
                entry |= _difference(rows, values[figure], draws[figure], better, worse)
            found.append({"verdict": "not trained"} | entry)
    return found


def _difference(rows: dict, values: dict, draws: dict, better: str, worse: str) -> dict:
    """Seed by seed; a row that has fewer seeds stands with its last one against the others of the other row."""
    seeds = [rows[name]["seeds"] for name in (better, worse)]
    pairs = [
        [(name, own[min(i, len(own) - 1)]) for name, own in zip((better, worse), seeds, strict=True)]
        for i in range(max(map(len, seeds)))
    ]
    difference = combine(*([of[theirs] - of[ours] for ours, theirs in pairs] for of in (values, draws)))
    return difference | {"verdict": verdict(**difference)}


def verdict(value: float, error: float) -> str:
    """Of the worse row's figure less the better one's."""
    if abs(value) <= INTERVAL * error:
        return "undecided"
    return "holds" if value > 0 else "does not hold"
