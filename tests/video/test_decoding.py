"""Which track, which order, which times, which way up, which colours: files of cameras, phones and taggers."""

import functools
import gc
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from data_pipeline import isolation, video
from gid_jax.errors import UserError
from gid_jax.video import decoding, mending

WIDTH, HEIGHT, COUNT, FPS = 96, 64, 24, 30
MARKS = {"upper left": (220, 20, 20), "upper right": (20, 200, 20), "lower left": (20, 20, 220)}
QUIET = {"x265-params": "log-level=none"}


@functools.cache
def picture(number: int) -> np.ndarray:
    """Marks in three corners; the middle is grey of a level that names the frame."""
    result = np.full((HEIGHT, WIDTH, 3), 60 + 6 * number, np.uint8)
    result[:16, :24], result[:16, -24:], result[-16:, :24] = MARKS.values()
    return result


def write(
    path: Path, codec="libx264", pix_fmt="yuv420p", *, pictures=picture, options=None, muxer=None, **codec_context
):
    """COUNT pictures at 30 fps. `codec_context`: attributes of the encoder."""
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=FPS, options=options or {})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pix_fmt
        stream.codec_context.bit_rate = 8_000_000
        for name, value in codec_context.items():
            setattr(stream.codec_context, name, value)
        for i in range(COUNT):
            frame = av.VideoFrame.from_ndarray(pictures(i), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.stack(list(video.read_frames(path, fps=FPS, width=width, height=height))).astype(int)


def numbers(path: Path) -> list[int]:
    """Which pictures are shown, by the grey in the middle."""
    return [round((frame[28:36, 40:56].mean() - 60) / 6) for frame in read(path)]


def assert_upright(frame: np.ndarray, tolerance: int = 24) -> None:
    height, width = frame.shape[:2]
    for (y, x), colour in zip(((4, 4), (4, width - 5), (height - 5, 4)), MARKS.values(), strict=True):
        np.testing.assert_allclose(frame[y, x], colour, atol=tolerance)


def assert_whole(path: Path) -> None:
    """Every frame, in order, a thirtieth of a second apart, whichever function reads it."""
    times = video.read_timeline(path, 24).times
    np.testing.assert_allclose(times, np.arange(COUNT) / FPS, atol=2e-3)
    assert numbers(path) == list(range(COUNT))
    assert_upright(read(path)[0])


@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        ("h264.avi", "libx264", None),
        ("mpeg4.avi", "mpeg4", None),
        ("mpeg2.avi", "mpeg2video", None),
        ("raw_h264.mp4", "libx264", "h264"),
        ("raw.m4v", "mpeg4", "m4v"),
        ("raw.m2v", "mpeg2video", "mpeg2video"),
        ("raw.m1v", "mpeg1video", "mpeg1video"),
        ("camera.MTS", "libx264", "mpegts"),
        ("plain.mp4", "libx264", None),
    ],
)
@pytest.mark.parametrize("reordered", [0, 2])
def test_no_frame_is_lost_or_misplaced(tmp_path, name, codec, muxer, reordered):
    assert_whole(write(tmp_path / name, codec, muxer=muxer, max_b_frames=reordered))


def test_raw_hevc(tmp_path):
    assert_whole(write(tmp_path / "raw.hevc", "libx265", muxer="hevc", options=QUIET, max_b_frames=3))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_times_in_the_order_of_storage_are_sorted(tmp_path, suffix):
    path = tmp_path / f"numbered_as_stored.{suffix}"
    with av.open(write(tmp_path / "b.mp4", max_b_frames=3)) as source, av.open(path, "w") as target:
        track = source.streams.video[0]
        copy = target.add_stream_from_template(track)
        for i, packet in enumerate(packet for packet in source.demux(track) if packet.dts is not None):
            packet.pts = packet.dts = round(i / FPS / track.time_base)
            packet.stream = copy
            target.mux(packet)
    assert_whole(path)


