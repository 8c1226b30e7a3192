"""The contact sheet: one page that holds all its pictures and stays small whatever the number of clips."""

import base64
import io
import re

import numpy as np
from PIL import Image

from data_pipeline import contact_sheet
from data_pipeline.contact_sheet import ACCEPTED, Row

HERTZ = [0.2 * k for k in range(25)]


def pictures(page: str) -> list[Image.Image]:
    found = re.findall(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)", page)
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def make_strip() -> bytes:
    frames = np.random.default_rng(0).integers(0, 255, (150, 40, 64, 3), np.uint8)
    motion = np.zeros((150, 40, 64, 2), np.float32)
    motion[:, 30, :32, 0] = 5
    return contact_sheet.strip(frames, motion)


def test_a_strip_shows_frame_map_and_slice_of_the_row_that_moves_most():
    strip = np.asarray(Image.open(io.BytesIO(make_strip()))).astype(int)
    assert strip.shape == (100, 480, 3)
    heat = strip[:, 160:320].sum(axis=-1)
    y, x = np.unravel_index(np.argmax(heat), heat.shape)
    assert abs(y - 76) < 3 and x < 82 and heat[:70].max() < 100
    assert strip[76, 2, 0] - strip[76, 2, 2] > 60  # the mark is yellow


def test_every_verdict_has_its_clips_and_reasons():
    power = np.exp(-np.arange(25.0))
    rows = [
        Row("good.mp4", 0, ACCEPTED, power=power, strip=make_strip),
        Row("a & b.mp4", 10, "static", "static: percentile 98 is 0.1 px, 0.3 <needed>", power, make_strip),
        Row("cut.mp4", 0, "cut", "cut: at 1.00 s", strip=make_strip),
        Row("long.mp4", 30, "cut", "cut: at 9.00 s", strip=make_strip, clips=12),
        Row("broken.mp4", None, "not a video", "not a video, or damaged (Invalid data)"),
    ]
    page = contact_sheet.page("Clips", rows, HERTZ)
    for text in (
        "good.mp4",
        "a &amp; b.mp4",
        "0.3 &lt;needed&gt;",
        "cut: at 1.00 s",
        "broken.mp4",
        "frame 10",
        "frame 30 and 11 more",
    ):
        assert text in page
    assert re.findall(r"<summary>(\w[\w ]*) <small>", page)[0] == "accepted"
    assert "<td>cut</td><td class=n>13</td>" in page
    assert len(pictures(page)) == 5 and page.count("<svg") == 2  # four strips, one plot
    assert "http" not in page and "<script" not in page and "src='data:" in page


def test_thousands_of_clips_keep_the_page_small():
    strip = make_strip()
    rows = [
        Row(f"{i}.mp4", 0, ACCEPTED if i % 2 else "static", power=np.ones(25), strip=lambda: strip) for i in range(5000)
    ]
    page = contact_sheet.page("Clips", rows, HERTZ)
    assert f"{contact_sheet.SHOWN} of 2500 rows are shown" in page
    assert len(pictures(page)) == 2 * contact_sheet.SHOWN + 1
    shown = [int(name) for name in re.findall(r"<td>(\d+)\.mp4", page)]
    assert min(shown) < 10 and max(shown) > 4900


def test_nothing_accepted_is_a_page_too(tmp_path):
    contact_sheet.write(
        tmp_path / "sheet.html",
        "Clips",
        [Row("a.mp4", None, "the file is empty", "the file is empty; copy it again")],
        HERTZ,
    )
    page = (tmp_path / "sheet.html").read_text()
    assert "the file is empty" in page and pictures(page) == []
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.html"]
