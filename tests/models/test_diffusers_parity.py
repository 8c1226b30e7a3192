"""The networks are those of latent diffusion: with its weights, and diffusers', they compute what those compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gid_jax.models import network, public, unet, vae

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")


def load(params: network.Params, weights: dict[str, np.ndarray], new: tuple[str, ...] = ()) -> network.Params:
    """`params` with every leaf taken from `weights`, except those under a component named in `new`."""
    unused = set(weights)

    def replace(path, leaf):
        name = "/".join(key.key for key in path)
        if name.split("/")[0] in new:
            return leaf
        unused.remove(name)
        assert weights[name].shape == leaf.shape, name
        return jnp.asarray(weights[name])

    loaded = jax.tree_util.tree_map_with_path(replace, params)
    assert not unused
    return loaded


def randomise(model) -> None:
    """Weights of order one everywhere: biases and scales must not hide behind their initial 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))


def arrays(module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("updown", [False, True], ids=["convolutions", "resblock_updown"])
def test_unet_equals_diffusers(updown):
    change = {"downsample_type": "resnet", "upsample_type": "resnet"} if updown else {}
    reference = diffusers.UNet2DModel(
        **change,
        in_channels=20,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=2,
        down_block_types=("ResnetDownsampleBlock2D" if updown else "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
        norm_num_groups=8,
    ).eval()
    randomise(reference)
    ours = network.Network(
        lambda rngs: unet.UNet(
            base_channels=16,
            multipliers=(1, 2),
            attention_levels=(1,),
            head_channels=8,
            norm_groups=8,
            num_frequencies=4,
            resblock_updown=updown,
            rngs=rngs,
        )
    )
    params = load(
        ours.init(jax.random.key(0)),
        public.convert("diffusers-unet", arrays(reference)),
        new=("frequency_table", "frequency_embedding"),
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 20)).astype(np.float32)
    time = np.array([3, 801], np.int32)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(time)).sample
    result = jax.jit(lambda params, x: ours.bind(params)(x[..., :4], x[..., 4:], time, jnp.array([1, 2])))(params, x)
    np.testing.assert_allclose(result, expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("updown", [False, True], ids=["convolutions", "resblock_updown"])
def test_unet_equals_latent_diffusion(updown):
    from ldm_unet import LatentDiffusionUNet

    reference = LatentDiffusionUNet(20, 4, 16, (1, 2, 3), 2, (1, 2), 4, updown).eval()
    randomise(reference)
    ours = network.Network(
        lambda rngs: unet.UNet(
            base_channels=16,
            multipliers=(1, 2, 3),
            attention_levels=(1, 2),
            num_heads=4,
            resblock_updown=updown,
            norm_groups=8,
            num_frequencies=4,
            rngs=rngs,
        )
    )
    stored = {f"model.diffusion_model.{name}": value for name, value in arrays(reference).items()}
    stored["first_stage_model.encoder.conv_in.weight"] = np.zeros((4, 4, 3, 3), np.float32)
    params = load(
        ours.init(jax.random.key(0)),
        public.convert("ldm-unet", stored, num_heads=4),
        new=("frequency_table", "frequency_embedding"),
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 20)).astype(np.float32)
    time = np.array([3, 801], np.int32)
    with torch.no_grad():
        expected = reference(torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(time))
    result = jax.jit(lambda params, x: ours.bind(params)(x[..., :4], x[..., 4:], time, jnp.array([1, 2])))(params, x)
    np.testing.assert_allclose(result, expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)


def test_vae_equals_diffusers():
    reference = diffusers.AutoencoderKL(
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).eval()
    randomise(reference)
    ours = network.Network(lambda rngs: vae.VAE(base_channels=8, multipliers=(1, 2), norm_groups=4, rngs=rngs))
    params = load(ours.init(jax.random.key(0)), public.convert("diffusers-vae", arrays(reference)))
    x = np.random.default_rng(0).normal(size=(2, 16, 24, 4)).astype(np.float32)
    with torch.no_grad():
        posterior = reference.encode(torch.from_numpy(x).permute(0, 3, 1, 2)).latent_dist
        decoded = reference.decode(posterior.mean).sample

    @jax.jit
    def both(params, x):
        model = ours.bind(params)
        mean, log_variance = model.encode(x)
        return mean, log_variance, model.decode(mean)

    for result, expected in zip(both(params, x), (posterior.mean, posterior.logvar, decoded), strict=True):
        np.testing.assert_allclose(result, expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4)