def display_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Writes it into the track's header (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *(round(v * 65536) for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("matrix", "shown"),
    {
        (1, 0, 0, 1): lambda p: p,
        (-1, 0, 0, 1): lambda p: p[:, ::-1],
        (1, 0, 0, -1): lambda p: p[::-1],
        (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
        (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
        (0, 1, -1, 0): lambda p: np.rot90(p, -1),
        (0, -1, 1, 0): lambda p: np.rot90(p),
        (0, -1, -1, 0): lambda p: p.swapaxes(0, 1)[::-1, ::-1],
        (0.7, 0.7, -0.7, 0.7): lambda p: p,  # nonsense
        (0, 0, 0, 0): lambda p: p,
    }.items(),
)
def test_the_display_matrix_as_a_whole(tmp_path, matrix, shown):
    path = display_matrix(write(tmp_path / "a.mp4"), *matrix)
    due = shown(picture(0)).astype(int)
    height, width = due.shape[:2]
    np.testing.assert_allclose(read(path, width, height)[0][8::16, 8::16], due[8::16, 8::16], atol=24)
    timeline = video.read_timeline(path, 24)
    assert (timeline.width, timeline.height) == (width, height) and len(timeline.times) == COUNT


def write_tracks(path: Path, cover: Disposition | None, cover_first: bool) -> Path:
    """The pictures, and a track of one larger picture."""
    with av.open(str(path), "w") as container:
        order = ("cover", "film") if cover_first else ("film", "cover")
        tracks = {name: container.add_stream("mjpeg" if name == "cover" else "libx264", rate=FPS) for name in order}
        still, film = tracks["cover"], tracks["film"]
        film.width, film.height, film.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        still.width, still.height, still.pix_fmt = 256, 256, "yuvj420p"
        if cover is not None:
            still.disposition = cover
        for i in range(COUNT):
            for track, shown in ((film, picture(i)), *([(still, np.zeros((256, 256, 3), np.uint8))] if i == 0 else [])):
                frame = av.VideoFrame.from_ndarray(shown, format="rgb24")
                frame.pts, frame.time_base = i, Fraction(1, FPS)
                container.mux(track.encode(frame))
        for track in tracks.values():
            container.mux(track.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("cover", [None, Disposition.default, Disposition.attached_pic])
@pytest.mark.parametrize("cover_first", [True, False])
def test_the_film_is_chosen_not_the_cover(tmp_path, suffix, cover, cover_first):
    assert_whole(write_tracks(tmp_path / f"a.{suffix}", cover, cover_first))


def test_sound_with_a_cover_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound, cover = container.add_stream("aac", rate=8000), container.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt, cover.disposition = "yuvj420p", Disposition.attached_pic
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(cover.encode(image))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    with pytest.raises(UserError, match="a cover, but no video"):
        video.read_timeline(path, 24)


def moving(time: float) -> np.ndarray:
    """Upright bars that move by 3 pixels in a sixtieth of a second."""
    bars = 128 + 90 * np.sin((np.arange(WIDTH) - 180 * time) / 6)
    return np.broadcast_to(bars.astype(np.uint8)[None, :, None], (HEIGHT, WIDTH, 3))


def combed(number: int, first_row: int) -> np.ndarray:
    late = (np.arange(HEIGHT) % 2 != first_row)[:, None, None]
    return np.where(late, moving(number / FPS + 1 / 60), moving(number / FPS))


def combs(frames: np.ndarray) -> float:
    """How far rows depart from those above and below."""
    return float(np.abs(frames[:, 1:-1] - (frames[:, :-2] + frames[:, 2:]) / 2).mean())


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options", "first_row"),
    [
        ("a.mpg", "mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "top": "1"}, 0),
        ("b.mpg", "mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "top": "0"}, 1),
        ("c.mts", "libx264", "yuv420p", {"x264-params": "interlaced=1:tff=1"}, 0),
        ("d.avi", "mpeg4", "yuv420p", {"flags": "+ildct+ilme", "top": "1"}, 0),
        ("e.mov", "prores_ks", "yuv422p10le", {"flags": "+ildct", "top": "1"}, 0),
    ],
)
def test_interlaced_videos_are_deinterlaced(tmp_path, name, codec, pix_fmt, options, first_row, monkeypatch):
    muxer = "mpegts" if name.endswith("mts") else None
    pictures = functools.partial(combed, first_row=first_row)
    path = write(tmp_path / name, codec, pix_fmt, muxer=muxer, options=options, pictures=pictures)
    frames = read(path)
    assert len(frames) == len(video.read_timeline(path, 24).times) == COUNT
    assert combs(frames) < 1
    fields = (np.stack([moving(i / FPS + offset) for i in range(COUNT)]) for offset in (0, 1 / 60))
    assert min(np.abs(frames - due).mean() for due in fields) < 6  # one of the two times, throughout
    monkeypatch.setattr(mending.Mender, "push", lambda self, frame: iter((frame,)))
    assert combs(read(path)) > 10


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE 2084, of cd/m2."""
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """BT.2100 on a display of 1,000 cd/m2, of cd/m2."""
    scene = (np.minimum(light, 1000) / 1000) ** (1 / 1.2)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


@pytest.mark.parametrize(("transfer", "encode"), [(16, pq), (18, hlg)])
@pytest.mark.parametrize("primaries", [9, 2])
def test_hdr_is_tone_mapped(transfer, encode, primaries):
    light = np.array([0, 1, 5, 26, 60, 100, 203, 400, 1000])
    codes = np.round(64 + 876 * encode(light)).astype(np.uint16).repeat(16)
    frame = av.VideoFrame(len(codes), 16, "yuv420p10le")
    neutral = np.full(len(codes) // 2, 512)
    for plane, row in zip(frame.planes, (codes, neutral, neutral), strict=True):
        content = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        content[:, : len(row)] = row
        plane.update(content.tobytes())
    frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, primaries, 9, 1
    mender = mending.Mender()
    (mended,) = [*mender.push(frame), *mender.flush()]
    shown = mended.to_ndarray(format="rgb24")[8, 8::16].astype(int)
    assert np.ptp(shown, axis=1).max() <= 2  # grey stays grey
    grey = shown[:, 1]
    np.testing.assert_allclose(grey[:5], 255 * (light[:5] / 203) ** (1 / 2.4), atol=2)  # low light stays as it is
    assert np.all(np.diff(grey) > 5) and 210 <= grey[6] <= 225 and grey[-1] >= 254  # reference white; the peak


@pytest.mark.parametrize(("transfer", "primaries"), [(16, 9), (18, 9), (1, 9), (1, 12), (13, 12), (1, 11)])
def test_wide_colours_become_ordinary_ones(tmp_path, transfer, primaries):
    tags = {"color_primaries": primaries, "color_trc": transfer, "colorspace": 9, "color_range": 1}
    path = write(tmp_path / "a.mp4", "libx265", "yuv420p10le", options=QUIET, **tags)
    frames = read(path)
    assert len(frames) == COUNT == len(video.read_timeline(path, 24).times)
    for (y, x), colour in zip(((4, 4), (4, -5), (-5, 4)), MARKS.values(), strict=True):
        assert np.argmax(frames[0, y, x]) == np.argmax(colour)
    red = frames[0, 4, 4]  # the same signal is a stronger red there: at the edge of what BT.709 can show
    assert red[0] > 245


def test_colours_that_cannot_be_converted_are_named(tmp_path):
    path = write(tmp_path / "a.mp4", pix_fmt="yuv444p", colorspace=8)
    with pytest.raises(UserError, match=r"a\.mp4: colours coded as YCgCo; .* leave it out"):
        video.read_timeline(path, 24)
    dolby = write(tmp_path / "dolby.mp4", "libx265", options=QUIET)
    dolby.write_bytes(dolby.read_bytes().replace(b"hev1", b"dvhe"))
    with pytest.raises(UserError, match=r"dolby\.mp4: HDR \(Dolby Vision\)"):
        video.read_timeline(dolby, 24)


def test_hdr_is_named_where_the_filters_are_missing(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mp4", "libx265", options=QUIET, color_trc=18, color_primaries=9, colorspace=9)
    monkeypatch.setattr(mending, "_tone_table", lambda transfer: "no expression")
    with pytest.raises(UserError, match=r"a\.mp4: HDR \(HLG\), and this FFmpeg cannot convert it"):
        video.read_timeline(path, 24)


def test_mending_runs_in_the_child(tmp_path):
    options = {"flags": "+ildct+ilme", "top": "1"}
    path = write(tmp_path / "a.mpg", "mpeg2video", options=options, pictures=functools.partial(combed, first_row=0))
    frames = np.stack(list(isolation.iterate(video.read_frames, path, fps=FPS, width=WIDTH, height=HEIGHT)))
    np.testing.assert_array_equal(frames, read(path))


def test_frames_are_freed_as_they_are_used(tmp_path):
    path = write(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in decoding.decode(path)) == COUNT
        assert sum(type(thing) is av.VideoFrame for thing in gc.get_objects()) < 4
    finally:
        gc.enable()


def test_a_resource_fork_is_named(tmp_path):
    path = tmp_path / "._clip.mp4"
    path.write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        " + bytes(4000))
    with pytest.raises(UserError, match=r"what macOS notes about clip\.mp4"):
        decoding.check_file(path)


@pytest.mark.slow
def test_files_that_broke_real_use(shared, tmp_path, monkeypatch):
    """../shared/faults/make_videos.py, as it is."""
    import runpy
    import sys

    monkeypatch.setattr(sys, "argv", ["make_videos.py", str(tmp_path)])
    runpy.run_path(str(shared / "faults" / "make_videos.py"), run_name="__main__")
    counts = {"vfr.mp4": 240, "editlist.mp4": 255, "anim.gif": 90, "apng.png": 90, "turned.ts": 198}
    turned = {"rot90.mp4", "rot180.mp4", "hflip.mp4", "turned.ts"}
    for path in sorted(tmp_path.iterdir()):
        if path.name.startswith("._") or path.name == "anim.webp":
            continue
        assert sum(1 for _ in decoding.decode(path)) == counts.get(path.name, 180), path.name
        frame = next(video.read_frames(path, fps=FPS, width=WIDTH, height=HEIGHT)).astype(int)
        if path.name not in turned:
            corners = (frame[4, 4], frame[4, -5], frame[-5, 4])
            assert [int(np.argmax(corner)) for corner in corners] == [0, 1, 2], path.name
    mirrored = next(video.read_frames(tmp_path / "hflip.mp4", fps=FPS, width=WIDTH, height=HEIGHT)).astype(int)
    assert_upright(mirrored[:, ::-1])
