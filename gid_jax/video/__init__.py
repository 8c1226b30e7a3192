"""Video files to their frames, as they are meant to be shown."""
