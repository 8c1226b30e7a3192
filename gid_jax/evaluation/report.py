"""metrics.json for programs, report.html for people."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

from gid_jax import files
from gid_jax.evaluation import motion, rendering
from gid_jax.evaluation.comparison import FIGURES
from gid_jax.evaluation.plots import NAMES, curves, row_name
from gid_jax.evaluation.rows import ROWS
from gid_jax.evaluation.showcase import ClipShown

LARGEST = 6_000_000  # bytes of the page
FILES = ("report.html", "metrics.json")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e5e7eb; vertical-align: top; }
th { font-weight: 600; } td.n, small { color: #6b7280; } img { max-width: 100%; } .answer { font-size: 1.1rem; }
figure { margin: .8rem 0; } video { width: 100%; max-width: 40rem; } figcaption { color: #6b7280; }
"""


def prepare(out: Path) -> None:
    """Makes the folder `out`. Raises UserError where it cannot hold the report."""
    files.check_folder(out)
    for name in FILES:
        files.check_file(out / name)


def write(out: Path, metrics: dict, pictures: dict[str, bytes], clips: Sequence[ClipShown] = ()) -> None:
    """Writes report.html and then metrics.json into the folder `out`, each as a whole."""
    texts = page(metrics, pictures, clips), json.dumps(metrics, indent=1, allow_nan=False) + "\n"
    for name, text in zip(FILES, texts, strict=True):
        files.write_text(out / name, text)


def page(metrics: dict, pictures: dict[str, bytes], clips: Sequence[ClipShown] = ()) -> str:
    """One HTML page, pictures and clips inside; of `clips` as many as it holds within `LARGEST`."""
    truth = metrics["summary"]["truth"]
    protocol = metrics["protocol"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Evaluation</title>",
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style><h1>Evaluation</h1>",
        f"<p>{protocol['examples']} of {protocol['examples_in_split']} examples of the {protocol['split']} split of "
        f"<b>{html.escape(protocol['data_set'])}</b>, {protocol['picture'][0]} x {protocol['picture'][1]}, "
        f"{protocol['frequencies']} frequencies. Square brackets hold 95 % intervals over videos.</p>",
        f"<p class='answer'>{answer(metrics['summary'])}</p>",
        _overview(metrics),
        *_comparison(metrics.get("comparison")),
        *_sources(metrics["sources"]),
        *_over_time(metrics["distributions"], pictures),
        "<h2>Where things move</h2>",
        _image(pictures["correlation"], "correlation of motion maps"),
        *(_motion_table(name, metrics["motion"][name]) for name in metrics["motion"]),
        _legend({name: text for name, text in motion.BASELINES.items() if name != "stored" or truth == "exact"}),
        _image(pictures["maps"], "motion maps"),
        "<h2>How strongly, at which frequency</h2>",
        _image(pictures["bands"], "amplitude of each band"),
        _naturalness_table(metrics["naturalness"]),
        "<h2>How it looks over time</h2><p>The dotted row of each picture above, time downwards.</p>",
        _image(pictures["slices"], "X-t slices"),
        "<!--clips-->",
        "<h2>Renderer</h2>",
        _renderer_table(metrics["renderer"]),
        _legend(rendering.BASELINES),
        f"<h2>Protocol</h2>{_table(['', ''], [[key, json.dumps(value)] for key, value in protocol.items()])}",
    ]
    text = "\n".join(parts) + "\n"
    return text.replace("<!--clips-->", _clips(clips, LARGEST - len(text)))


def _overview(metrics: dict) -> str:
    """The table: all rows, all figures."""
    figures = metrics["motion"][metrics["summary"]["truth"]]
    known = {name: row for name, row in metrics["distributions"].items() if "value" in row and "rows" in row}
    lines = []
    for name in ROWS:
        of = ("map_correlation", 2), ("amplitude_error_db", 1)
        cells = [_value(None if name == "real" else figures[key].get(name), digits) for key, digits in of]
        cells += [_distance(row["rows"].get(name)) for row in known.values()]
        if set(cells) != {"-"}:
            lines.append([row_name(name), *cells])
    notes = ["; ".join(f"<b>{html.escape(row_name(name))}</b>: {html.escape(text)}" for name, text in ROWS.items())]
    if few := [name for name, row in known.items() if any("warning" in figure for figure in row["rows"].values())]:
        notes.append(f"{', '.join(few)}: so few vectors that the figure mostly tells how many there are; compare rows")
    for name, row in metrics["distributions"].items():
        if "missing" in row:
            notes.append(f"<b>{html.escape(name)}</b>: {html.escape(row['missing'])}")
    small = "".join(f"<p><small>{note}.</small></p>" for note in notes)
    return "<h2>The table</h2>" + _table(["", "motion maps, r", "amplitude error, dB", *known], lines) + small


def _distance(figure: dict | None) -> str:
    if figure is None:
        return "-"
    digits = 1 if abs(figure["value"]) >= 10 else 2
    interval = "" if figure["low"] is None else f" [{figure['low']:.{digits}f}, {figure['high']:.{digits}f}]"
    return f"{figure['value']:.{digits}f}{interval}"


