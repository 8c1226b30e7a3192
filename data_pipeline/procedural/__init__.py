"""Procedural scenes that sway in a turbulent wind, with exact motion: the project's embedded data and ground truth."""

from data_pipeline.procedural.clip import ProceduralClip, load_exact, render_clip, render_motion, save_clip

__all__ = ["ProceduralClip", "load_exact", "render_clip", "render_motion", "save_clip"]
