"""Moving pictures by displacement fields: forward splatting, backward warping, pyramids. Pure functions."""
