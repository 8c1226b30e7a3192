"""Frames that FFmpeg's filters have to mend before they are pictures: interlaced ones, HDR, wide colours.

HDR (BT.2100, PQ or HLG) and wide colours become BT.709 by a table to linear light, a matrix, and a table back. Of HDR
light up to 0.3 of reference white (203 cd/m2, BT.2408) stays as it is; the rest, up to 1,000 cd/m2, is rolled off by
the Moebius curve of FFmpeg's filter `tonemap`. That filter itself needs linear light, which `zscale` makes, and
wheels of PyAV have no `zscale`; the filter `scale` would do, but clips at white and takes seconds to set up.
"""

import errno
from collections.abc import Iterator
from typing import NamedTuple

import av
import av.filter
from av.video.reformatter import ColorPrimaries, ColorTrc

from gid_jax.errors import UserError

_HDR: dict[int, str] = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}
_TO_BT709 = {  # linear light of wide primaries -> of BT.709, row by row (ITU-R BT.2407; SMPTE EG 432)
    "BT.2020": (1.6605, -0.5876, -0.0728, -0.1246, 1.1329, -0.0083, -0.0182, -0.1006, 1.1187),
    "P3": (1.2249, -0.2249, 0.0, -0.0420, 1.0420, 0.0, -0.0196, -0.0786, 1.0982),
}
_WIDE: dict[int, str] = {
    ColorPrimaries.BT2020: "BT.2020",
    ColorPrimaries.SMPTE431: "P3",
    ColorPrimaries.SMPTE432: "P3",
}
_RESERVED, _UNSPECIFIED = 3, 2  # matrices
_STRANGE = {8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "Y'D'zD'x", 13: "chroma-derived", 14: "ICtCp",
            15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro"}  # fmt: skip  # matrices that libswscale does not know
_WHITE, _PEAK, _KNEE, _GAMMA = 203.0, 1000.0, 0.3, 2.4
_LIGHT: dict[int, str] = {  # cd/m2 of a code (ITU-R BT.2100; HLG on a display of 1,000)
    ColorTrc.SMPTE2084: "st(0,pow(val/maxval,1/78.84375))*0"
    "+pow(max(ld(0)-0.8359375,0)/(18.8515625-18.6875*ld(0)),1/0.1593017578125)*10000",
    ColorTrc.ARIB_STD_B67: "st(0,val/maxval)*0"
    "+pow(if(lte(ld(0),0.5),ld(0)^2/3,(exp((ld(0)-0.55991073)/0.17883277)+0.28466892)/12),1.2)*1000",
}


class _Needs(NamedTuple):
    """All that a chain of filters depends on."""

    width: int
    height: int
    pixel_format: str
    interlaced: bool
    transfer: int
    primaries: int
    matrix: int
    color_range: int

    @property
    def filters(self) -> list[tuple[str, dict[str, str]]]:
        """Empty for most videos."""
        result: list[tuple[str, dict[str, str]]] = []
        if self.interlaced:
            result.append(("bwdif", {"mode": "send_frame", "deint": "interlaced"}))
        hdr = self.transfer in _HDR
        wide = _WIDE.get(self.primaries, "BT.2020" if hdr and self.primaries == ColorPrimaries.UNSPECIFIED else None)
        if hdr or wide:
            to_light = _tone_table(self.transfer) if hdr else f"maxval*pow(val/maxval,{_GAMMA})"
            result += [("format", {"pix_fmts": "gbrp16le"}), _table(to_light)]
            if wide:
                weights = map(str, _TO_BT709[wide])
                result += [("colorchannelmixer", {o + i: next(weights) for o in "rgb" for i in "rgb"})]
            result += [_table(f"maxval*pow(val/maxval,1/{_GAMMA})"), ("format", {"pix_fmts": "rgb24"})]
            result += [("setparams", {"color_trc": "bt709", "color_primaries": "bt709"})]
        return result


class Mender:
    """Takes frames in order and gives each back, mended where it needs it: a deinterlacer wants to see the next one."""

    def __init__(self) -> None:
        self._needs: _Needs | None = None
        self._graph: av.filter.Graph | None = None
        self._interlaced = False
        self._count = 0

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Raises `UserError`, without the path, for colours that cannot be converted."""
        self._interlaced = self._interlaced or frame.interlaced_frame
        if frame.colorspace == _RESERVED:
            frame.colorspace = _UNSPECIFIED  # as players take it; libswscale refuses it
        needs = _Needs(
            frame.width,
            frame.height,
            frame.format.name,
            self._interlaced,
            frame.color_trc,
            frame.color_primaries,
            frame.colorspace,
            frame.color_range,
        )
        if needs != self._needs:
            yield from self.flush()
            self._needs, self._graph = needs, _make_graph(needs)
        if self._graph is None:
            yield frame
            return
        frame.pts, self._count = self._count, self._count + 1
        self._graph.vpush(frame)
        yield from _pull(self._graph)

    def flush(self) -> Iterator[av.VideoFrame]:
        """What is left."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from _pull(self._graph)
            self._graph = None


def _pull(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    try:
        while True:
            yield graph.vpull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return


def _make_graph(needs: _Needs) -> av.filter.Graph | None:
    """Raises `UserError` for colours that cannot be converted."""
    if needs.matrix in _STRANGE:
        raise UserError(f"colours coded as {_STRANGE[needs.matrix]}; convert it to BT.709 or leave it out")
    if not needs.filters:
        return None
    graph = av.filter.Graph()
    source = f"video_size={needs.width}x{needs.height}:pix_fmt={needs.pixel_format}:time_base=1/1"
    colours = f"colorspace={needs.matrix}:range={needs.color_range}"
    try:
        nodes = [graph.add("buffer", f"{source}:{colours}")]
        nodes += [graph.add(name, **options) for name, options in needs.filters]
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    except (av.error.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOMEM:
            raise
        what = f"HDR ({_HDR[needs.transfer]})" if needs.transfer in _HDR else "in wide colours"
        what = "interlaced" if needs.interlaced else what
        raise UserError(f"{what}, and this FFmpeg cannot convert it; install a newer av or leave it out") from error
    return graph


def _table(expression: str) -> tuple[str, dict[str, str]]:
    return "lutrgb", {channel: expression for channel in "rgb"}


def _tone_table(transfer: int) -> str:
    """HDR code -> linear light of the SDR picture, an expression of FFmpeg."""
    peak = _PEAK / _WHITE
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b**2 + 2 * b * _KNEE + _KNEE**2) / (b - a)
    light = f"st(1,min(({_LIGHT[transfer]})/{_WHITE},{peak}))"
    return f"maxval*if(lte({light},{_KNEE}),ld(1),{scale}*(ld(1)+{a})/(ld(1)+{b}))"
