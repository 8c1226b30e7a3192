"""Damaged pictures through `read_photo`: nothing but a UserError may come of them, and memory stays under 1 GB.

    python benchmarks/fuzz_photos.py [--count=25000] [--seed=0] [--keep=DIR]

Small pictures of every format that Pillow writes, with EXIF, ICC profiles and chunks, are mutated: bits, runs of bytes,
headers, truncation, splices of two files, entries of EXIF and of TIFF directories, bytes of ICC profiles before they
are written. Checksums of PNG chunks are mended in half of them. Each is a function of (seed, number) and is read in a
child process, full size or shrunk: a crash or a picture that takes more than 20 s is found with its number, and the
next child goes on. `--keep` keeps what failed.
"""

import collections
import io
import json
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import flags
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from gid_jax import cli
from gid_jax.errors import UserError
from gid_jax.inference.photo import read_photo
from gid_jax.progress import progress

FLAGS = flags.FlagValues()
flags.DEFINE_integer("count", 25_000, "how many pictures", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "other pictures", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_string("keep", None, "folder for the pictures that failed", flag_values=FLAGS)
flags.DEFINE_integer("first", None, "number to begin with: what a child process is told", flag_values=FLAGS)

BATCH = 2000  # pictures of one process
SECONDS = 20
MOST_MEGABYTES = 1000
SIZE = (56, 40)

Pictures = list[tuple[str, bytes]]


def make_exif() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Maker", "Model"
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.XResolution] = 6, 72.0
    exif[ExifTags.Base.DateTime] = "2024:01:01 00:00:00"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 0xFFFF
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R03"}
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return exif.tobytes()


def written(image: Image.Image, format_: str, **settings) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    image.save(buffer, format_, **settings)
    return format_.lower(), buffer.getvalue()


