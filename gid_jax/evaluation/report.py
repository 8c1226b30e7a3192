"""metrics.json for programs, report.html for people."""

import base64
import html
import json
from pathlib import Path

from gid_jax import files
from gid_jax.evaluation import motion, rendering
from gid_jax.evaluation.plots import NAMES

FILES = ("report.html", "metrics.json")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #111827; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e5e7eb; vertical-align: top; }
th { font-weight: 600; } td.n, small { color: #6b7280; } img { max-width: 100%; } .answer { font-size: 1.1rem; }
"""


def prepare(out: Path) -> None:
    """Makes the folder `out`. Raises UserError where it cannot hold the report."""
    files.check_folder(out)
    for name in FILES:
        files.check_file(out / name)


def write(out: Path, metrics: dict, pictures: dict[str, bytes]) -> None:
    """Writes report.html and then metrics.json into the folder `out`, each as a whole."""
    texts = page(metrics, pictures), json.dumps(metrics, indent=1, allow_nan=False) + "\n"
    for name, text in zip(FILES, texts, strict=True):
        files.write_text(out / name, text)


def page(metrics: dict, pictures: dict[str, bytes]) -> str:
    """One HTML page, pictures inside."""
    truth = metrics["summary"]["truth"]
    protocol = metrics["protocol"]
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Evaluation</title>",
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style><h1>Evaluation</h1>",
        f"<p>{protocol['examples']} of {protocol['examples_in_split']} examples of the {protocol['split']} split of "
        f"<b>{html.escape(protocol['data_set'])}</b>, {protocol['picture'][0]} x {protocol['picture'][1]}, "
        f"{protocol['frequencies']} frequencies. Square brackets hold 95 % intervals over videos.</p>",
        f"<p class='answer'>{answer(metrics['summary'])}</p>",
        "<h2>Where things move</h2>",
        _image(pictures["correlation"], "correlation of motion maps"),
        *(_motion_table(name, metrics["motion"][name]) for name in metrics["motion"]),
        _legend({name: text for name, text in motion.BASELINES.items() if name != "stored" or truth == "exact"}),
        _image(pictures["maps"], "motion maps"),
        "<h2>How strongly, at which frequency</h2>",
        _image(pictures["bands"], "amplitude of each band"),
        _naturalness_table(metrics["naturalness"]),
        "<h2>How it looks over time</h2><p>The dotted row of each picture above, time downwards, five seconds.</p>",
        _image(pictures["slices"], "X-t slices"),
        "<h2>Renderer</h2>",
        _renderer_table(metrics["renderer"]),
        _legend(rendering.BASELINES),
        "<h2>Distances between distributions</h2>",
        _table(
            ["", "of", "value"],
            [[name, row["of"], row["missing"]] for name, row in metrics["distributions"].items()],
        ),
        f"<h2>Protocol</h2>{_table(['', ''], [[key, json.dumps(value)] for key, value in protocol.items()])}",
    ]
    return "\n".join(parts) + "\n"


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
        for name in ("mean_spectrum", "shuffled")
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
