"""The figures of table2 as a page for people."""

from collections.abc import Mapping

from launch.table2_figures import INTERVAL

FIGURES = ("FID", "KID", "FVD", "FVD32")
MOTION = {
    "map_correlation": "correlation of motion maps",
    "amplitude_error_db": "amplitude error, dB",
    "phase_coherence": "phase coherence",
}
VERDICTS = ("holds", "does not hold", "undecided", "not trained")
PAGE = """# Table 2 in small

Written by `launch/table2.sh`, which goes on from where it stopped. What each part of the method is worth at a scale
that two cores train: compare rows with each other, not with the paper's values.

Preset `demo` at {width} x {height}, {training} procedural training scenes, cached latents; steps: {steps}. {pictures}
pictures of {videos} test scenes, {frames} frames of each, begun at another time of the period in each; FID and KID of
every {frame_step}th frame; sampling: {sampling}. One VAE serves all K of one normalisation, one renderer all
rows but the baseline splat.

{table}

{missing}FID to FVD32: value +- 1.96 standard errors over pictures (bootstrap) and, of rows with two seeds, over seeds.
So few clips leave them far above what the same model would have with thousands; the halves are of half as many clips
and of other scenes, so higher still. Motion figures stand against the exact motion, with 95 % intervals over pictures:
maps of each row's K frequencies against those of 16, amplitudes and phases in the four frequencies that all rows have.

## The paper's orderings

The difference is of the same pictures, the worse row's figure less the better one's: above zero the ordering holds.
Intervals are of 95 %: of so many lines one or two are decided by chance.

{orderings}

{counts}.
"""


def write(result: dict, titles: Mapping[str, str]) -> str:
    """Markdown. `result` is what table2.json holds, `titles` are the rows by name in the order of the table."""
    protocol, rows = result["protocol"], result["rows"]
    missing = [title for name, title in titles.items() if name not in rows]
    verdicts = [entry["verdict"] for entry in result["orderings"]]
    return PAGE.format(
        width=protocol["size"][0],
        height=protocol["size"][1],
        training=protocol["training_examples"],
        steps=", ".join(f"{task} {count}" for task, count in protocol["steps"].items()),
        pictures=len(protocol["pictures"]),
        **{name: protocol[name] for name in ("videos", "frames", "frame_step", "sampling")},
        table=_table(result, titles),
        missing=f"**Not trained yet, and left out:** {', '.join(missing)}.\n\n" if missing else "",
        orderings=_orderings(result["orderings"], titles),
        counts=", ".join(f"{verdict}: {verdicts.count(verdict)}" for verdict in VERDICTS),
    )


def _table(result: dict, titles: Mapping[str, str]) -> str:
    rows = result["rows"]
    lines = [["row", "seeds", *FIGURES, *MOTION.values()], ["---"] * (2 + len(FIGURES) + len(MOTION))]
    for name, title in titles.items():
        if name in rows:
            figures = [_with_error(rows[name][figure]) for figure in FIGURES]
            lines.append(
                [title, str(len(rows[name]["seeds"])), *figures, *(_motion(rows[name], key) for key in MOTION)]
            )
    halves = [_number(result["halves"][figure]) for figure in FIGURES]
    true = "true_phase_coherence"
    coherence = next((_motion(row, true) for row in rows.values() if true in row["motion"]), "-")
    lines.append(["*real: one half against the other*", "", *halves, "1", "0", coherence])
    return _markdown(lines)


def _orderings(orderings: list[dict], titles: Mapping[str, str]) -> str:
    lines = [["figure", "the paper's better", "worse", "paper", "difference here", ""], ["---"] * 6]
    for entry in orderings:
        paper = " < ".join(f"{value:g}" for value in entry["paper"])
        here = _with_error(entry) if "value" in entry else "-"
        lines.append([entry["figure"], titles[entry["better"]], titles[entry["worse"]], paper, here, entry["verdict"]])
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _with_error(figure: dict) -> str:
    return f"{_number(figure['value'])} +- {_number(INTERVAL * figure['error'])}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _motion(row: dict, key: str) -> str:
    entry = row["motion"].get(key)
    return f"{entry['mean']:.2f} ({entry['low']:.2f} to {entry['high']:.2f})" if entry else "-"
