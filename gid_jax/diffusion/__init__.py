"""Denoising diffusion in small pieces: schedule, guidance, samplers. Pure functions of arrays and callables."""
