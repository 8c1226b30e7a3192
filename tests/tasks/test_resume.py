"""Every stage, stopped and started again in the middle, ends in the bits of a run that was never stopped."""

import jax
import numpy as np
import pytest
import tiny

from gid_jax.training import sharding
from gid_jax.training.loop import train


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vae", "denoiser", "coordinated", "renderer"])
def test_a_resumed_stage_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    """On four devices, data x fsdp = 2 x 2."""
    mesh = sharding.make_mesh({"data": 2, "fsdp": 2, "freq": 1}, jax.devices()[:4])

    def run(workdir, num_steps):
        config = tiny.load_config(name, num_steps=num_steps, checkpoint_every=100, eval_every=100, eval_batches=1)
        task = tiny.task_of(config)
        monkeypatch.setattr(task, "inherit", lambda: jax.device_get(jax.jit(task.init)(jax.random.key(9))[1]))
        return train(task, config, str(tmp_path / workdir), tiny.random_batches(task, config), mesh)

    straight = run("straight", 5)
    run("broken", 2)
    resumed = run("broken", 5)
    assert int(straight.step) == int(resumed.step) == 5
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)), straight, resumed)
