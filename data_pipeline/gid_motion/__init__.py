"""The TFDS data set `gid_motion`."""