def make_pictures() -> Pictures:
    """Whole pictures: every format that Pillow writes, in several modes, with and without metadata."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    image = Image.fromarray(np.stack([4 * x, 6 * y, 255 - 2 * x - 3 * y], axis=-1).astype(np.uint8))
    clear = image.copy()
    clear.putalpha(Image.fromarray((4 * x).astype(np.uint8)))
    grey16 = Image.fromarray((1000 * x + y).astype(np.uint16))
    real = Image.fromarray((x / width).astype(np.float32))
    palette, grey, cmyk = image.quantize(32), image.convert("L"), image.convert("CMYK")
    exif, profile = make_exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    both = {"exif": exif, "icc_profile": profile}
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 100_000))
    chunks.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
    chunks.add_text("comment", "x" * 300, zip=True)
    moving = {"save_all": True, "append_images": [image.rotate(90)], "duration": 50}
    return [
        written(image, "JPEG", **both),
        written(image, "JPEG", exif=exif),
        written(image, "JPEG", progressive=True, subsampling=0, icc_profile=profile),
        written(grey, "JPEG"),
        written(cmyk, "JPEG", icc_profile=profile),
        written(image, "MPO", save_all=True, append_images=[image], exif=exif),
        written(image, "PNG", **both),
        written(clear, "PNG", pnginfo=chunks),
        written(palette, "PNG", transparency=bytes(range(0, 256, 8))),
        written(grey16, "PNG", transparency=3000),
        written(image.convert("1"), "PNG"),
        written(image, "PNG", **moving),
        written(image, "WEBP", **both),
        written(clear, "WEBP", lossless=True),
        written(image, "WEBP", **moving),
        written(image, "AVIF", **both, speed=10),
        written(clear, "AVIF", speed=10),
        written(image, "TIFF", **both),
        written(image, "TIFF", compression="tiff_lzw", icc_profile=profile),
        written(image, "TIFF", compression="jpeg"),
        written(clear, "TIFF", compression="tiff_adobe_deflate"),
        written(palette, "TIFF", compression="packbits"),
        written(image.convert("1"), "TIFF", compression="group4"),
        written(cmyk, "TIFF"),
        written(image.convert("LAB"), "TIFF"),
        written(grey16, "TIFF"),
        written(real, "TIFF"),
        written(palette, "GIF", transparency=0),
        written(image, "GIF", **moving),
        *(written(image, name) for name in ("BMP", "JPEG2000", "PPM", "TGA", "ICO", "PCX", "SGI", "IM", "DDS", "ICNS")),
        written(palette, "BMP"),
        written(clear, "TGA", compression="tga_rle"),
        written(clear, "JPEG2000", irreversible=True),
        written(real, "SPIDER"),
        written(real, "PPM"),
        written(clear, "QOI"),
        written(image.convert("1"), "XBM"),
        written(image.convert("1"), "MSP"),
    ]


def mutate(pictures: Pictures, rng: np.random.Generator) -> tuple[str, bytes]:
    """One of `pictures`, damaged in one to three ways."""
    if rng.random() < 0.25:
        name, data = rewritten(rng)
        if rng.random() < 0.7:
            return name, data
    else:
        name, data = pictures[rng.integers(len(pictures))]
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        DAMAGES[rng.integers(len(DAMAGES))](damaged, pictures, rng)
    if name == "png" and rng.random() < 0.5:
        mend_checksums(damaged)
    return name, bytes(damaged)


def rewritten(rng: np.random.Generator) -> tuple[str, bytes]:
    """A whole picture with damaged metadata."""
    exif, profile = (
        bytearray(make_exif()),
        bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    )
    for _ in range(rng.integers(1, 5)):
        entries(exif, [], rng) if rng.random() < 0.7 else flip(exif, [], rng)
        flip(profile, [], rng) if rng.random() < 0.5 else run(profile, [], rng)
    image = Image.linear_gradient("L").resize(SIZE).convert("RGB")
    format_ = ("JPEG", "PNG", "WEBP", "TIFF")[rng.integers(4)]
    settings = {"icc_profile": bytes(profile)}
    return written(image, format_, **settings, **({} if format_ == "TIFF" else {"exif": bytes(exif)}))


def flip(data: bytearray, _: Pictures, rng: np.random.Generator) -> None:
    for at in rng.integers(len(data), size=rng.integers(1, 9)):
        data[at] ^= 1 << int(rng.integers(8))


def run(data: bytearray, _: Pictures, rng: np.random.Generator) -> None:
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 17))
    fill = (bytes(length), b"\xff" * length, rng.bytes(length))[rng.integers(3)]
    data[at : at + length] = fill[: len(data) - at]


def header(data: bytearray, _: Pictures, rng: np.random.Generator) -> None:
    for at in rng.integers(min(96, len(data)), size=rng.integers(1, 5)):
        data[at] = (0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256)))[rng.integers(6)]


def truncate(data: bytearray, _: Pictures, rng: np.random.Generator) -> None:
    del data[max(8, int(rng.integers(len(data)))) :]


def move(data: bytearray, _: Pictures, rng: np.random.Generator) -> None:
    """A run is taken out, and half the time put in again elsewhere."""
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 65))
    taken = data[at : at + length]
    if len(data) > 2 * length:
        del data[at : at + length]
        if rng.random() < 0.5:
            to = int(rng.integers(len(data)))
            data[to:to] = taken


def splice(data: bytearray, pictures: Pictures, rng: np.random.Generator) -> None:
    other = pictures[rng.integers(len(pictures))][1]
    at = int(rng.integers(8, max(9, len(data))))
    data[at:] = other[int(rng.integers(len(other))) :]


def entries(data: bytearray, _: Pictures, rng: np.random.Generator) -> None:
    """An entry of a TIFF directory, of EXIF's among others, gets another tag, type, count or value."""
    starts = [at for mark in (b"II*\0", b"MM\0*") if (at := data.find(mark)) >= 0]
    if not starts or len(data) < starts[0] + 10:
        return
    base, order = starts[0], "<" if data[starts[0]] == ord("I") else ">"
    directory = base + struct.unpack_from(order + "I", data, base + 4)[0]
    if directory + 2 > len(data):
        return
    number = struct.unpack_from(order + "H", data, directory)[0]
    at = directory + 2 + 12 * int(rng.integers(max(1, min(number, 64))))
    if at + 12 > len(data):
        return
    field = rng.integers(4)
    if field == 0:
        struct.pack_into(order + "H", data, at, (274, 34665, 34853, 40965, 34675, 258, 259, 277)[rng.integers(8)])
    elif field == 1:
        struct.pack_into(order + "H", data, at + 2, int(rng.integers(0, 19)))
    else:
        value = (0, 1, 2, 6, 255, 65_535, 2**31, 2**32 - 1, int(rng.integers(2**32)))[rng.integers(9)]
        struct.pack_into(order + "I", data, at + (4 if field == 2 else 8), value)


