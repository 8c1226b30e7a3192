"""Fixtures around `small_videos`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_videos import make_video, sway_pictures


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """write_video(name, pictures, ...): `make_video` under the test's folder."""
    return lambda name, pictures, **options: make_video(tmp_path / name, pictures, **options)


@pytest.fixture
def make_pictures() -> Callable[..., np.ndarray]:
    return sway_pictures
