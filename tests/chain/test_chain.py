"""The whole chain as a user runs it, command by command, on two clips that the project did not make."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Chain:
    """Runs the commands in one folder with one compilation cache, on one device as a user has it."""

    def __init__(self, folder: Path):
        self.folder = folder
        caches = {"JAX_COMPILATION_CACHE_DIR": str(folder / "jax"), "GID_JAX_CACHE": str(folder / "gid_jax")}
        self.environment = {**os.environ, **caches, "JAX_PLATFORMS": "cpu"}

    def __call__(self, module: str, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def run(self, module: str, *arguments: str) -> str:
        done = self(module, *arguments)
        assert done.returncode == 0, f"{module} {' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def train(self, stage: str, *overrides: str) -> None:
        self.run(
            "gid_jax.train",
            f"--config=configs/{stage}.py:test",
            f"--workdir={self.folder / stage}",
            f"--config.data_dir={self.folder / 'data'}",
            *overrides,
        )


@pytest.mark.slow
def test_real_clips_become_an_evaluated_animation(shared, tmp_path):
    chain, videos = Chain(tmp_path), tmp_path / "videos"
    videos.mkdir()
    for name in ("fern_loop.mp4", "rose_loop.mp4"):
        (videos / name).symlink_to(shared / "clips" / name)
    (videos / "broken.mp4").write_bytes((shared / "clips" / "rose_loop.mp4").read_bytes()[:20_000])

    chain.run(
        "data_pipeline.build",
        f"--videos={videos}",
        f"--data_dir={tmp_path / 'data'}",
        "--config=configs/data.py:test",
        "--config.max_starts=8",
        "--holdout=rose*",
        "--loops",
    )
    report = json.loads((tmp_path / "data" / "build_report.json").read_text())
    assert "broken.mp4" in json.dumps(report), "a damaged file is in the report, and the rest goes on"

    chain.train("vae")
    chain.train("denoiser", f"--config.vae={tmp_path / 'vae'}")
    chain.train("coordinated", f"--config.base={tmp_path / 'denoiser'}")
    chain.train("renderer")
    for stage in ("vae", "denoiser", "coordinated", "renderer"):
        records = [json.loads(line) for line in (tmp_path / stage / "metrics.jsonl").read_text().splitlines()]
        assert {record["split"] for record in records} == {"train", "test"}

    bundle = tmp_path / "bundle"
    stages = (
        f"--vae={tmp_path / 'vae'}",
        f"--denoiser={tmp_path / 'coordinated'}",
        f"--renderer={tmp_path / 'renderer'}",
    )
    chain.run("gid_jax.export", *stages, f"--out={bundle}")

    import av

    picture = tmp_path / "rose.png"
    with av.open(str(shared / "clips" / "rose_loop.mp4")) as video:
        next(video.decode(video=0)).to_image().crop((0, 0, 301, 203)).save(picture)
    video, page, slice_ = tmp_path / "rose.mp4", tmp_path / "rose.html", tmp_path / "rose_xt.png"
    chain.run(
        "gid_jax.animate", str(picture), f"--bundle={bundle}", f"--out={video}", "--frames=8", "--steps=3",
        f"--xt_slice={slice_}",
    )  # fmt: skip
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 8 and abs(frames[0].shape[1] - 301) <= 1 and abs(frames[0].shape[0] - 203) <= 1
    assert slice_.stat().st_size > 0
    chain.run("gid_jax.interact", str(picture), f"--bundle={bundle}", f"--out={page}", "--steps=3")
    text = page.read_text()
    assert "<canvas" in text and 'src="http' not in text and "@import" not in text

    out = tmp_path / "eval"
    chain.run(
        "gid_jax.eval", f"--bundle={bundle}", f"--data_dir={tmp_path / 'data'}", f"--out={out}",
        "--config=configs/eval.py:test",
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["summary"]["map_correlation"]) >= {"model", "mean_spectrum"}
    assert (out / "report.html").stat().st_size > 10_000

    refused = chain("gid_jax.eval", f"--bundle={tmp_path / 'vae'}", f"--data_dir={tmp_path / 'data'}", f"--out={out}")
    assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
