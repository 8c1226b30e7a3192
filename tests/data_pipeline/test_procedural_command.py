"""python -m data_pipeline.procedural: what it leaves behind, again, after an interruption, on bad input."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data_pipeline.procedural import ProceduralClip, load_exact, render_clip, save_clip, scenes
from data_pipeline.procedural.folder import is_there, orders
from gid_jax.errors import UserError

SMALL = ["--width=48", "--height=32", "--frames=152"]


def _command(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "data_pipeline.procedural", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_command_renders_continues_and_refuses(tmp_path: Path) -> None:
    flags = [f"--out={tmp_path}", "--clips=3", "--seed=4", *SMALL]
    done = _command(*flags)
    assert done.returncode == 0, done.stderr
    names = ["clip_00000", "clip_00001", "test_00000"]
    files = [name + suffix for name in names for suffix in (".mp4", ".npz")] + ["test_00000.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    with Image.open(tmp_path / "test_00000.png") as picture:
        assert picture.size == (3 * 48, 3 * 32)

    for order in orders(tmp_path, 3, "all", 4, (152, 32, 48)):
        clip = render_clip(order.seed, width=48, height=32, num_frames=152, kinds=order.kinds)
        trajectories, visibility = load_exact(order.path.with_suffix(".mp4"))
        assert trajectories.shape == (150, 32, 48, 2) and trajectories.dtype == np.float32
        np.testing.assert_allclose(trajectories, clip.trajectories, atol=1 / 128 + 1e-6)
        np.testing.assert_array_equal(visibility, clip.visibility)
        with av.open(str(order.path.with_suffix(".mp4"))) as video:
            frames = np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])
            assert float(video.streams.video[0].average_rate) == 30
        assert frames.shape == clip.frames.shape
        assert np.abs(frames.astype(int) - clip.frames).mean() < 6
        assert tuple(np.load(order.path.with_suffix(".npz"))["kinds"]) == clip.kinds

    kept, lost = tmp_path / "clip_00000.mp4", tmp_path / "clip_00001.mp4"
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    assert _command(*flags).returncode == 0
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == content

    other = _command(f"--out={tmp_path}", "--clips=3", "--seed=5", *SMALL)
    assert other.returncode == 2 and "another --seed" in other.stderr and "Traceback" not in other.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--clips=2"], "--out"),
        (["--out=/proc/nowhere", "--clips=2"], "/proc/nowhere"),
        (["--out=here", "--width=47"], "--width=47"),
        (["--out=here", "--frames=20"], "--frames"),
        (["--out=here", "--clips=1"], "--clips=1"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], message: str) -> None:
    done = _command(*flags)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_every_bit_of_a_seed_makes_other_scenes() -> None:
    """Bits above 32 too, and none that is another part or number of a smaller seed."""
    seeds = (0, 1, 2**32, 2**32 + 1, 2**33, 2**63 - 1)
    listed = [order.seed for seed in seeds for order in orders(Path("out"), 16, "all", seed, (160, 80, 128))]
    assert len(set(listed)) == len(seeds) * 16
    small = orders(Path("out"), 2, "train", 5, (160, 80, 128))
    assert [order.seed for order in small] == [
        int(np.random.SeedSequence([5, 0, number]).generate_state(1, np.uint64)[0]) for number in (0, 1)
    ]


def test_the_test_split_alone_shows_cloth() -> None:
    listed = orders(Path("out"), 80, "all", 0, (160, 80, 128))
    train = [order for order in listed if order.path.name.startswith("clip_")]
    test = [order for order in listed if order.path.name.startswith("test_")]
    assert len(train) == 70 and len(test) == 10
    assert len({order.seed for order in listed}) == 80
    assert all(order.kinds is None for order in train) and not set(scenes.TRAIN) & set(scenes.TEST_ONLY)
    assert [order.kinds for order in test] == [None, ("laundry",), *[None] * 6, None, ("laundry",)]


def test_damaged_files_are_reported_and_rendered_again(tmp_path: Path) -> None:
    order = orders(tmp_path, 2, "train", 0, (3, 32, 48))[0]
    frames, nothing = np.zeros((3, 32, 48, 3), np.uint8), np.zeros((3, 32, 48, 2), np.float32)
    save_clip(ProceduralClip(frames, nothing, np.ones((3, 32, 48), bool), order.seed, "meadow", ("grass",)), order.path)
    assert is_there(order)
    exact = order.path.with_suffix(".npz")
    exact.write_bytes(exact.read_bytes()[:100])
    assert not is_there(order)
    for path in (exact, tmp_path / "absent.npz"):
        with pytest.raises(UserError, match=path.name):
            load_exact(path)
