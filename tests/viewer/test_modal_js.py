"""The browser's modal dynamics, run by node, against `gid_jax.motion.modal` and closed forms."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gid_jax.viewer
from gid_jax.motion import modal
from gid_jax.motion.spectrum import at_times, from_rest
from gid_jax.viewer.page import pack

FOLDER = Path(gid_jax.viewer.__file__).parent
pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def node(program: str, **inputs):
    """What `program` leaves in `result`, run with Modal, Motion and the inputs at hand."""
    source = f"""
        global.Modal = require({json.dumps(str(FOLDER / "modal.js"))});
        const Motion = require({json.dumps(str(FOLDER / "motion.js"))});
        const inputs = JSON.parse(require("fs").readFileSync(0, "utf8"));
        let result;
        {program}
        console.log(JSON.stringify(result, (_, v) => (ArrayBuffer.isView(v) ? Array.from(v) : v)));
    """
    content = json.dumps({name: np.asarray(value).tolist() for name, value in inputs.items()})
    done = subprocess.run(["node", "-e", source], input=content, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def spectrum() -> np.ndarray:
    return np.random.default_rng(5).normal(scale=20, size=(25, 6, 8, 4)).astype(np.float32)


def shape_of(spectrum, x, y):
    return spectrum[1:, y, x].reshape(-1)


@pytest.mark.parametrize(("stiffness", "damping"), [(1.0, 1.0), (0.3, 0.2), (4.0, 3.0)])
def test_release_and_decay_are_those_of_simulate(spectrum, stiffness, damping):
    """Under-damped to over-damped (k >= 20), in steps of any length, under every slider."""
    times = np.concatenate([[0.0], np.cumsum(np.random.default_rng(0).uniform(0.001, 0.2, 30))])
    force = np.asarray([3.0, -2.0], np.float32)
    result = node(
        """
        const q = Modal.release(inputs.shape, inputs.force), v = new Float64Array(q.length);
        result = inputs.steps.map((dt) => {
          Modal.step(q, v, dt, { stiffness: inputs.stiffness, damping: inputs.damping });
          return Modal.displacement(inputs.other, q);
        });
        """,
        shape=shape_of(spectrum, 2, 3),
        other=shape_of(spectrum, 5, 1),
        force=force,
        steps=np.diff(times, prepend=0.0),
        stiffness=stiffness,
        damping=damping,
    )
    constants = (damping * modal.DAMPING_CONSTANT, damping * modal.DAMPING_SQUARED)
    expected = modal.simulate(spectrum, force, (2, 3), times.astype(np.float32), damping=constants, stiffness=stiffness)
    np.testing.assert_allclose(result, expected[:, 1, 5], atol=2e-4 * np.abs(expected).max())


def test_step_is_exact_whatever_the_damping():
    """The matrix exponential of [[0, 1], [-w^2, -g]], critical damping included."""
    from scipy.linalg import expm

    cases = [
        (w, g, dt) for w in (0.3, 2.0, 40.0) for g in (0.0, 0.1, 2 * w, 2 * w + 1e-7, 9.0, 500.0) for dt in (0.01, 1.0)
    ]
    result = node("result = inputs.cases.map(([w, g, dt]) => Modal.propagator(w, g, dt));", cases=cases)
    expected = [expm(np.asarray([[0, 1], [-w * w, -g]]) * dt).reshape(-1) for w, g, dt in cases]
    for found, wanted, (w, *_) in zip(result, expected, cases, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-7 * max(1, w * w))


def test_wind_is_the_predicted_motion(spectrum):
    """Without drift, the inverse transform of the spectrum that starts at rest."""
    seconds = np.asarray([0.0, 0.37, 2.5, 4.9, 5.0])
    result = node(
        """
        result = inputs.seconds.map((s) => Modal.displacement(inputs.shape, Modal.wind(24, s, { drift: 0 })));
        """,
        shape=shape_of(spectrum, 4, 4),
        seconds=seconds,
    )
    expected = at_times(from_rest(spectrum), 30 * seconds)[:, 4, 4]
    np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("pull", [(5.0, 0.0), (0.0, -4.0), (3.0, 7.0)])
def test_the_grabbed_point_starts_where_it_was_pulled_to(spectrum, pull):
    program = "result = Modal.displacement(inputs.shape, Modal.release(inputs.shape, inputs.pull));"
    np.testing.assert_allclose(node(program, shape=shape_of(spectrum, 2, 3), pull=pull), pull, atol=1e-9)
    complied = node("result = Modal.comply(inputs.shape, inputs.pull);", shape=shape_of(spectrum, 2, 3), pull=pull)
    np.testing.assert_allclose(complied, pull, atol=0.02 * np.hypot(*pull))


def test_a_point_on_rails_gives_way_only_along_them(spectrum):
    """Modes that move along the diagonal: a pull across moves nothing, one along it is followed exactly."""
    shape = np.repeat(np.random.default_rng(1).normal(size=(24, 2, 1)), 2, axis=2).reshape(-1)
    program = """
        result = ["release", "comply"].map((name) => Modal[name](inputs.shape, inputs.pull));
        result[0] = Modal.displacement(inputs.shape, Float64Array.from(result[0]));
    """
    np.testing.assert_allclose(node(program, shape=shape, pull=(2.0, 2.0)), [(2.0, 2.0)] * 2, atol=1e-9)
    np.testing.assert_allclose(node(program, shape=shape, pull=(2.0, -2.0)), [(0.0, 0.0)] * 2, atol=1e-9)
    np.testing.assert_allclose(node(program, shape=0 * shape, pull=(2.0, -2.0)), [(0.0, 0.0)] * 2)


def test_grab_hold_and_let_go(spectrum):
    """The hand never jumps, the held point follows it, and afterwards everything comes to rest."""
    y, x = np.mgrid[:40, :64]
    bump = np.exp(-((x - 32) ** 2 + (y - 20) ** 2) / 60)
    modes = (np.random.default_rng(3).normal(size=(6, 1, 1, 4)) * bump[..., None] * 20).astype(np.float32)
    packed, scales = pack(modes)
    result = node(
        """
        const scene = { width: 64, height: 40, fps: 30, period: 150, scales: inputs.scales };
        const motion = new Motion(scene, Uint8Array.from(inputs.modes));
        const setting = { playing: true, stiffness: 1, damping: 1, strength: 1 };
        for (let i = 0; i < 60; i++) motion.advance(1 / 60, setting);
        const found = motion.find(33, 21, 5);
        const at = () => Modal.displacement(found.shape, motion.total);
        const before = at();
        motion.grab(found);
        motion.advance(1e-6, setting);
        const grabbed = at();
        motion.pull(2, 0.5);
        for (let i = 0; i < 60; i++) motion.advance(1 / 60, setting);
        const pulled = at();
        motion.letGo();
        setting.playing = false;
        for (let i = 0; i < 3000; i++) motion.advance(1 / 60, setting);
        const [corner, middle] = [motion.find(1, 1, 5), motion.weight[20 * 64 + 32]];
        result = { corner, middle, before, grabbed, pulled, rest: at() };
        """,
        scales=scales,
        modes=packed.reshape(-1),
    )
    assert result["corner"] is None and result["middle"] == 255
    np.testing.assert_allclose(result["grabbed"], result["before"], atol=1e-3)
    np.testing.assert_allclose(result["pulled"], np.add(result["before"], [2, 0.5]), atol=0.3)
    np.testing.assert_allclose(result["rest"], [0, 0], atol=1e-3)
