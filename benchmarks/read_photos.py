"""Time and memory of reading a photo of 12, 50 or 200 megapixels, shrunk to 1280 pixels and at full size.

    python benchmarks/read_photos.py

The photos are smooth and made for it; each is read by `read_photo` in a process of its own. Seconds are the best of
three; megabytes the process's peak, of which some 40 are Python's, NumPy's and Pillow's.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from absl import flags
from PIL import Image

from gid_jax import cli
from gid_jax.errors import UserError

FLAGS = flags.FlagValues()

SIZES = {12: (4032, 3024), 50: (8192, 6144), 200: (16384, 12288)}
KINDS = {"jpg": {}, "progressive.jpg": {"progressive": True}, "png": {"compress_level": 1}}
CHILD = """
import json, sys, time
from gid_jax.errors import UserError
from gid_jax.inference.photo import read_photo
began = time.perf_counter()
try:
    read_photo(sys.argv[1], int(sys.argv[2]))
except UserError:
    print(json.dumps("refused"))
    sys.exit()
seconds = time.perf_counter() - began
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"s": round(seconds, 2), "MB": peak // 1000}))
"""


def read(path: Path, longest_side: int) -> dict | str:
    command = [sys.executable, "-c", CHILD, str(path), str(longest_side)]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(3)]
    return runs[0] if "refused" in runs else min(runs, key=lambda run: run["s"])


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"{arguments[0]}: not a flag")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for megapixels, size in SIZES.items():
            for kind, settings in KINDS.items():
                path = Path(folder, f"photo.{kind}")
                Image.merge("RGB", [Image.linear_gradient("L").rotate(90 * turn) for turn in range(3)]).resize(
                    size
                ).save(path, **settings)
                for longest_side in (1280, 0):
                    name = f"{megapixels} MP {kind} {f'to {longest_side}' if longest_side else 'full size'}"
                    figures[name] = read(path, longest_side)
                    print(name, figures[name], flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
