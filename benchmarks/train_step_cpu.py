"""One training step of the denoiser's U-Net against PyTorch and diffusers at the same architecture, on this CPU.

    python benchmarks/train_step_cpu.py [--threads=2] [--repeats=10] [--only=NAME]

Forward, mean squared error, backward and Adam, float32, alternating in one run; prints the fastest step of each and,
last of every line, PyTorch's time over ours (above 1: we are faster).
"""

import os

import clock
from absl import flags
from unet_steps import Case, jax_step, torch_step

from gid_jax import cli

FLAGS = flags.FlagValues()
flags.DEFINE_integer("threads", os.cpu_count() or 1, "threads of PyTorch (XLA takes every core)", flag_values=FLAGS)
flags.DEFINE_integer("repeats", 10, "timed steps of each", flag_values=FLAGS)
flags.DEFINE_string("only", None, "the one case to run", flag_values=FLAGS)

CASES = {"demo": Case((32, 64, 128), batch=16), "double": Case((64, 128, 256), batch=8)}


def main(arguments: list[str]) -> None:
    import torch

    torch.set_num_threads(FLAGS.threads)
    for name, case in CASES.items():
        if FLAGS.only not in (None, name):
            continue
        found = clock.fastest({"jax": jax_step(case), "torch": torch_step(case)}, FLAGS.repeats, warm_up=2)
        print(
            f"{name}: jax {found['jax'] * 1e3:.0f} ms, torch {found['torch'] * 1e3:.0f} ms, "
            f"ratio {found['torch'] / found['jax']:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    cli.run(main, FLAGS)
