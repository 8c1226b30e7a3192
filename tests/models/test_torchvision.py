"""torchvision's ResNet-34, VGG16 and VGG19 through the command: the same features, and files that training takes."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gid_jax.checkpoints import pretrained
from gid_jax.errors import UserError
from gid_jax.metrics import lpips
from gid_jax.models import public
from gid_jax.models.network import Network
from gid_jax.models.renderer import IMAGE_MEAN, IMAGE_STD
from gid_jax.models.resnet import FeaturePyramid
from gid_jax.models.vgg import VGG

torch = pytest.importorskip("torch", reason="the reference needs the extra `test`")
theirs = pytest.importorskip("torchvision_networks")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Each network, and its file as the command wrote it."""
    folder, made = tmp_path_factory.mktemp("torchvision"), {}
    for kind, network in (
        ("resnet34", theirs.ResNet34()),
        ("vgg16", theirs.VGG(16)),
        ("vgg19", theirs.VGG(19)),
    ):
        source, out = folder / f"{kind}.pth", folder / f"{kind}.safetensors"
        torch.save(theirs.randomise(network).state_dict(), source)
        command = [sys.executable, "-m", "gid_jax.convert", f"torchvision-{kind}", str(source), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        made[kind] = network, str(out)
    return made


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((1, height, width, 3), np.float32)


def features_of(network, image: np.ndarray) -> list[np.ndarray]:
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    with torch.no_grad():
        found = network(torch.from_numpy((image - mean) / std).permute(0, 3, 1, 2))
    return [x.permute(0, 2, 3, 1).numpy() for x in found]


def assert_close(ours, expected):
    for level, wanted in zip(ours, expected, strict=True):
        assert level.shape == wanted.shape
        np.testing.assert_allclose(level, wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)
        assert wanted.std() > 0.1 * np.abs(wanted).mean() > 0


def test_the_pyramid_is_torchvisions_resnet_34(files):
    network, path = files["resnet34"]
    image = picture(64, 96)
    ours = Network(lambda rngs: FeaturePyramid(width=64, levels=6, dtype=jnp.float32, rngs=rngs))
    fresh = ours.init(jax.random.key(0))
    values, _ = pretrained.merge(fresh, path, "")
    params = jax.tree.map(lambda new, old: old if new is None else new, values, fresh, is_leaf=lambda x: x is None)
    normalised = (image - np.float32(IMAGE_MEAN)) / np.float32(IMAGE_STD)
    assert_close(jax.jit(lambda p, x: ours.bind(p)(x))(params, normalised)[1:], features_of(network, image))


@pytest.mark.parametrize("depth", [16, 19])
def test_vggs_are_torchvisions(files, depth):
    network, path = files[f"vgg{depth}"]
    image = picture(35, 50)
    ours = Network(lambda rngs: VGG(depth=depth, rngs=rngs))
    shapes = jax.eval_shape(ours.init, jax.random.key(0))
    params = pretrained.load_whole(shapes, path, "config.loss.vgg")
    normalised = lpips.standardise(jnp.asarray(image))
    assert_close(jax.jit(lambda p, x: ours.bind(p)(x))(params, normalised), features_of(network, image))


def test_files_say_where_they_came_from(files):
    with safe_open(files["vgg19"][1], "numpy") as stored:
        assert stored.metadata()["kind"] == "torchvision-vgg19"
        assert len(stored.metadata()["sha256"]) == 64
        assert not any("classifier" in name for name in stored.keys())  # noqa: SIM118


@pytest.mark.parametrize("adversarial", [0.0, 0.1])
def test_the_renderer_starts_from_resnet_34(files, adversarial, capsys):
    _, path = files["resnet34"]
    config = tiny.load_config("renderer", **{"pretrained": path, "loss.adversarial": adversarial})
    with config.unlocked():
        config.model.width = 64
    task = tiny.task_of(config)
    values = task.start_from(jax.eval_shape(task.init, jax.random.key(0))[0])
    stored = load_file(path)
    np.testing.assert_array_equal(values["pyramid"]["stem"]["conv"]["kernel"], stored["stem/conv/kernel"])
    np.testing.assert_array_equal(values["pyramid"]["stages"]["0"]["2"]["second"]["norm"]["scale"].shape, (64,))
    assert values["pyramid"]["full"]["conv"]["kernel"] is None and values["conv_out"]["kernel"] is None
    assert "not in this network" in capsys.readouterr().out  # three levels: the deeper stages are left over


def test_the_perceptual_loss_takes_a_converted_vgg(files):
    network, path = files["vgg19"]
    config = tiny.load_config("renderer", **{"loss.perceptual": 1.0, "loss.vgg": path, "batch_size": 1})
    task = tiny.task_of(config)
    frozen, shapes = task.inherit(), jax.eval_shape(task.init, jax.random.key(0))[1]
    assert jax.tree.map(np.shape, frozen) == jax.tree.map(np.shape, shapes)
    params = task.renderer.init(jax.random.key(0))
    batch = tiny.random_batch("pairs", config)
    still = {**batch, "motion": np.zeros_like(batch["motion"])}  # untrained: the picture itself
    _, terms = jax.jit(task.loss)(params, frozen, still, jax.random.key(0))
    expected = sum(
        np.abs(x - y).mean() / (np.abs(y).mean() + 1e-6)
        for x, y in zip(features_of(network, batch["image"]), features_of(network, batch["target"]), strict=True)
    )
    np.testing.assert_allclose(terms["perceptual"], expected, rtol=1e-4)


def test_files_that_do_not_fit_are_one_clear_error(files, tmp_path):
    def task_with(path):
        return tiny.task_of(tiny.load_config("renderer", **{"loss.perceptual": 1.0, "loss.vgg": str(path)}))

    with pytest.raises(UserError, match=r"config\.loss\.vgg=.*absent: no such file"):
        task_with(tmp_path / "absent")
    (tmp_path / "noise").write_bytes(bytes(range(64)))
    with pytest.raises(UserError, match=r"config\.loss\.vgg=.*noise: not safetensors"):
        task_with(tmp_path / "noise")
    with pytest.raises(UserError, match=r"config\.loss\.vgg=.*resnet34.*: convs/0/bias is absent, needed is \[64\]"):
        task_with(files["resnet34"][1]).inherit()
    stored = load_file(files["vgg16"][1])
    save_file(stored | {"convs/3/kernel": stored["convs/2/kernel"]}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"convs/3/kernel is \[3, 3, 64, 128\], needed is \[3, 3, 128, 128\]"):
        task_with(tmp_path / "other.safetensors").inherit()


def test_other_networks_are_not_taken_for_these(files):
    tensors = {name: value.numpy() for name, value in files["resnet34"][0].state_dict().items()}
    with pytest.raises(ValueError, match="stages/3/2/second/conv/kernel is absent"):
        public.convert("torchvision-resnet34", {k: v for k, v in tensors.items() if k != "layer4.2.conv2.weight"})
    deeper = {**tensors, "layer1.0.conv3.weight": np.zeros((256, 64, 1, 1), np.float32)}  # as in ResNet-50
    with pytest.raises(ValueError, match=r"stages/0/0/conv3/kernel is \(1, 1, 64, 256\), there it is absent"):
        public.convert("torchvision-resnet34", deeper)
    nineteen = {name: value.numpy() for name, value in files["vgg19"][0].state_dict().items()}
    with pytest.raises(ValueError, match="there it is"):
        public.convert("torchvision-vgg16", nineteen)
    normed = {**nineteen, "features.1.running_mean": np.zeros(64, np.float32)}  # as in vgg19_bn
    with pytest.raises(ValueError, match="features/1/running_mean"):
        public.convert("torchvision-vgg19", normed)
