"""What a sweep leaves for people: summary.csv, a row for each point, and sweep.png, their losses."""

import csv
import io
import json
import os
from collections.abc import Sequence

from etils import epath

from gid_jax.errors import UserError
from launch.sweep_points import Run

FILE_NAME, PLOT_NAME = "summary.csv", "sweep.png"
Record = dict[str, float]


def write(runs: Sequence[Run], workdir: str) -> str:
    """`summary.csv`: name, state, steps, seconds, config, the overrides by their dotted names, points it needs, and the
    last metrics of either split as `train.NAME` and `test.NAME`. Returns its path.
    """
    rows = [_row(run) for run in runs]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = sorted(names, key=lambda name: name.startswith(("train.", "test.")))  # stable: metrics go last
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return _replace(epath.Path(workdir) / FILE_NAME, text.getvalue().encode())


def recall_seconds(runs: Sequence[Run], workdir: str) -> None:
    """Adds the seconds that earlier starts took. Raises UserError where `summary.csv` is not what `write` wrote."""
    path = epath.Path(workdir) / FILE_NAME
    if not path.exists():
        return
    try:
        seconds = {row["name"]: float(row["seconds"]) for row in csv.DictReader(io.StringIO(path.read_text()))}
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: has no seconds for each point any more; remove it") from error
    for run in runs:
        run.seconds += seconds.get(run.point.name, 0.0)


def read_records(workdir: str) -> dict[str, list[Record]]:
    """The lines of `metrics.jsonl` by split; one that is cut off is left out."""
    from gid_jax.training.records import METRICS_FILE

    path = epath.Path(workdir) / METRICS_FILE
    records: dict[str, list[Record]] = {"train": [], "test": []}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            records[record.pop("split")].append(record)
        except (ValueError, KeyError):
            continue
    return records


def draw(runs: Sequence[Run], workdir: str) -> str:
    """`sweep.png`: for each stage the held-out loss of its points over steps. Returns its path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = list(dict.fromkeys(run.config.task for run in runs))
    figure, axes = pyplot.subplots(1, len(tasks), figsize=(1 + 5 * len(tasks), 4), squeeze=False)
    for axis, task in zip(axes[0], tasks, strict=True):
        for run in (run for run in runs if run.config.task == task):
            points = [(record["step"], record["loss"]) for record in read_records(run.workdir)["test"]]
            label = f"{run.point.name}  {points[-1][1]:.4g}" if points else f"{run.point.name}  {run.state}"
            axis.plot(*zip(*points, strict=True) if points else ((), ()), "o-", markersize=3, label=label)
        axis.set(title=task, xlabel="step", ylabel="held-out loss")
        axis.legend(fontsize=8)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130)
    pyplot.close(figure)
    return _replace(epath.Path(workdir) / PLOT_NAME, buffer.getvalue())


def _row(run: Run) -> dict:
    last = {split: records[-1] if records else {} for split, records in read_records(run.workdir).items()}
    steps = max((int(record["step"]) for record in last.values() if record), default=0)
    row = {"name": run.point.name, "state": run.state, "steps": steps, "seconds": f"{run.seconds:.1f}"}
    row |= {"config": run.point.config, **run.point.needs, **run.point.overrides}
    for split, record in last.items():
        row |= {f"{split}.{name}": value for name, value in record.items() if name != "step"}
    return row


def _replace(path: epath.Path, content: bytes) -> str:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
    return os.fspath(path)