def _comparison(comparison: dict | None) -> list[str]:
    if comparison is None:
        return []
    rows = [
        [
            FIGURES[name],
            *(_value(row[part], 3) for part in ("this", "other", "difference")),
            str(row["difference"]["n"]),
        ]
        for name, row in comparison["figures"].items()
    ]
    rows += [
        [name, f"{row['this']:.2f}", "-" if row["other"] is None else f"{row['other']:.2f}", "", ""]
        for name, row in comparison["distances"].items()
    ]
    over = f"Over the {comparison['examples']} examples common to both; distances are of all that each has."
    title = f"<h2>Beside {html.escape(comparison['with'])}</h2><p>{over}</p>"
    return [title, _table(["", "this", "the other", "this minus the other, paired", "n"], rows)]


def _sources(sources: dict[str, dict]) -> list[str]:
    found = []
    for name, metrics in sources.items():
        groups = next(iter(metrics["motion"].values()))["map_correlation"]["model"]["groups"]
        found.append(
            f"<details><summary>{html.escape(name)}, {groups} subjects</summary>{_overview(metrics)}"
            f"{_renderer_table(metrics['renderer'])}</details>"
        )
    return ["<h2>By source</h2>", *found] if found else []


def _over_time(distributions: dict[str, dict], pictures: dict[str, bytes]) -> list[str]:
    found = [_image(pictures[f"over_time_{name}"], f"{name} over time") for name in curves(distributions)]
    return ["<h2>Over time</h2>", *found] if found else []


def _clips(clips: Sequence[ClipShown], room: int) -> str:
    """The video at the left, the model's clip at the right, as many as there is room for."""
    parts = ["<h2>Best and worst</h2><p>Left the video, right the model's clip of its first frame.</p>"]
    for clip in clips:
        data = base64.b64encode(clip.video).decode()
        part = (
            f"<figure><video autoplay loop muted playsinline controls src='data:video/mp4;base64,{data}'></video>"
            + f"<figcaption>{html.escape(clip.title)}</figcaption></figure>"
        )
        if (room := room - len(part)) > 0:
            parts.append(part)
    return "\n".join(parts) if len(parts) > 1 else ""


def answer(summary: dict) -> str:
    """The first question in a sentence."""
    means = summary["map_correlation"]
    text = f"The predicted motion map correlates {means['model']:.2f} with the true one"
    for name in ("mean_spectrum", "shuffled"):
        if name in means:
            sure = {True: "surely less", False: "not surely less", None: "no interval"}[summary[f"beats_{name}"]]
            text += f"; {NAMES[name]}: {means[name]:.2f} ({sure})"
    return text + "."


def _motion_table(truth: str, figures: dict) -> str:
    correlation, amplitude = figures["map_correlation"], figures["amplitude_error_db"]
    rows = [
        [NAMES[name], _value(correlation[name], 2), _value(amplitude.get(name), 1), str(correlation[name]["n"])]
        for name in NAMES
        if name in correlation
    ]
    rows += [
        [f"model minus {NAMES[name]}", _value(correlation[f"model_minus_{name}"], 2), "", ""]
        for name in motion.RIVALS
        if f"model_minus_{name}" in correlation
    ]
    title = "Against the exact motion" if truth == "exact" else "Against the motion of the video (estimated flow)"
    return f"<h3>{title}</h3>" + _table(["", "correlation of motion maps", "amplitude error, dB", "n"], rows)


def _naturalness_table(figures: dict) -> str:
    rows = [
        [label, *(_value(figures[key].get(name), 2) for name in ("model", "stored", "exact"))]
        for key, label in (("phase_coherence", "phase coherence over frequencies"), ("wrap_jump", "wrap jump"))
    ]
    return _table(["", "model", "video (estimated flow)", "exact motion"], rows)


def _renderer_table(figures: dict) -> str:
    digits = {"psnr": 2, "ssim": 4, "lpips": 4}

    def row(title: str, name: str) -> list[str]:
        return [title, *(_value(figures[key][name], digits[key]) for key in rendering.FIGURES)]

    titles = {name: NAMES.get(name, "splatting alone") for name in ("model", *rendering.BASELINES)}
    rows = [row(title, name) for name, title in titles.items()]
    rows += [row(f"model minus {titles[name]}", f"model_minus_{name}") for name in rendering.BASELINES]
    return _table(["", *rendering.FIGURES.values()], rows)


def _value(estimate: dict | None, digits: int) -> str:
    if estimate is None:
        return "-"
    interval = "" if estimate["low"] is None else f" [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"
    return f"{estimate['mean']:.{digits}f}{interval}"


def _legend(texts: dict[str, str]) -> str:
    named = (f"<b>{NAMES.get(name, 'splatting alone')}</b>: {html.escape(text)}" for name, text in texts.items())
    return f"<p><small>{'; '.join(named)}.</small></p>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + "".join([line(head, "th"), *(line(row, "td") for row in rows)]) + "</table>"


def _image(png: bytes, title: str) -> str:
    return f"<img alt='{title}' src='data:image/png;base64,{base64.b64encode(png).decode()}'>"
