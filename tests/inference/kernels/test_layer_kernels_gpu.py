"""The kernels of a decoder layer's small steps against their definitions in float64."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from inference.kernels.activations import ACTIVATIONS, gated_activation, reference_gated_activation
from inference.kernels.attention import AttentionRule, DecodeAttention, reference_attention
from inference.kernels.norms import (
    RmsNorm,
    add_rms_norm,
    reference_add_rms_norm,
    reference_rms_norm,
    rms_norm,
)
from inference.kernels.rotary import Heads, NewRows, rotate_and_store

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TOLERANCE = {torch.bfloat16: 5e-3, torch.float16: 1e-3}
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["bf16", "fp16"])


def numbers(*shape: int, dtype: torch.dtype = torch.bfloat16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).cuda().to(dtype)


def double(norm: RmsNorm | None) -> RmsNorm | None:
    if norm is None:
        return None
    return RmsNorm(weight=norm.weight.double(), epsilon=norm.epsilon, one_plus=norm.one_plus)


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype, slack: float = 1.0) -> None:
    error = (actual.double() - expected).norm() / expected.norm()
    assert error <= slack * TOLERANCE[dtype], f"relative error {error:.2e}"


@pytest.fixture(autouse=True)
def _poisoned_memory() -> None:
    """What the allocator hands out next is full of NaN: an element that is not written shows."""
    held = [torch.full((size,), float("nan"), device="cuda") for size in (2**8, 2**12, 2**16, 2**20) * 4]
    del held


@dtypes
@pytest.mark.parametrize(("size", "rows"), [(64, 1), (576, 3), (2048, 2), (4096, 1), (5120, 8), (16384, 1)])
@pytest.mark.parametrize("one_plus", [False, True], ids=["plain", "one_plus"])
def test_norm_with_and_without_the_sum_before_it(
    dtype: torch.dtype, size: int, rows: int, one_plus: bool
) -> None:
    x, residual = (numbers(1, rows, size, dtype=dtype, seed=seed) for seed in (1, 2))
    norm, around = (
        RmsNorm(weight=numbers(size, dtype=dtype, seed=seed), epsilon=1e-5, one_plus=one_plus)
        for seed in (3, 4)
    )
    assert_close(rms_norm(x, norm), reference_rms_norm(x.double(), double(norm)), dtype)
    for inner, multiplier in ((None, 1.0), (around, 1.0), (None, 0.22)):
        sums, normed = add_rms_norm(x, residual, norm, around=inner, multiplier=multiplier)
        expected = reference_add_rms_norm(
            x.double(), residual.double(), double(norm), around=double(inner), multiplier=multiplier
        )
        assert_close(sums, expected[0], dtype)
        assert_close(normed, expected[1], dtype)


@dtypes
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_gated_activation_of_parts_of_one_tensor(dtype: torch.dtype, activation: str) -> None:
    both = numbers(3, 2 * 1096, dtype=dtype) * 3
    gate, up = both[:, :1096], both[:, 1096:]
    expected = reference_gated_activation(gate.double(), up.double(), activation)
    assert_close(gated_activation(gate, up, activation), expected, dtype)


@dtypes
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("start", [0, 257])
@pytest.mark.parametrize(
    ("heads", "rotated", "normed"),
    [
        (Heads(queries=32, keys=8, size=128), 128, None),
        (Heads(queries=9, keys=3, size=64), 64, False),
        (Heads(queries=8, keys=4, size=256), 256, True),
        (Heads(queries=5, keys=5, size=96), 48, None),
        (Heads(queries=4, keys=2, size=80), 0, None),
        (Heads(queries=8, keys=2, size=48), 22, False),
    ],
)
@pytest.mark.parametrize(
    ("paired", "wide"), [(False, False), (True, True)], ids=["halves", "neighbours_by_float_tables"]
)
def test_a_step_rotates_writes_and_attends(
    dtype: torch.dtype,
    rows: int,
    start: int,
    heads: Heads,
    rotated: int,
    normed: bool | None,
    paired: bool,
    wide: bool,
) -> None:
    size = heads.size
    packed = numbers(rows, (heads.queries + 2 * heads.keys) * size, dtype=dtype)
    q, k, v = packed.split([heads.queries * size, heads.keys * size, heads.keys * size], dim=1)
    angles = torch.rand(rows, rotated // 2, generator=torch.Generator().manual_seed(0)).cuda() * 6
    cosine, sine = (
        torch.cat((each, each), -1).to(torch.float32 if wide else dtype) if rotated else None
        for each in (angles.cos(), angles.sin())
    )
    q_norm, k_norm = (
        None
        if normed is None
        else RmsNorm(weight=numbers(size, dtype=dtype, seed=seed), epsilon=1e-6, one_plus=normed)
        for seed in (1, 2)
    )
    keys, values = (numbers(heads.keys, 300, size, dtype=dtype, seed=seed) for seed in (3, 4))
    wide_keys, wide_values = keys.double(), values.double()
    keys[:, start:] = values[:, start:] = float("nan")
    position = torch.tensor([start], device="cuda")
    attend = DecodeAttention(AttentionRule(heads=heads, scale=size**-0.5, paired=paired))
    out = attend(
        q, k, v, keys=keys, values=values, position=position, cosine=cosine, sine=sine,
        q_norm=q_norm, k_norm=k_norm,
    )  # fmt: skip
    new = NewRows(
        q=q.double(), k=k.double(), v=v.double(), q_norm=double(q_norm), k_norm=double(k_norm),
        cosine=None if cosine is None else cosine.double(), sine=None if sine is None else sine.double(),
    )  # fmt: skip
    queries = rotate_and_store(
        new, heads, keys=wide_keys, values=wide_values, position=position, paired=paired
    )
    written = slice(start, start + rows)
    assert_close(keys[:, written], wide_keys[:, written], dtype)
    assert torch.equal(values[:, written].double(), wide_values[:, written])
    assert torch.equal(keys[:, :start].double(), wide_keys[:, :start])
    assert keys[:, start + rows :].isnan().all()
    # The kernel attends with the queries and keys as it has rounded them, several times on the way.
    wide_keys[:, written] = keys[:, written].double()
    expected = reference_attention(attend.rule, queries, wide_keys, wide_values, position)
    assert_close(out, expected, dtype, slack=2.0)


def attended(
    attend: DecodeAttention,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    position: Tensor,
    **more: Tensor | None,
) -> Tensor:
    """A step that writes what is in the cache already."""
    rows = queries.shape[0]
    start = int(position)
    new = [each[:, start : start + rows].transpose(0, 1).flatten(1) for each in (keys, values)]
    held = [each.clone() for each in (keys, values)]
    for each in held:
        each[:, start:] = float("nan")
    return attend(queries.flatten(1), *new, keys=held[0], values=held[1], position=position, **more)


HEADS = [
    Heads(queries=32, keys=8, size=128),
    Heads(queries=64, keys=8, size=128),
    Heads(queries=8, keys=1, size=64),
    Heads(queries=5, keys=5, size=96),
    Heads(queries=14, keys=2, size=80),
    Heads(queries=8, keys=4, size=256),
]


@dtypes
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_attention_at_every_length(dtype: torch.dtype, heads: Heads) -> None:
    capacity = 4096 + 8
    keys, values = (numbers(heads.keys, capacity, heads.size, dtype=dtype, seed=seed) for seed in (1, 2))
    bias = torch.rand(capacity, device="cuda") * 4 - 3
    bias[::7] = -1e4
    attend = DecodeAttention(AttentionRule(heads=heads, scale=heads.size**-0.5))
    for length, rows in itertools.chain(
        zip([1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 640, 1000, 2047, 4096], itertools.repeat(1)),
        [(2, 2), (5, 5), (70, 3), (513, 8), (4100, 8)],
    ):
        queries = numbers(rows, heads.queries, heads.size, dtype=dtype, seed=length)
        position = torch.tensor([length - rows], device="cuda")
        out = attended(attend, queries, keys, values, position, bias=bias)
        expected = reference_attention(
            attend.rule, queries.double(), keys.double(), values.double(), position, bias=bias
        )
        assert_close(out, expected, dtype)


@dtypes
@pytest.mark.parametrize("window", [None, 1, 100, 1024])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("mask", ["bool", "half", "infinite", "none"])
def test_attention_with_windows_caps_masks_and_factors(
    dtype: torch.dtype, window: int | None, softcap: float | None, mask: str
) -> None:
    heads, rows, length = Heads(queries=12, keys=3, size=64), 4, 1531
    keys, values = (numbers(heads.keys, 1600, heads.size, dtype=dtype, seed=seed) for seed in (1, 2))
    queries = numbers(rows, heads.queries, heads.size, dtype=dtype) * 3
    drawn = torch.rand(rows, 1600, generator=torch.Generator().manual_seed(5)).cuda()
    drawn[:, length - rows : length] = 1.0  # each row sees its own key at least
    bias = {
        "bool": drawn > 0.3,
        "half": (drawn * 4 - 4).to(dtype),
        "infinite": torch.where(drawn > 0.3, drawn, float("-inf")),
        "none": None,
    }[mask]
    factors = torch.rand(1600, device="cuda") * 2 if mask != "bool" else None
    rule = AttentionRule(heads=heads, scale=0.2, window=window, softcap=softcap)
    position = torch.tensor([length - rows], device="cuda")
    attend = DecodeAttention(rule)
    out = attended(attend, queries, keys, values, position, bias=bias, key_factors=factors)
    expected = reference_attention(
        rule, queries.double(), keys.double(), values.double(), position, bias=bias, key_factors=factors
    )
    assert_close(out, expected, dtype)


def test_a_row_that_sees_no_key_is_zero() -> None:
    heads = Heads(queries=4, keys=2, size=64)
    keys = numbers(heads.keys, 64, heads.size)
    hidden = torch.full((64,), float("-inf"), device="cuda")
    attend = DecodeAttention(AttentionRule(heads=heads, scale=0.1))
    position = torch.tensor([40], device="cuda")
    out = attended(attend, numbers(1, heads.queries, heads.size), keys, keys, position, bias=hidden)
    assert not out.any()


def test_a_captured_chain_of_kernels_serves_every_length() -> None:
    heads, size = Heads(queries=16, keys=4, size=64), 1024
    keys, values = (numbers(heads.keys, 2048, heads.size, seed=seed) for seed in (1, 2))
    norm = RmsNorm(weight=numbers(size), epsilon=1e-6)
    attend = DecodeAttention(AttentionRule(heads=heads, scale=0.125))
    position = torch.tensor([1], device="cuda")
    x = numbers(1, size, seed=9)

    def chain() -> tuple[Tensor, Tensor]:
        normed = rms_norm(x, norm)
        k = normed[:, : heads.keys * heads.size]
        out = attend(normed, k, k, keys=keys, values=values, position=position)
        return add_rms_norm(out, x, norm)

    chain()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = chain()
    for place in (1, 17, 500, 2000, 64):
        position.fill_(place)
        x.copy_(numbers(1, size, seed=place))
        graph.replay()
        replayed = [each.clone() for each in captured]
        for left, right in zip(replayed, chain(), strict=True):
            assert torch.equal(left, right)
        normed = reference_rms_norm(x, norm)
        queries = normed.reshape(1, heads.queries, heads.size)
        expected = reference_attention(
            attend.rule, queries.double(), keys.double(), values.double(), position
        )
        assert_close(replayed[0], x.double() + expected, torch.bfloat16)
