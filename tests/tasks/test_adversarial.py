"""The renderer's GAN loss: its terms and gradients against PyTorch and closed forms, and who is moved by what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gid_jax.tasks import losses
from gid_jax.tasks.renderer import DISCRIMINATOR, renderer_params
from gid_jax.training import sharding
from gid_jax.training.batches import to_global
from gid_jax.training.step import compile_for

WEIGHT, GAMMA = 0.3, 0.5
SETTINGS = {
    "loss.adversarial": WEIGHT,
    "loss.r1": GAMMA,
    "batch_size": 2,
    "discriminator.channels": (4, 6, 8),
    "model.decoder_channels": (8,),
}


@pytest.fixture(scope="module")
def trained():
    """Task, parameters whose decoder has an opinion, batch, and the loss with its gradient."""
    task = tiny.task_of(config := tiny.load_config("renderer", **SETTINGS))
    params, frozen = task.init(jax.random.key(0))
    params["conv_out"]["kernel"] += 0.02
    batch = {name: jnp.asarray(value) for name, value in tiny.random_batch("pairs", config).items()}
    result = jax.jit(jax.value_and_grad(task.loss, has_aux=True))(params, frozen, batch, jax.random.key(1))
    return task, params, frozen, batch, result


def test_r1_of_a_linear_discriminator_is_half_its_squared_weight():
    weights = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)

    def linear(x):
        return jnp.einsum("bhwc,hwc->b", x, weights) + 7

    pictures = np.random.default_rng(1).random((6, 5, 4, 3), np.float32)
    np.testing.assert_allclose(losses.r1(linear, pictures), np.sum(weights**2) / 2, rtol=1e-5)


def test_adversarial_losses_of_an_undecided_discriminator():
    undecided, sure = jnp.zeros((2, 3)), jnp.full((2, 3), 20.0)
    np.testing.assert_allclose(losses.generator_adversarial(undecided), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.discriminator_adversarial(undecided, undecided), 2 * np.log(2), rtol=1e-6)
    assert float(losses.discriminator_adversarial(sure, -sure)) < 1e-6
    np.testing.assert_allclose(losses.generator_adversarial(-sure), 20, rtol=1e-6)


def test_terms_and_gradients_are_pytorchs(trained):
    torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")
    task, params, frozen, batch, ((total, metrics), gradient) = trained
    flat, _ = jax.tree_util.tree_flatten_with_path(params[DISCRIMINATOR])
    weights = {}
    for path, leaf in flat:
        array = np.array(leaf).transpose(3, 2, 0, 1) if leaf.ndim == 4 else np.array(leaf)
        weights[jax.tree_util.keystr(path, simple=True, separator="/")] = torch.tensor(array, requires_grad=True)

    def judge(image, frame):
        x = 2 * torch.cat([image, frame], dim=1) - 1
        for i, stride in enumerate((2, 2, 1)):
            x = torch.nn.functional.conv2d(
                x, weights[f"convs/{i}/kernel"], weights[f"convs/{i}/bias"], stride, padding=1
            )
            x = torch.nn.functional.leaky_relu(x, 0.2)
        return torch.nn.functional.conv2d(x, weights["conv_out/kernel"], weights["conv_out/bias"], padding=1)

    def nchw(array):
        return torch.tensor(np.array(array)).permute(0, 3, 1, 2)

    def render(params):
        return task.renderer.bind(params)(batch["image"], batch["motion"], batch["weight"])

    shown, pull_back = jax.vjp(render, renderer_params(params))
    image, real = nchw(batch["image"]), nchw(batch["target"]).requires_grad_()
    fake = nchw(shown).requires_grad_()
    softplus = torch.nn.functional.softplus
    adversarial = softplus(-judge(image, fake)).mean()
    discriminator = softplus(-judge(image, real)).mean() + softplus(judge(image, fake.detach())).mean()
    (slope,) = torch.autograd.grad(judge(image, real).sum(), real, create_graph=True)
    r1 = 0.5 * slope.pow(2).flatten(1).sum(1).mean()
    for name, term in (("adversarial", adversarial), ("discriminator", discriminator), ("r1", r1)):
        np.testing.assert_allclose(metrics[name], term.item(), rtol=1e-4, err_msg=name)

    distance, of_distance = jax.value_and_grad(lambda p: task._distance(p, frozen, batch)[1]["loss"])(
        renderer_params(params)
    )
    expected = distance + WEIGHT * adversarial.item() + discriminator.item() + GAMMA * r1.item()
    np.testing.assert_allclose(total, expected, rtol=1e-4)

    of_discriminator = torch.autograd.grad(discriminator + GAMMA * r1, list(weights.values()))
    for (path, ours), reference in zip(
        jax.tree_util.tree_leaves_with_path(gradient[DISCRIMINATOR]), of_discriminator, strict=True
    ):
        wanted = reference.numpy().transpose(2, 3, 1, 0) if ours.ndim == 4 else reference.numpy()
        tolerance = 1e-4 * np.abs(wanted).max()
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=tolerance, err_msg=str(path))

    (push,) = torch.autograd.grad(WEIGHT * adversarial, fake)
    (of_adversary,) = pull_back(push.permute(0, 2, 3, 1).numpy())
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(of_adversary)) > 1e-5
    jax.tree.map(
        lambda ours, a, b: np.testing.assert_allclose(ours, a + b, rtol=1e-3, atol=1e-6),
        renderer_params(gradient),
        of_distance,
        of_adversary,
    )


def test_held_out_metrics_are_the_distance_alone(trained):
    task, params, frozen, batch, ((_, metrics), _) = trained
    held_out = task.evaluate(params, frozen, batch, jax.random.key(0))
    assert held_out.keys() & {"adversarial", "discriminator", "r1"} == set()
    np.testing.assert_allclose(held_out["loss"], metrics["l1"] + metrics["gradient"], rtol=1e-5)


def test_both_are_trained_in_one_step_and_the_adversary_learns():
    """On two devices. Rendered frames stay smoother than the noise they should become: they can be told apart."""
    settings = {**SETTINGS, "loss.adversarial": 0.01, "loss.r1": 1e-4, "optimizer.learning_rate": 3e-3}
    task = tiny.task_of(config := tiny.load_config("renderer", **settings))
    mesh = sharding.make_mesh({"data": 2, "fsdp": 1, "freq": 1}, jax.devices()[:2])
    batch = tiny.random_batch("pairs", config)
    with jax.set_mesh(mesh):
        program = compile_for(task, config, mesh)
        state = program.init(sharding.place(task.inherit(), program.shardings.frozen))
        before = jax.device_get(state.params)
        values = []
        for _ in range(20):
            state, metrics = program.step(state, to_global(batch, task.kind, mesh))
            values.append(float(metrics["discriminator"]))
    assert values[-1] < 0.8 * values[0]
    moved = jax.tree.map(lambda x, y: not np.array_equal(x, y), jax.device_get(state.params), before)
    assert all(jax.tree.leaves(moved[DISCRIMINATOR])) and moved["conv_out"]["kernel"]


def test_without_it_the_parameters_are_the_renderers_alone():
    task = tiny.task_of(tiny.load_config("renderer"))
    params, _ = jax.eval_shape(task.init, jax.random.key(0))
    assert params == jax.eval_shape(task.renderer.init, jax.random.key(0))
