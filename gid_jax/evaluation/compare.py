"""Distances between two folders of videos or pictures: each with its error, its floor, and over time."""

from dataclasses import dataclass

from gid_jax.evaluation.clip_features import Measure, Protocol, Side
from gid_jax.evaluation.figures import between, over_time
from gid_jax.evaluation.saved_statistics import Saved
from gid_jax.metrics import distances, i3d, inception, networks

FORMAT = 1  # of distances.json
SLIDING_FRAMES = 30  # of sliding FID


@dataclass(frozen=True)
class Row:
    """A figure by its name, and the measure whose features it compares."""

    name: str
    measure: Measure
    kernel: bool = False


def compare(real: Side | Saved, fake: Side, chosen: list[Measure], protocol: Protocol) -> dict:
    """Everything that distances.json holds."""
    rows = {row.name: row for row in rows_of(chosen)}
    figures = {name: _figure(row, real, fake) for name, row in rows.items()}
    figures |= {name: _empty(reason) for name, reason in missing(protocol, not fake.pictures).items()}
    return {
        "format": FORMAT,
        "protocol": describe(protocol, chosen) | fake.describe(),
        "real": {"from": str(real.folder), "clips": real.count, "left_out": dict(real.left_out)},
        "fake": {"from": str(fake.folder), "clips": fake.count, "left_out": dict(fake.left_out)},
        "distances": dict(sorted(figures.items(), key=lambda item: _ORDER.index(item[0].rstrip("0123456789")))),
        "sliding": _sliding(rows, real, fake, protocol) if isinstance(real, Side) and not fake.pictures else {},
    }


def describe(protocol: Protocol, chosen: list[Measure]) -> dict:
    """What was done, for whoever reads the figures or compares with them later."""
    videos = any(measure.videos for measure in chosen)
    return {
        "networks": {measure.network: measure.source for measure in chosen},
        "crop": list(protocol.crop) if protocol.crop else None,
        "inception_resize": protocol.resize,
        "inception_frames": f"every {protocol.frame_step}th" if videos else "all",
        "i3d_resize": "224 x 224, bilinear as TensorFlow 1",
        "windows": "end to end, frames as stored",
        "kid": f"times 100, {distances.SUBSETS} subsets of {distances.SUBSET_SIZE}, or all where there are fewer",
        "interval": "95 %, value +- 1.96 standard errors of a bootstrap over clips",
        "halves": "distance between two halves of REAL, drawn at random, seed 0",
    }


_ORDER = ("FID", "KID", "FVD", "DTFVD")


def rows_of(chosen: list[Measure]) -> list[Row]:
    """The figures that the networks give."""
    found = []
    for measure in chosen:
        if measure.network == inception.NAME:
            found += [Row("FID", measure), Row("KID", measure, kernel=True)]
        else:
            name = "FVD" if measure.network == i3d.NAME else "DTFVD"
            found.append(Row(window_name(name, measure.window or 0), measure))
    return found


def window_name(name: str, window: int) -> str:
    """FVD is of 16 frames, as papers have it; others are called FVD32 and so on."""
    return name if window == 16 else f"{name}{window}"


def missing(protocol: Protocol, videos: bool) -> dict[str, str]:
    """The figures whose weights are not there, and how to get them."""
    lacking = {} if networks.present(inception.NAME) else dict.fromkeys(("FID", "KID"), inception.NAME)
    for window in protocol.windows if videos else ():
        needed = {window_name("FVD", window): i3d.NAME, window_name("DTFVD", window): f"i3d-dtdb{window}"}
        lacking |= {
            name: network
            for name, network in needed.items()
            if network in networks.ENTRIES and not networks.present(network)
        }
    return {name: f"missing weights: {networks.missing(network)}" for name, network in lacking.items()}


def _empty(reason: str) -> dict:
    return {"value": None, "missing": reason}


def _figure(row: Row, real: Side | Saved, fake: Side) -> dict:
    tag = row.measure.tag
    for side in (real, fake):
        if tag in side.too_short:
            return _empty(f"shorter than the window: {side.too_short[tag]}")
    made = fake.features[tag]
    if isinstance(real, Side):
        true = real.features[tag]
        halves = distances.of_halves(true, distances.kid if row.kernel else distances.fid)
        return between(row.measure.network, true, made, kernel=row.kernel) | {"halves": halves}
    if row.kernel:
        return _empty("needs the features of REAL; saved statistics hold only mean and covariance")
    if tag not in real.normals:
        return _empty(f"{real.folder} was made without {row.measure.network}")
    return between(row.measure.network, real.normals[tag], made) | {"halves": real.halves.get(tag)}


def _sliding(rows: dict[str, Row], real: Side, fake: Side, protocol: Protocol) -> dict:
    """FID of windows of 30 frames and FVD of one window after another, as far as every clip reaches."""
    curves = {}
    shortest = min(real.frames + fake.frames)
    if "FID" in rows and shortest >= SLIDING_FRAMES:
        tag, step = rows["FID"].measure.tag, protocol.frame_step
        starts = list(range(0, shortest - SLIDING_FRAMES + 1, SLIDING_FRAMES))
        spans = [slice(-(-start // step), -(-(start + SLIDING_FRAMES) // step)) for start in starts]
        curves["FID"] = {
            "frames": SLIDING_FRAMES,
            "starts": starts,
            "values": over_time(real.features[tag], fake.features[tag], spans, spans),
        }
    name = next((name for name in rows if name.startswith("FVD")), None)
    if name is not None and rows[name].measure.tag in real.features and rows[name].measure.tag in fake.features:
        tag, window = rows[name].measure.tag, rows[name].measure.window or 0
        starts = list(range(0, shortest - window + 1, window))
        spans = [slice(i, i + 1) for i in range(len(starts))]
        curves[name] = {
            "frames": window,
            "starts": starts,
            "values": over_time(real.features[tag], fake.features[tag], spans, spans),
        }
    return curves


def table(result: dict) -> list[str]:
    """The figures as lines for people."""
    lines = [f"{'':8}{'value':>10}{'95 % interval':>22}{'halves of REAL':>16}{'n real':>9}{'n fake':>9}"]
    warned = set()
    for name, figure in result["distances"].items():
        if figure["value"] is None:
            lines.append(f"{name:8}{'-':>10}  {figure['missing']}")
            continue
        interval = "-" if figure["error"] is None else f"{_short(figure['low'])} to {_short(figure['high'])}"
        counts, halves = figure["n"], "-" if figure["halves"] is None else _short(figure["halves"])
        lines.append(
            f"{name:8}{_short(figure['value']):>10}{interval:>22}{halves:>16}{counts['real']:>9}{counts['fake']:>9}"
        )
        if "warning" in figure:
            warned.add(f"{name}: {figure['warning']}")
    for name, curve in result["sliding"].items():
        lines.append(f"{name} over time, windows of {curve['frames']}: {' '.join(map(_short, curve['values']))}")
    lines += sorted(warned)
    for side in ("real", "fake"):
        left_out = result[side]["left_out"]
        if left_out:
            lines.append(f"left out of {side.upper()}, {len(left_out)} of {len(left_out) + result[side]['clips']}:")
            lines += [f"  {path}: {reason}" for path, reason in left_out.items()]
    done = result["protocol"]
    crop = "the centre" if done["crop"] else "whole"
    lines.append(
        f"protocol: {done['of']}, {crop}, {done['size'][0]} x {done['size'][1]}; Inception {done['inception_resize']}, "
        f"frames: {done['inception_frames']}; I3D at {done['i3d_resize']}; KID {done['kid']}"
    )
    return lines


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4f}"
