"""Preflight: batches as the loader makes them, operations counted by hand, collectives read from a program's text."""

import json
import subprocess
import sys

import jax
import pytest
import tiny

from gid_jax.errors import UserError
from gid_jax.preflight import meshes, table
from gid_jax.training import compiled, sharding

TEXT = """
  %ag = bf16[3,3,640,640]{3,2,1,0:T(8,128)(2,1)} all-gather(%p), channel_id=1, dimensions={3}
  %s = (f32[8,128]{1,0:T(8,128)}, f32[32,128]{1,0:T(8,128)}) all-gather-start(%q), dimensions={0}
  %ar = (f32[1024]{0}, f32[16]{0}) all-reduce(%a, %b), to_apply=%add
  ROOT %aa = bf16[4,256]{1,0} all-to-all(%t), dimensions={0}
  %cp = (s32[10]{0}, s32[10]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%x)
  %done = f32[32,128]{1,0} all-gather-done(%s)
"""


@pytest.mark.parametrize("stage", ["vae", "denoiser", "coordinated", "renderer"])
def test_batches_are_those_of_the_loader(stage):
    config = tiny.load_config(stage)
    task = compiled.task_without_data(config)
    mesh = sharding.make_mesh({"data": 2, "fsdp": 1, "freq": 1}, jax.devices()[:2])
    shapes = compiled.batch_shapes(task.kind, config, mesh)
    batch = tiny.random_batch(task.kind, config)
    assert {name: (x.shape, x.dtype) for name, x in batch.items()} == {n: (x.shape, x.dtype) for n, x in shapes.items()}


def test_useful_operations_of_a_matrix_product(monkeypatch):
    """A product of [b, i] and [i, o] takes 2 b i o, as does the gradient of the kernel; optimisers do not see b."""
    task, config = tiny.toy()
    monkeypatch.setattr(compiled, "task_without_data", lambda config: task)
    with_eight, with_sixteen = (compiled.useful_flops(tiny.toy(batch_size=b)[1]) for b in (8, 16))
    product = 2 * 8 * (config.width * config.height * 3) * 8
    assert with_sixteen - with_eight == pytest.approx(2 * product, rel=0.01)


def test_collectives_are_counted_with_their_bytes():
    assert compiled.collectives(TEXT) == {
        "all-gather": {"count": 2, "bytes": 2 * 9 * 640 * 640 + 4 * 32 * 128},
        "all-reduce": {"count": 1, "bytes": 4 * 1040},
        "all-to-all": {"count": 1, "bytes": 2 * 4 * 256},
        "collective-permute": {"count": 1, "bytes": 40},
    }


def test_meshes_to_compare_and_what_is_wrong_with_them():
    config = tiny.load_config("coordinated")
    first, second = meshes(config, "data=16 data=4,freq=4")
    assert first.mesh.to_dict() == {"data": 16, "fsdp": 1, "freq": 1}
    assert second.mesh.to_dict() == {"data": 4, "fsdp": 1, "freq": 4}
    for wrong in ("data=x", "rows=4", "data"):
        with pytest.raises(UserError, match="--compare"):
            meshes(config, wrong)


@pytest.mark.parametrize("name", ["v5e", "v9:4x4", "v5e:4x", "v5e:"])
def test_a_topology_that_does_not_exist_is_refused_before_anything_is_compiled(name):
    with pytest.raises(UserError, match="--topology"):
        compiled.topology_devices(name)


def test_suggestions_go_from_cheap_to_dear():
    config, chip = tiny.load_config("coordinated", batch_size=16), compiled.CHIPS["v5e"]
    large, small = 30 * compiled.GIB, compiled.GIB

    def advice(mesh, arguments, temporary):
        peak = arguments + temporary
        return compiled.suggest(config, mesh, arguments, temporary, peak, chip)

    mesh = {"data": 16, "fsdp": 1, "freq": 1}
    assert advice(mesh, small, small) == ""
    assert "remat" in advice(mesh, small, large)
    config.remat = True
    assert "fsdp=2" in advice(mesh, large, small)
    assert "freq=2" in advice(mesh, small, large)
    assert "microbatches=2" in advice({**mesh, "data": 4}, small, large)
    assert "larger topology" in advice({"data": 16, "fsdp": 1, "freq": 4}, small, large)


REFUSALS = {  # of libtpu 0.0.42, and of earlier ones
    "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (16.70G) exceeds "
    "available HBM (15.75G).": (16.70, 15.75),
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 512.00M of "
    "15.48G hbm. Exceeded hbm capacity by 1.21G.": (0.5, 15.48),
}


@pytest.mark.parametrize("message", REFUSALS)
def test_the_compiler_says_what_a_program_takes_and_what_there_is(message):
    assert compiled.memory_shortage(message) == pytest.approx([size * compiled.GIB for size in REFUSALS[message]])


def test_a_step_that_the_compiler_refuses_is_a_report(monkeypatch):
    task, config = tiny.toy(batch_size=8)
    monkeypatch.setattr(compiled, "task_without_data", lambda config: task)
    config.mesh.fsdp = 2
    whole = compiled.report(config, jax.devices()[:4], compiled.CHIPS["v5e"])

    def refuse(message):
        def compile(self, options):
            raise jax.errors.JaxRuntimeError(message)

        monkeypatch.setattr(jax.stages.Lowered, "compile", compile)
        return compiled.report(config, jax.devices()[:4], compiled.CHIPS["v5e"])

    report = refuse(next(iter(REFUSALS)))
    assert report.keys() == whole.keys() and report["seconds"].keys() == whole["seconds"].keys()
    assert report["hbm"]["arguments"] == pytest.approx(whole["hbm"]["arguments"], rel=0.2)  # of a chip; some unused
    assert report["hbm"]["peak"] == pytest.approx(16.70 * compiled.GIB) and not report["hbm"]["fits"]
    text = table({"topology": "v5e:2x2", **json.loads(json.dumps(report))})
    assert "16.70 of 15.75" in text and "does NOT fit; try --config.remat=True" in text
    assert "MFU" in table({"topology": "v5e:2x2", **whole}) and "MFU" not in text
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        refuse("INTERNAL: broken")


@pytest.mark.slow
def test_the_real_step_compiles_for_a_slice_that_is_not_there():
    pytest.importorskip("libtpu", reason="libtpu is not installed: pip install -e .[test]")
    flags = ["--config=configs/coordinated.py:test", "--topology=v5e:2x2", "--compare=data=4 data=2,freq=2"]
    done = subprocess.run([sys.executable, "-m", "gid_jax.preflight", *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone, shared = json.loads(done.stdout)
    assert done.stderr.count("chip-hours") == 2
    assert all(line.startswith(("v5e:2x2", "  ")) for line in done.stderr.splitlines())  # nothing of libtpu
    for report in (alone, shared):
        assert report["chips"] == 4 and report["hbm"]["fits"]
        assert 0 < report["mfu"] < 1 and report["seconds"]["step"] > 0
        assert report["parameters"]["frozen"] > 0 < report["parameters"]["trained"]
    assert "all-to-all" not in alone["collectives"]
