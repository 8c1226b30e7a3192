"""What the four training configurations share: sizes of the presets, loop settings, networks that two stages name."""

from typing import Any

from ml_collections import ConfigDict

from gid_jax.errors import UserError

SIZES = {"paper": (256, 160), "highres": (512, 288), "demo": (128, 80), "test": (64, 40)}
FREQUENCIES = {"paper": 16, "highres": 16, "demo": 8, "test": 4}


def check_preset(preset: str) -> str:
    if preset not in SIZES:
        raise UserError(f"unknown preset {preset!r}; there are {', '.join(SIZES)}")
    return preset


def training(task: str, preset: str, *, batch_size: int, num_steps: int, learning_rate: float) -> ConfigDict:
    """Everything but the networks. `num_frequencies` is a reference: one override changes it everywhere."""
    check_preset(preset)
    large, tiny = preset in ("paper", "highres"), preset == "test"
    config = ConfigDict()
    config.task = task
    config.preset = preset
    config.seed = 0
    config.data_dir = ""
    config.width, config.height = SIZES[preset]
    config.num_frequencies = FREQUENCIES[preset]
    config.normalization = "adaptive"  # of spectra; or "size"
    config.vae = config.base = ""  # workdirs of earlier stages
    config.pretrained = ""  # weights of gid_jax.convert to start from, as far as they fit

    config.batch_size = batch_size  # global
    config.microbatches = 1  # parts of the batch, one after another: less memory, the same step
    config.num_steps = num_steps
    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = learning_rate
    config.optimizer.warmup_steps = {"paper": 1000, "highres": 1000, "demo": 50, "test": 2}[preset]
    config.optimizer.clip_norm = 1.0
    config.ema_decay = 0.9999 if large else 0.999
    config.compute_dtype = "bfloat16" if large else "float32"
    config.remat = preset == "highres"
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "freq": 1})

    config.augment = not tiny
    config.num_workers = 8 if large else 0
    config.log_every = 100 if large else 2 if tiny else 20
    config.eval_every = 5000 if large else 4 if tiny else 500
    config.eval_batches = 8 if large else 2 if tiny else 4
    config.images_every = 5000 if large else 0 if tiny else 500  # pictures for TensorBoard; 0: never
    config.checkpoint_every = 2500 if large else 4 if tiny else 250
    config.keep_checkpoints = 3
    config.stuck_after = 1800  # s without progress after which the process ends; 0: never
    return config


def vae_model(preset: str) -> dict[str, Any]:
    if preset in ("paper", "highres"):
        return {
            "base_channels": 128,
            "multipliers": (1, 2, 4),
            "blocks_per_level": 2,
            "latent_channels": 4,
            "mid_attention": True,
            "norm_groups": 32,
        }
    return {
        "base_channels": 16,  # most of the time goes to full resolution: 32 takes four times as long
        "multipliers": (1, 2, 4) if preset == "demo" else (1, 1, 1),
        "blocks_per_level": 1,
        "latent_channels": 4,
        "mid_attention": False,
        "norm_groups": 8,
    }


def denoiser_model(config: ConfigDict, preset: str, *, frequency_attention: bool) -> dict[str, Any]:
    unet, encoder = {
        "paper": ({"base_channels": 128, "multipliers": (1, 4, 8), "attention_levels": (1, 2)}, 64),
        "highres": (
            {
                "base_channels": 256,
                "multipliers": (1, 2, 3, 4),
                "attention_levels": (1, 2, 3),
                "num_heads": 8,
                "resblock_updown": True,
            },
            64,
        ),
        "demo": ({"base_channels": 32, "multipliers": (1, 2, 4), "attention_levels": (1, 2)}, 32),
        "test": ({"base_channels": 32, "multipliers": (1, 1), "attention_levels": (1,)}, 16),
    }[preset]
    large = preset in ("paper", "highres")
    groups = 32 if large else 8
    return {
        "image_encoder": {"out_channels": 16, "base_channels": encoder, "norm_groups": groups},
        "unet": {
            **unet,
            "in_channels": 20,  # 4 latent, 16 of the picture
            "out_channels": 4,
            "blocks_per_level": 2 if large else 1,
            **({} if preset == "highres" else {"head_channels": 32 if preset != "test" else 16}),
            "num_frequencies": config.get_ref("num_frequencies"),
            "frequency_attention": frequency_attention,
            "norm_groups": groups,
        },
        "variance_head": not large,  # not in the paper; useful samples after far fewer steps
    }


def add_diffusion(config: ConfigDict, preset: str) -> None:
    """Settings that stages 2 and 3 share."""
    config.vae_model = ConfigDict(vae_model(preset))  # must be what config.vae was trained with
    config.schedule = ConfigDict(
        {"beta_start": 0.0015, "beta_end": 0.0205 if preset == "highres" else 0.0195, "num_steps": 1000}
    )
    config.prediction = "noise" if preset in ("paper", "highres") else "velocity"  # which learns sooner
    config.condition_dropout = 0.1
    config.cache_latents = ""  # folder for the latents of the whole data set; needs augment=False
    config.whitening_batches = {"paper": 500, "highres": 500, "demo": 20, "test": 2}[preset]
