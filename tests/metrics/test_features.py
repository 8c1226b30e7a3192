"""Features of pictures and videos: streamed and on a mesh as one by one; with the published weights, the published
numbers."""

import io
import zipfile

import jax
import numpy as np
import pytest
import stand_in_networks
from jax.sharding import AxisType

from gid_jax import placement
from gid_jax.metrics import i3d, inception, networks
from gid_jax.metrics.networks import ENTRIES

TABLE = {10: 569.77, 11: 486.75, 12: 552.77, 13: 146.52, 14: 172.78, 15: 133.91, 16: 152.90, 30: 151.39}
"""Squared distance between the logits of a black and a white video (../shared/METRICS.md)."""


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    stand_in_networks.install(tmp_path, monkeypatch)


def mesh_of(count):
    return jax.make_mesh((count, 1, 1), placement.AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:count])


def test_streamed_on_a_mesh_and_one_by_one_are_the_same(stand_ins):
    pictures = np.random.default_rng(0).integers(0, 256, (11, 20, 31, 3), np.uint8)
    whole = inception.features(pictures)
    assert whole.shape == (11, 2048) and whole.dtype == np.float32
    np.testing.assert_allclose(inception.features(iter(pictures), mesh=mesh_of(4)), whole, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([inception.features(p[None]) for p in pictures]), whole, rtol=1e-5)
    videos = np.random.default_rng(1).integers(0, 256, (3, 10, 20, 31, 3), np.uint8)
    whole = i3d.logits(videos)
    assert whole.shape == (3, 400) and whole.dtype == np.float32
    np.testing.assert_allclose(i3d.logits(iter(videos), mesh=mesh_of(2)), whole, rtol=1e-5)
    assert len({tuple(row) for row in whole}) == 3
    assert inception.features([]).shape == (0, 2048) and i3d.logits([]).shape == (0, 400)


def test_inputs_are_read_as_they_are_needed(stand_ins):
    read = []

    def pictures():
        for i in range(1000):
            read.append(i)
            yield np.zeros((8, 8, 3), np.uint8)

    stream = inception.Features()(pictures())
    next(stream)
    assert len(read) <= 8


def test_what_enters_is_scaled_as_the_networks_were_trained(stand_ins):
    for run, size, low, high in (
        (inception.features, (2, 9, 9, 3), -1, 127 / 128),
        (i3d.logits, (2, 9, 9, 9, 3), -1, 1),
    ):
        videos = np.zeros(size, np.uint8)
        videos[1] = 255
        kernel = networks.load(inception.NAME if run is inception.features else i3d.NAME)[1]["kernel"]
        expected = [np.repeat([x, x * x], 3) @ kernel for x in (low, high)]
        np.testing.assert_allclose(run(videos), expected, atol=1e-5)


def needs(name):
    if not networks.present(name):
        pytest.skip(f"no {networks.weights_file(name)}: python -m gid_jax.weights {name}")


def distance_of_black_and_white(frames):
    black = np.zeros((frames, 224, 224, 3), np.uint8)
    return float(np.sum(np.square(np.diff(i3d.logits([black, black + 255]).astype(np.float64), axis=0))))


@pytest.mark.parametrize("frames", [10, 16])
def test_i3d_gives_the_published_distances(frames):
    needs(i3d.NAME)
    assert distance_of_black_and_white(frames) == pytest.approx(TABLE[frames], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("frames", [frames for frames in TABLE if frames not in (10, 16)])
def test_i3d_gives_the_published_distances_of_every_length(frames):
    needs(i3d.NAME)
    assert distance_of_black_and_white(frames) == pytest.approx(TABLE[frames], rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_inception_is_the_published_program(shared):
    """The TorchScript program itself, run by PyTorch; GID_JAX_CACHE must hold the archive that it came in."""
    needs(inception.NAME)
    torch = pytest.importorskip("torch")
    av = pytest.importorskip("av")
    published = ENTRIES[inception.NAME].published
    archive = networks.cache_folder() / published.archive
    if not archive.is_file():
        pytest.skip(f"no {archive}: the program to compare with")
    with zipfile.ZipFile(archive) as wheel:
        program = torch.jit.load(io.BytesIO(wheel.read(published.member))).eval()
    pictures = []
    for path in sorted((shared / "clips").glob("*.mp4"))[:8]:
        with av.open(str(path)) as container:
            pictures.append(next(container.decode(video=0)).to_image().resize((299, 299)))
    noise = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), np.uint8)
    pictures = np.concatenate([np.stack([np.asarray(picture) for picture in pictures]), noise])
    assert len(pictures) == 10
    with torch.no_grad():
        expected = program((torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - 128) / 128).numpy()
    np.testing.assert_allclose(inception.features(pictures), expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
