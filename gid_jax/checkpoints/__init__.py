"""What a run leaves behind and what a run may start from: Orbax checkpoints, public weights."""
