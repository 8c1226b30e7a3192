"""Scatter and gather along a motion as matrix products, for machines that multiply matrices and hate addresses.

What source row y sends to target row Y, and what it fetches from there, is a product with one matrix of the pair's
columns, M(X, x) = max(0, 1 - |X - x - u(x)|), which holds two numbers in each column:

    A(Y, X) = sum_y sum_x M(X, x) t(x) V(y, x),    t(x) = max(0, 1 - |Y - y - v(x)|)

The kernels build M in on-chip memory, once for each source row, and multiply for those target rows only which a pixel
of the source row reaches. Hence a smooth motion is cheap and any motion is right: no reach is assumed. Blocks are eight
rows; pairs of blocks that do not touch are neither fetched nor entered.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from gid_jax.placement import BATCH, per_device

ROWS, LANES = 8, 128
WIDEST, TILE = 512, 256  # columns of a result that are computed at once; of wider pictures this many
MOST = 2**16  # numbers of a row of a block, so that a kernel's blocks and matrices fit into 16 MiB
USUAL_ROWS = 8  # target rows that one source row reaches: for the estimate of the cost alone


def scatter(
    values: Float[Array, "b h w c"], motion: Float[Array, "b h w 2"], interpret: bool = False
) -> Float[Array, "b h w c"]:
    """Bilinear sums of the values at p + F(p); what leaves the picture is dropped."""
    return per_device(functools.partial(_scatter, interpret=interpret), BATCH)(values, motion)


def gather(
    values: Float[Array, "b h w c"], motion: Float[Array, "b h w 2"], interpret: bool = False
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w c"], Float[Array, "b h w c"]]:
    """Bilinear values at p + F(p), 0 outside of the picture, and their derivatives by F along x and y."""
    return per_device(functools.partial(_gather, interpret=interpret), BATCH)(values, motion)


class Ends(NamedTuple):
    """Where source pixels end, relative to where they are: whole pixels and the rest, [b, h, w] padded to blocks."""

    columns: Array
    x: Array
    rows: Array
    y: Array


class Reached(NamedTuple):
    """Rows of targets, [b, h], that a source row touches, first to last; none where first > last."""

    first: Array
    last: Array


def _ends(motion: Array, shape: tuple[int, ...]) -> tuple[Ends, Reached]:
    height, width = motion.shape[1:3]
    whole = jnp.floor(motion)
    rest = motion - whole
    whole = jnp.clip(whole, -(2.0**20), 2.0**20).astype(jnp.int32)
    rows = whole[..., 1] + jnp.arange(height, dtype=jnp.int32)[None, :, None]
    reached = Reached(jnp.maximum(jnp.min(rows, axis=2), 0), jnp.minimum(jnp.max(rows, axis=2) + 1, height - 1))
    spare = ((0, 0), (0, shape[1] - height), (0, shape[3] - width))
    ends = Ends(*(jnp.pad(a, spare) for a in (whole[..., 0], rest[..., 0], whole[..., 1], rest[..., 1])))
    return ends, Reached(jnp.pad(reached.first, spare[:2], constant_values=1), jnp.pad(reached.last, spare[:2]))


def _rows_of_channels(values: Array) -> Array:
    """[b, h, w, c] -> [b, h, c, w], zeros up to whole blocks."""
    _, height, width, channels = values.shape
    columns = -width % (LANES if width <= WIDEST else TILE)
    spare = (-height % ROWS, -channels % _channel_block(channels, width + columns), columns)
    return jnp.pad(jnp.swapaxes(values, 2, 3), ((0, 0), *((0, n) for n in spare)))


def _channel_block(channels: int, width: int) -> int:
    """How many channels a block has: a multiple of 8."""
    blocks = -(-channels // min(128, MOST // width))
    return -(-channels // (8 * blocks)) * 8


def _unpadded(result: Array, values: Array) -> Array:
    _, height, width, channels = values.shape
    return jnp.swapaxes(result[:, :height, :channels, :width], 2, 3)


def _scatter(values: Array, motion: Array, interpret: bool) -> Array:
    padded = _rows_of_channels(values)
    ends, reached = _ends(motion, padded.shape)
    first, last = (a.reshape(len(a), 1, -1, ROWS) for a in reached)
    block = jnp.arange(padded.shape[1] // ROWS, dtype=jnp.int32)
    top = ROWS * block[None, :, None, None]
    touches = jnp.any((jnp.maximum(first, top) <= jnp.minimum(last, top + ROWS - 1)), axis=3)  # [b, target, source]
    sources = Reached(
        jnp.min(jnp.where(touches, block[None, None, :], len(block)), axis=2),
        jnp.max(jnp.where(touches, block[None, None, :], -1), axis=2),
    )
    return _unpadded(_call(_scatter_kernel, 1, sources, reached, ends, padded, interpret)[0], values)


def _gather(values: Array, motion: Array, interpret: bool) -> tuple[Array, Array, Array]:
    padded = _rows_of_channels(values)
    ends, reached = _ends(motion, padded.shape)
    some = reached.first <= reached.last
    first, last = jnp.where(some, reached.first, padded.shape[1]), jnp.where(some, reached.last, -1)
    blocks = (len(first), -1, ROWS)
    targets = Reached(first.reshape(blocks).min(axis=2) // ROWS, last.reshape(blocks).max(axis=2) // ROWS)
    results = _call(_gather_kernel, 3, targets, reached, ends, padded, interpret)
    value, by_x, by_y = (_unpadded(result, values) for result in results)
    return value, by_x, by_y


def _call(kernel, results: int, partners: Reached, reached: Reached, ends: Ends, values: Array, interpret: bool):
    """Runs a kernel for each block of results and each of its `partners`: the blocks of rows that concern it."""
    batch, height, channels, width = values.shape
    channel_block, blocks = _channel_block(channels, width), height // ROWS
    tile = width if width <= WIDEST else TILE
    grid = (batch, channels // channel_block, width // tile, blocks, blocks)

    def partner(b, _c, _x, r, k, first, last, *_):
        return jnp.clip(first[b, r] + k, 0, jnp.maximum(last[b, r], 0))

    if kernel is _scatter_kernel:
        end_spec = pl.BlockSpec((1, ROWS, width), lambda b, *at: (b, partner(b, *at), 0))
    else:
        end_spec = pl.BlockSpec((1, ROWS, tile), lambda b, _c, x, r, *_: (b, r, x))
    value_spec = pl.BlockSpec((1, ROWS, channel_block, width), lambda b, c, *at: (b, partner(b, c, *at), c, 0))
    result_spec = pl.BlockSpec((1, ROWS, channel_block, tile), lambda b, c, x, r, *_: (b, r, c, x))
    products = (1 if results == 1 else 2) * batch * height * min(USUAL_ROWS, height)
    return pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            grid=grid,
            in_specs=[end_spec] * 4 + [value_spec],
            out_specs=[result_spec] * results,
        ),
        out_shape=[jax.ShapeDtypeStruct(values.shape, values.dtype)] * results,
        cost_estimate=pl.CostEstimate(
            flops=6 * 2 * products * channels * width * width,  # a float32 product takes six of bfloat16
            bytes_accessed=values.size * values.dtype.itemsize * (results + 3),
            transcendentals=0,
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
    )(*partners, *reached, *ends, values)


def _for_pairs(first, last, source_block, target_block, prepare, add) -> None:
    """add(prepare(i), i, Y - y, j) for source row i and target row j of the two blocks where they touch."""

    def source(i, _):
        y, top = ROWS * source_block + i, ROWS * target_block
        begin, end = jnp.maximum(first[y], top), jnp.minimum(last[y], top + ROWS - 1) + 1

        @pl.when(begin < end)
        def _():
            prepared = prepare(i)
            lax.fori_loop(begin, end, lambda Y, _: add(prepared, i, Y - y, Y - top), None)

    lax.fori_loop(0, ROWS, source, None)


def _columns(columns: Array, targets: int, target_start, source_start) -> Array:
    """[X, x]: 0 where source x ends in column X or less than one to its right, 1 in the next, else another number."""
    shape = targets, columns.shape[1]
    target = lax.broadcasted_iota(jnp.int32, shape, 0) + target_start
    source = lax.broadcasted_iota(jnp.int32, shape, 1) + source_start
    return target - source - columns


def _share(step: Array, rest: Array) -> Array:
    """The part of a pixel that goes `step` pixels beyond the whole part of its motion."""
    return jnp.where(step == 0, 1 - rest, jnp.where(step == 1, rest, 0))


def _scatter_kernel(first, last, first_row, last_row, columns, x, rows, y, values, result):
    b, tile, r, k = pl.program_id(0), pl.program_id(2), pl.program_id(3), pl.program_id(4)
    source_block = first[b, r] + k
    width = result.shape[3]

    @pl.when(k == 0)
    def _():
        result[...] = jnp.zeros_like(result)

    def prepare(i):
        row = pl.ds(i, 1)
        return _share(_columns(columns[0, row], width, tile * width, 0), x[0, row])

    def add(matrix, i, step, j):
        row = pl.ds(i, 1)
        sent = values[0, i] * _share(step - rows[0, row], y[0, row])
        result[0, j] += _product(sent, matrix, 1)

    @pl.when(source_block <= last[b, r])
    def _():
        _for_pairs(first_row.at[b], last_row.at[b], source_block, r, prepare, add)


def _gather_kernel(first, last, first_row, last_row, columns, x, rows, y, values, value, by_x, by_y):
    b, tile, r, k = pl.program_id(0), pl.program_id(2), pl.program_id(3), pl.program_id(4)
    target_block = first[b, r] + k
    width = value.shape[3]

    @pl.when(k == 0)
    def _():
        for result in (value, by_x, by_y):
            result[...] = jnp.zeros_like(result)

    def prepare(i):
        step = _columns(columns[0, pl.ds(i, 1)], values.shape[3], 0, tile * width)
        return tuple((step == side).astype(values.dtype) for side in (0, 1))

    def add(matrices, i, step, j):
        row = pl.ds(i, 1)
        left, right = (_product(values[0, j], matrix, 0) for matrix in matrices)
        across, step = left + x[0, row] * (right - left), step - rows[0, row]
        share = _share(step, y[0, row])
        value[0, i] += share * across
        by_x[0, i] += share * (right - left)
        by_y[0, i] += jnp.where(step == 1, across, jnp.where(step == 0, -across, 0))

    @pl.when(target_block <= last[b, r])
    def _():
        _for_pairs(first_row.at[b], last_row.at[b], r, target_block, prepare, add)


def _product(rows: Array, matrix: Array, contracted: int) -> Array:
    dimensions = (((1,), (contracted,)), ((), ()))
    return lax.dot_general(rows, matrix, dimensions, precision=lax.Precision.HIGHEST, preferred_element_type=rows.dtype)
