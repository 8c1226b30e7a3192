"""Self-attention on a TPU whose scores never leave the chip: a kernel for the forward and one for the backward pass.

XLA writes the scores of every pair of tokens to memory, in float32, and reads them back several times: at `paper` size
more traffic than all convolutions together. Here a program of the grid holds all keys of one picture and of as
many heads as fill the lanes, and some queries; the scores stay in its memory. The backward pass computes them
again. Heads are told apart by masks rather than by slices: matrix units multiply whole lanes anyway.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES = 128
SCORES = 1 << 19
"""elements of one head's scores at a time"""


def fits(tokens: int, channels: int, head_channels: int) -> bool:
    """Can this chip's kernels take these sizes? Ask where its mesh is set, or it is the default device."""
    width = max(head_channels, LANES)
    whole = channels % width == 0 and width % head_channels == 0 and _rows(tokens) is not None
    return whole and 4 * _memory(tokens, width) <= 3 * pltpu.get_tpu_info().vmem_capacity_bytes


def _memory(tokens: int, width: int) -> int:
    """Bytes that the backward pass needs at once: keys, values and their changes twice, sums, six planes of scores."""
    return 24 * tokens * width + 24 * min(SCORES, tokens * tokens)


def _rows(tokens: int) -> int | None:
    """Queries at a time: the most that divide all and keep within `SCORES`."""
    sizes = (rows for rows in range(tokens, 0, -1) if tokens % rows == 0 and (rows % 16 == 0 or rows == tokens))
    return next((rows for rows in sizes if rows * tokens <= SCORES), None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, head_channels: int, interpret: bool = False
) -> jax.Array:
    """`layers.attend` of [n, tokens, channels], heads side by side; sums and softmax in float32.

    `interpret` runs the kernels as plain operations, anywhere.
    """
    return _call(_forward_kernel, (query,), (key, value), 1, 0, head_channels, interpret)[0]


def _forward(query, key, value, head_channels, interpret):
    return attend(query, key, value, head_channels, interpret), (query, key, value)


def _backward(head_channels, interpret, kept, change):
    query, key, value = kept
    return tuple(_call(_backward_kernel, (query, change), (key, value), 1, 2, head_channels, interpret))


attend.defvjp(_forward, _backward)


def _call(kernel, queries, keys, query_results: int, key_results: int, head_channels: int, interpret: bool):
    """Runs a kernel on `queries`, seen some at a time, and `keys`, seen whole; its results are alike."""
    n, tokens, channels = queries[0].shape
    width, rows = max(head_channels, LANES), _rows(tokens)
    some = pl.BlockSpec((None, rows, width), lambda i, group, part: (i, part, group))
    whole = pl.BlockSpec((None, tokens, width), lambda i, group, part: (i, 0, group))
    products = 2 if key_results == 0 else 5
    size = queries[0].size * queries[0].dtype.itemsize
    cost = pl.CostEstimate(
        flops=2 * products * n * tokens * tokens * channels * (width // head_channels),
        bytes_accessed=size * (len(queries) + len(keys) + query_results + key_results),
        transcendentals=n * tokens * tokens * (channels // head_channels),
    )
    return pl.pallas_call(
        functools.partial(kernel, head_channels=head_channels),
        grid=(n, channels // width, tokens // rows),
        in_specs=[some] * len(queries) + [whole] * len(keys),
        out_specs=[some] * query_results + [whole] * key_results,
        out_shape=[jax.ShapeDtypeStruct(queries[0].shape, queries[0].dtype)] * (query_results + key_results),
        scratch_shapes=[pltpu.VMEM((tokens, width), jnp.float32)] * key_results,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"),
            vmem_limit_bytes=max(16 << 20, _memory(tokens, width)),
        ),
        cost_estimate=cost,
        interpret=interpret,
    )(*queries, *keys)


def _dot(a: jax.Array, b: jax.Array, axes: tuple[int, int]) -> jax.Array:
    precision = lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    dimensions = (((axes[0],), (axes[1],)), ((), ()))
    return lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=jnp.float32)


def _heads(width: int, head_channels: int) -> list[jax.Array]:
    """For each head True at its lanes [1, width]."""
    lane = lax.broadcasted_iota(jnp.int32, (1, width), 1)
    return [lane // head_channels == head for head in range(width // head_channels)]


def _weights(query: jax.Array, key: jax.Array, head_channels: int) -> jax.Array:
    """Softmax of the scores, float32 [queries, keys]; `query` is zero outside of the head."""
    scores = _dot(query, key, (1, 1)) * head_channels**-0.5
    weights = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    return weights / jnp.sum(weights, axis=1, keepdims=True)


def _forward_kernel(query_ref, key_ref, value_ref, result_ref, *, head_channels: int):
    query, key, value = query_ref[...], key_ref[...], value_ref[...]
    zero, result = jnp.zeros((), query.dtype), jnp.zeros(query.shape, jnp.float32)
    for mine in _heads(query.shape[1], head_channels):
        weights = _weights(jnp.where(mine, query, zero), key, head_channels)
        result += _dot(weights.astype(value.dtype), jnp.where(mine, value, zero), (1, 0))
    result_ref[...] = result.astype(result_ref.dtype)


def _backward_kernel(
    query_ref,
    change_ref,
    key_ref,
    value_ref,
    query_change_ref,
    key_change_ref,
    value_change_ref,
    key_total,
    value_total,
    *,
    head_channels: int,
):
    part = pl.program_id(2)

    @pl.when(part == 0)
    def _():
        key_total[...] = jnp.zeros(key_total.shape, key_total.dtype)
        value_total[...] = jnp.zeros(value_total.shape, value_total.dtype)

    query, change, key, value = query_ref[...], change_ref[...], key_ref[...], value_ref[...]
    zero, query_change = jnp.zeros((), query.dtype), jnp.zeros(query.shape, jnp.float32)
    for mine in _heads(query.shape[1], head_channels):
        own_query, own_change = jnp.where(mine, query, zero), jnp.where(mine, change, zero)
        weights = _weights(own_query, key, head_channels)
        value_total[...] += _dot(weights.astype(change.dtype), own_change, (0, 0))
        weight_change = _dot(own_change, value, (1, 1))
        score_change = weights * (weight_change - jnp.sum(weight_change * weights, axis=1, keepdims=True))
        score_change = (score_change * head_channels**-0.5).astype(query.dtype)
        query_change += _dot(score_change, jnp.where(mine, key, zero), (1, 0))
        key_total[...] += _dot(score_change, own_query, (0, 0))
    query_change_ref[...] = query_change.astype(query_change_ref.dtype)

    @pl.when(part == pl.num_programs(2) - 1)
    def _():
        key_change_ref[...] = key_total[...].astype(key_change_ref.dtype)
        value_change_ref[...] = value_total[...].astype(value_change_ref.dtype)
