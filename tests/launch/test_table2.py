"""Table 2 in small: which rows are trained, what their figures say of the paper's orderings, and the page."""

import json
from pathlib import Path

import numpy as np
import pytest
import stand_in_networks
from PIL import Image

from gid_jax import cli
from gid_jax.errors import UserError
from launch import table2, table2_document, table2_figures

TITLES = {name: row.title for name, row in table2.ROWS.items()}


def fake_points(folder: Path, steps: dict[str, int]) -> None:
    """Workdirs at these steps of eight."""
    for name, step in steps.items():
        (folder / name / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps({"task": "vae", "num_steps": 8}))


def test_a_row_is_there_when_all_its_points_are_at_their_end(tmp_path):
    points = ["full_vae", "full_denoiser", "full_coordinated", "renderer", "full_denoiser_seed1", "k4_coordinated"]
    fake_points(tmp_path, dict.fromkeys(points, 8) | {"size_vae": 8, "size_coordinated": 4, "full_volume": 8})
    found = [(name, seed) for name, seed, _ in table2.trained(tmp_path)]
    expected = [("repeat_i0", 0), ("k4", 0), ("independent", 0), ("independent", 1), ("volume", 0), ("full", 0)]
    assert found == expected


def test_rows_are_of_points_that_the_sweep_has():
    from configs.sweeps.table2 import SEEDS, get_points

    names = {point.name for point in get_points("test")}
    for row in table2.ROWS.values():
        for seed in SEEDS if row.denoiser else ():
            assert {row.vae, table2.seeded(row.denoiser, seed), row.renderer} <= names
    assert set(table2.ROWS) == set(table2_figures.PAPER)


@pytest.mark.parametrize(
    ("value", "error", "said"), [(2.0, 1.0, "holds"), (-2.0, 1.0, "does not hold"), (1.9, 1.0, "undecided")]
)
def test_verdict_is_of_the_interval(value, error, said):
    assert table2_figures.verdict(value, error) == said


def test_seeds_add_their_own_error():
    draws = [np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])]
    assert table2_figures.combine([2.0], draws[:1]) == {"value": 2.0, "error": pytest.approx(1.0)}
    both = table2_figures.combine([2.0, 4.0], draws)
    assert both == {"value": 3.0, "error": pytest.approx((1.0 + 2.0 / 2) ** 0.5)}  # sd of 2 and 4: sqrt 2


def clips(folder: Path, brightness: float) -> Path:
    """Four clips of 32 frames of noise around a brightness, and figures of motion."""
    random = np.random.default_rng(0)
    for number in range(4):
        place = folder / "clips" / f"{number:05}"
        place.mkdir(parents=True)
        level = brightness + 9 * number
        for frame in range(32):
            picture = np.clip(level + random.normal(scale=6 + number, size=(16, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(place / f"{frame:03}.png")
    moved = {"map_correlation": 0.5, "amplitude_error_db": 3.0, "phase_coherence": 0.4, "true_phase_coherence": 0.6}
    still = {"map_correlation": 0.0}
    (folder / "motion.json").write_text(json.dumps([still if "repeat" in folder.name else moved] * 4))
    return folder


def test_figures_and_page(tmp_path, monkeypatch):
    stand_in_networks.install(tmp_path, monkeypatch)
    made = {
        (name, 0): clips(tmp_path / name, brightness)
        for name, brightness in {"repeat_i0": 200.0, "full": 70.0, "k4": 90.0}.items()
    }
    result = table2_figures.measure(clips(tmp_path / "real", 60.0), made, frame_step=8)
    rows = result["rows"]
    assert rows["full"]["FVD"]["value"] < rows["k4"]["FVD"]["value"] < rows["repeat_i0"]["FVD"]["value"]
    said = {(entry["figure"], entry["better"], entry["worse"]): entry for entry in result["orderings"]}
    assert said["FVD", "full", "repeat_i0"]["verdict"] == "holds"
    assert said["FVD", "full", "volume"]["verdict"] == "not trained"
    fid = said["FID", "k4", "full"]  # which the paper has the other way round
    difference = rows["full"]["FID"]["value"] - rows["k4"]["FID"]["value"]
    assert fid["value"] == pytest.approx(difference) and fid["verdict"] == "does not hold"
    assert ("FID", "full", "repeat_i0") not in said and ("KID", "full", "independent") not in said

    protocol = {"size": [24, 16], "training_examples": 9, "pictures": [0, 1, 2, 3], "videos": 4, "frames": 32}
    protocol |= {"frame_step": 8, "sampling": "none", "steps": {"vae": 5}}
    page = table2_document.write({"protocol": protocol} | result, TITLES)
    assert "| full, K = 16 | 1 |" in page and "| Repeat I0 | 1 |" in page
    assert "**Not trained yet, and left out:** K = 8, without adaptive" in page
    assert page.count("| holds |") == sum(entry["verdict"] == "holds" for entry in result["orderings"])
    assert "0.40 (0.40 to 0.40)" in page and "0.60 (0.60 to 0.60)" in page and "{" not in page


def test_clips_of_another_protocol_are_not_mixed(tmp_path):
    protocol = {"pictures": [1, 2], "steps": {"vae": 1}}
    table2.check_unchanged(tmp_path, protocol)
    table2.check_unchanged(tmp_path, protocol | {"steps": {"vae": 2}})
    with pytest.raises(UserError, match="name another folder"):
        table2.check_unchanged(tmp_path, protocol | {"pictures": [1]})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--workdir is missing"),
        (("--workdir={0}", "--data_dir={0}"), "--out is missing"),
        (("x",), "unexpected argument 'x'"),
        (("--workdir={0}/sweep", "--data_dir={0}", "--out={0}/sweep"), "is the same file as --workdir"),
        (("--workdir={0}/sweep", "--data_dir={0}", "--out={0}/out", "--document=a.txt"), "must end in .md"),
        (("--workdir={0}/sweep", "--data_dir={0}", "--out={0}/out"), "sweep: full_coordinated and what it needs"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, flags, message):
    stand_in_networks.install(tmp_path, monkeypatch)
    for name in table2.FLAGS:
        table2.FLAGS[name].unparse()
    with pytest.raises(SystemExit) as ended:
        cli.run(table2.main, table2.FLAGS, ["table2", *(flag.format(tmp_path) for flag in flags)])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not list(tmp_path.rglob("*.png"))


def test_missing_networks_are_said_first(monkeypatch, tmp_path):
    monkeypatch.setenv("GID_JAX_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"missing weights: .*gid_jax\.weights"):
        table2_figures.check_networks()


def test_motion_is_compared_in_the_frequencies_that_rows_share():
    truth = np.random.default_rng(1).normal(size=(16, 8, 12, 4)).astype(np.float32)
    figures = table2.motion(truth[:4], truth)
    assert figures["amplitude_error_db"] == 0 and figures["phase_coherence"] == figures["true_phase_coherence"]
    assert 0 < figures["map_correlation"] < 1
    assert table2.motion(2 * truth, truth)["amplitude_error_db"] == pytest.approx(20 * np.log10(2), rel=1e-5)
