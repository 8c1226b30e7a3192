"""The coders of stored examples: exact pictures, bounded errors of motion, few bytes, one frequency at a time."""

import numpy as np
import pytest

from gid_jax.data import codec
from gid_jax.data.statistics import DatasetStatistics
from gid_jax.errors import UserError


def make_spectrum(height: int, width: int, seed: int = 0, noise: float = 0.05, count: int = 25) -> np.ndarray:
    """Patches of oscillating things with sharp borders, amplitudes as in the paper, and noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    k = np.arange(count)[:, None, None]
    spectrum = np.zeros((count, height, width, 2), np.complex128)
    for _ in range(12):
        radius = generator.uniform(0.05, 0.25) * width
        centre = generator.uniform(0, width), generator.uniform(0, height)
        patch = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
        amplitude = 80 * np.exp(-k / 5) * np.exp(0.5 * generator.normal(size=k.shape)) * (1 + (x - centre[0]) / width)
        phase = np.exp(2j * np.pi * generator.uniform(size=k.shape))
        direction = generator.normal(size=2)
        spectrum = np.where(patch[None, ..., None], (amplitude * phase)[..., None] * direction, spectrum)
    rough = generator.normal(size=(2, count, height, width, 2))
    for axis in (2, 3):  # a flow's errors are as smooth as the flow
        rough = np.mean([np.roll(rough, i, axis) for i in range(5)], axis=0) * np.sqrt(5)
    spectrum += (rough[0] + 1j * rough[1]) * noise * np.sqrt(150 / 2)
    spectrum[0] = spectrum[0].real
    return np.concatenate([spectrum.real, spectrum.imag], -1).astype(np.float32)


def trajectory_error(difference: np.ndarray) -> float:
    """Root mean square over pixels and 150 frames of the vector error, by a plain inverse transform in float64."""
    coefficients = difference[..., :2].astype(np.float64) + 1j * difference[..., 2:]
    full = np.zeros((76, *coefficients.shape[1:]), np.complex128)
    full[: len(coefficients)] = coefficients
    motion = np.fft.irfft(full, n=150, axis=0)
    return float(np.sqrt((motion**2).sum(-1).mean()))


@pytest.mark.parametrize(("height", "width"), [(40, 64), (80, 128), (33, 47), (7, 5)])
def test_spectrum_error_is_bounded_and_nearly_used_up(height, width):
    spectrum = make_spectrum(height, width)
    decoded = np.stack([codec.decode_field(stream) for stream in codec.encode_spectrum(spectrum)])
    assert decoded.dtype == np.float32 and decoded.shape == spectrum.shape
    error = trajectory_error(decoded - spectrum)
    assert error <= codec.SPECTRUM_ERROR
    if height % 16 == 0:  # otherwise the padding counts too
        assert error > 0.95 * codec.SPECTRUM_ERROR


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e3])
def test_tiny_and_huge_motion(scale):
    spectrum = scale * make_spectrum(32, 48, noise=0.0)
    decoded = np.stack([codec.decode_field(stream) for stream in codec.encode_spectrum(spectrum)])
    assert trajectory_error(decoded - spectrum) <= codec.SPECTRUM_ERROR


def test_spectrum_bytes_at_paper_size():
    streams = codec.encode_spectrum(make_spectrum(160, 256, noise=0.05))
    assert len(streams) == 25
    assert sum(map(len, streams)) < 1.8e6  # leaves 1.2 MB of the 3 for five pictures and four flows


def test_field_error_is_that_of_uniform_rounding():
    field = np.random.default_rng(0).normal(scale=5, size=(64, 96, 2)).astype(np.float32)
    error = codec.decode_field(codec.encode_field(field, 1 / 32)) - field
    assert np.sqrt((error**2).mean()) == pytest.approx(1 / 32 / np.sqrt(12), rel=0.02)


def test_image_is_exact():
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    decoded = codec.decode_image(codec.encode_image(image))
    np.testing.assert_array_equal(decoded, image)
    assert decoded.dtype == np.uint8


def make_example(exact: bool) -> tuple[dict, dict]:
    generator = np.random.default_rng(1)
    fields = {
        "image": generator.integers(0, 256, (40, 60, 3), np.uint8),
        "spectrum": make_spectrum(40, 60),
        "motion_weight": generator.random((40, 60)).astype(np.float16),
        "target_frames": generator.integers(0, 256, (4, 40, 60, 3), np.uint8),
        "target_flows": generator.normal(size=(4, 40, 60, 2)).astype(np.float32),
        "target_times": np.array([3, 50, 99, 149], np.int32),
    }
    if exact:
        fields["exact_spectrum"] = make_spectrum(40, 60, seed=2)
        fields["visibility"] = generator.random((150, 40, 60)) < 0.9
    provenance = {
        "video_id": b"rose-0123",
        "start": 10,
        "fps": 30.0,
        "scale": 0.5,
        "flow_error": np.zeros(2, np.float32),
    }
    return fields, codec.encode_example(**fields, **provenance)


def test_example_round_trip():
    fields, raw = make_example(exact=True)
    assert set(raw) == set(codec.EXAMPLE) - {"reference_clip"}  # which the build adds
    example = codec.decode_example(raw, frequencies=range(25), pairs=True)
    for name in ("image", "motion_weight", "target_frames", "target_times", "visibility"):
        np.testing.assert_array_equal(example[name], fields[name])
    np.testing.assert_allclose(example["target_flows"], fields["target_flows"], atol=0.1)
    assert trajectory_error(example["exact_spectrum"] - fields["exact_spectrum"]) <= codec.SPECTRUM_ERROR
    assert example["video_id"] == "rose-0123" and example["start"] == 10


def test_one_frequency_is_decoded_without_the_others():
    _, raw = make_example(exact=False)
    whole = codec.decode_example(raw, frequencies=range(25), pairs=False)["spectrum"]
    damaged = {**raw, "spectrum": [stream if k in (3, 7) else b"" for k, stream in enumerate(raw["spectrum"])]}
    damaged["target_frames"] = damaged["target_flows"] = [b""] * 4
    example = codec.decode_example(damaged, frequencies=[7, 3], pairs=False)
    np.testing.assert_array_equal(example["spectrum"], whole[[7, 3]])
    assert "target_frames" not in example and "visibility" not in example


def test_statistics_file_round_trip_and_its_errors(tmp_path):
    path = tmp_path / "statistics.json"
    statistics = DatasetStatistics(np.float32([3.1, 0.2]), np.float32([9.0, 0.1]), 7, 64, 40, 30.0, 150)
    statistics.save(path)
    loaded = DatasetStatistics.load(path)
    np.testing.assert_array_equal(loaded.scales, statistics.scales)
    np.testing.assert_array_equal(loaded.mean_power, statistics.mean_power)
    assert (loaded.num_examples, loaded.width, loaded.height, loaded.fps, loaded.num_frames) == (7, 64, 40, 30.0, 150)
    path.write_text('{"scales": [1]')
    with pytest.raises(UserError, match="not the statistics"):
        DatasetStatistics.load(path)
    with pytest.raises(UserError, match="missing"):
        DatasetStatistics.load(tmp_path / "absent.json")
