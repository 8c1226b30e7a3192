"""The page: self-contained, and its bytes mean the spectrum."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from gid_jax.motion.spectrum import resize_spectrum
from gid_jax.viewer.page import LONGEST_GRID, build_page, pack


def content(page: str, name: str) -> str:
    return re.search(rf'<script[^>]* id="{name}">(.*?)</script>', page, re.DOTALL)[1]


def test_packing_errs_by_half_a_step_at_most():
    rng = np.random.default_rng(0)
    spectrum = rng.normal(size=(4, 6, 5, 4)).astype(np.float32) * np.asarray([80, 9, 1, 0.0]).reshape(4, 1, 1, 1)
    packed, scales = pack(spectrum.astype(np.float32))
    unpacked = (packed.astype(np.float64) - 128) / 127 * scales[:, None, None, None]
    assert np.all(np.abs(unpacked - spectrum) <= scales[:, None, None, None] / 254 * 1.001)
    assert packed.min() >= 1


def test_page_holds_everything_and_asks_for_nothing():
    rng = np.random.default_rng(1)
    photo = rng.uniform(size=(50, 70, 3)).astype(np.float32)
    spectrum = rng.normal(size=(5, 16, 24, 4)).astype(np.float32)
    page = build_page(photo, spectrum, title='Roses & "thorns" <script>')
    assert "{{" not in page
    assert not re.search(r'(src|href)="(?!data:)', page) and "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert "<title>Roses &amp; &quot;thorns&quot; &lt;script&gt;</title>" in page

    scene = json.loads(content(page, "scene"))
    assert (scene["width"], scene["height"], scene["fps"], scene["period"]) == (24, 16, 30, 150)
    modes = np.frombuffer(base64.b64decode(content(page, "modes")), np.uint8).reshape(4, 16, 24, 4)
    restored = (modes.astype(np.float32) - 128) / 127 * np.asarray(scene["scales"]).reshape(4, 1, 1, 1)
    np.testing.assert_allclose(restored, spectrum[1:], atol=np.abs(spectrum).max() / 250)
    image = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)[1]
    assert Image.open(io.BytesIO(base64.b64decode(image))).size == (70, 50)


def test_large_spectra_are_resized_with_their_units():
    smooth = np.asarray(
        resize_spectrum(np.random.default_rng(2).normal(size=(2, 2, 4, 4)).astype(np.float32), 160, 320)
    )
    page = build_page(np.zeros((80, 160, 3), np.float32), smooth)
    scene = json.loads(content(page, "scene"))
    assert (scene["width"], scene["height"]) == (LONGEST_GRID, LONGEST_GRID // 2)
    assert abs(scene["scales"][0] / np.abs(smooth[1]).max() - LONGEST_GRID / 320) < 0.02