def mend_checksums(data: bytearray) -> None:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        data[at + 8 + length : at + 12 + length] = zlib.crc32(data[at + 4 : at + 8 + length]).to_bytes(4, "big")
        at += 12 + length


DAMAGES: tuple[Callable[[bytearray, Pictures, np.random.Generator], None], ...]
DAMAGES = (flip, run, header, header, truncate, move, splice, entries)


def picture(pictures: Pictures, seed: int, number: int) -> tuple[str, bytes, int]:
    """(name, bytes, longest side to read it at) of a number."""
    rng = np.random.default_rng((seed, number))
    name, data = mutate(pictures, rng)
    return f"{number}.{name}", data, (0, 0, 20, 1280)[rng.integers(4)]


def read_batch(seed: int, first: int, count: int) -> None:
    """The child: tells of each picture on a line of its own that it begins, how it ended, and the memory so far."""
    pictures = make_pictures()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process inside of a decoder too
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            print(number, end=" ", flush=True)
            name, data, longest_side = picture(pictures, seed, number)
            path = Path(folder, name)
            path.write_bytes(data)
            signal.alarm(SECONDS)
            try:
                photo = read_photo(path, longest_side)
                sound = photo.dtype == np.float32 and photo.shape[2] == 3 and photo.min() >= 0 and photo.max() <= 1
                outcome = "read" if sound else "wrong"
            except UserError as error:
                outcome = "refused" if str(path) in str(error) else "unnamed"
            except Exception as error:
                outcome = type(error).__name__
            signal.alarm(0)
            path.unlink()
            print(outcome, peak_megabytes(), flush=True)


def peak_megabytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1000 for line in lines if line.startswith("VmHWM"))


def outcomes(seed: int, count: int) -> Iterator[tuple[int, str, int]]:
    """(number, outcome, peak megabytes) of each picture, and of the last of a process that wrote to the terminal."""
    number = 0
    while number < count:
        command = [sys.executable, __file__, f"--seed={seed}", f"--first={number}"]
        command.append(f"--count={min(BATCH, count - number)}")
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stderr is not None
        peak = 0
        for line in child.stdout:
            fields = line.split()
            if len(fields) == 3:
                yield number, fields[1], (peak := int(fields[2]))
                number += 1
        said = child.stderr.read()
        if (code := child.wait()) > 0:
            raise UserError(f"a child process failed: {said[-2000:]}")
        if code:
            yield number, "took too long" if code == -signal.SIGALRM else signal.Signals(-code).name, peak
            number += 1
        if said:
            print(said, end="", file=sys.stderr)
            yield number - 1, "words on the terminal", peak


def measure(seed: int, count: int, keep: Path | None = None) -> dict:
    ended: collections.Counter[str] = collections.Counter()
    peak, pictures = 0, make_pictures()
    for number, outcome, megabytes in progress(outcomes(seed, count), name="reading", total=count, unit="photo"):
        ended[outcome] += 1
        if outcome not in ("read", "refused") or megabytes > max(peak, MOST_MEGABYTES):
            name, data, longest_side = picture(pictures, seed, number)
            print(json.dumps({"picture": name, "longest side": longest_side, "outcome": outcome, "MB": megabytes}))
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / name).write_bytes(data)
        peak = max(peak, megabytes)
    good = {name: ended.pop(name) for name in ("read", "refused")}
    return {
        "pictures": count,
        **good,
        "other": dict(ended),
        "exceptions other than UserError": sum(ended.values()),
        "peak MB": peak,
    }


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"{arguments[0]}: not a flag")
    if FLAGS.first is not None:
        return read_batch(FLAGS.seed, FLAGS.first, FLAGS.count)
    print(json.dumps(measure(FLAGS.seed, FLAGS.count, FLAGS.keep and Path(FLAGS.keep))))


if __name__ == "__main__":
    cli.run(main, FLAGS)
