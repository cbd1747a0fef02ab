"""What a decoder layer of transformers is made of, found by its structure and not by its family's name.

Names of parts say where to look; what a norm or an activation computes is found out by trying it on numbers.
What does not fit is refused with a reason: a part that is not known could do anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from inference.kernels.activations import ACTIVATIONS, PLAIN_ACTIVATIONS
from inference.kernels.attention import AttentionRule
from inference.kernels.norms import LayerNorm, Norm, RmsNorm, apply_norm, reference_rms_norm
from inference.kernels.rotary import Heads

#: Norms by the names that layers give them: before attention, after it, before the feed-forward block and
#: after that.
_ORDERS = {
    frozenset({"input_layernorm", "post_attention_layernorm"}): (
        "input_layernorm",
        None,
        "post_attention_layernorm",
        None,
    ),
    frozenset(
        {
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
        }
    ): (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ),
    frozenset(
        {"input_layernorm", "post_attention_layernorm", "post_self_attn_layernorm", "post_mlp_layernorm"}
    ): (
        "input_layernorm",
        "post_self_attn_layernorm",
        "post_attention_layernorm",
        "post_mlp_layernorm",
    ),
}
_INWARD = (("q_proj", "k_proj", "v_proj"), ("qkv_proj",), ("query_key_value",))
_OUTWARD = (("o_proj",), ("dense",), ("out_proj",))
_TWO, _ONE = ("gate_proj", "up_proj"), ("gate_up_proj",)
#: Parts without effect in a step: dropout is off.
_IDLE = (nn.Dropout, nn.Identity)
_ACTIVATED_BY = ("act_fn", "activation_fn", "act")


class NotFusable(Exception):
    """A layer, or one of its calls, is not what the fused sequence computes; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedMlp:
    """A feed-forward block with a gate.

    Attributes:
        gate_up: The projections to gate and up: two, or one that has both.
        down_proj: The projection behind them.
        activation: Of the gate, a name of :data:`~inference.kernels.activations.ACTIVATIONS`.
    """

    gate_up: tuple[nn.Module, ...]
    down_proj: nn.Module
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainMlp:
    """A feed-forward block without a gate: a projection, an activation by its name, a projection."""

    up_proj: nn.Module
    down_proj: nn.Module
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerParts:
    """A decoder layer taken apart.

    Attributes:
        before_attention: The norm at its start.
        after_attention: The norm of what attention adds, if there is one.
        before_mlp: The norm before the feed-forward block; None: it shares the one before attention.
        parallel: The feed-forward block stands beside attention, not behind it.
        after_mlp: The norm of what the feed-forward block adds, if there is one.
        inward: The projections to queries, keys and values: three, or one that has all of them.
        grouped: One projection has the queries of a key head, that key and its value, and so on; otherwise
            all queries, all keys, all values.
        o_proj: The projection behind attention.
        mlp: The feed-forward block, taken apart; or the module, where it is another one (a mixture of
            experts).
        rule: What attention computes.
        q_norm: Of each query head.
        k_norm: Of each key head.
        rotates: Whether queries and keys are rotated.
        multiplier: Of what attention and the feed-forward block add.
        index: The layer's number in the cache.
    """

    before_attention: Norm
    after_attention: RmsNorm | None
    before_mlp: Norm | None
    after_mlp: RmsNorm | None
    parallel: bool
    inward: tuple[nn.Module, ...]
    grouped: bool
    o_proj: nn.Module
    mlp: GatedMlp | PlainMlp | nn.Module
    rule: AttentionRule
    q_norm: RmsNorm | None
    k_norm: RmsNorm | None
    rotates: bool
    multiplier: float
    index: int


def forms_of(layer: nn.Module) -> tuple[LayerParts, ...]:
    """What a decoder layer may be, the likeliest first; the trial tells which of these is right.

    Raises:
        NotFusable: It has other parts, or they are not what their names say.
    """
    children = {name: child for name, child in layer.named_children() if not isinstance(child, _IDLE)}
    attention = _attention(children)
    mlp: Any = children.pop("mlp", None)
    block = _loose(layer, children) if mlp is None else _gated(mlp) or _plain(mlp, dict(mlp.named_children()))
    if layer._parameters or attention._parameters:
        raise NotFusable("it has parameters of its own")
    if any(hasattr(each, "_hf_hook") for each in layer.modules()):
        raise NotFusable("it is spread over several devices")
    orders = _orders({name: norm_of(child) for name, child in children.items()})
    heads = dict(attention.named_children())
    inward = _take(heads, *_INWARD)
    o_proj = _take(heads, *_OUTWARD)[0]
    q_norm, k_norm = (norm_of(heads.pop(name)) if name in heads else None for name in ("q_norm", "k_norm"))
    _nothing_left(heads)
    rule = _rule(attention, inward, o_proj)
    for norm in (q_norm, k_norm):
        if norm is not None and (isinstance(norm, LayerNorm) or norm.weight.numel() != rule.heads.size):
            raise NotFusable("its norms of queries and keys are not those of single heads")
    multiplier = float(getattr(layer, "residual_multiplier", 1.0))
    return tuple(
        LayerParts(
            before_attention=order[0],
            after_attention=_of_sums(order[1]),
            before_mlp=order[2],
            after_mlp=_of_sums(order[3]),
            parallel=parallel,
            inward=inward,
            grouped=grouped,
            o_proj=o_proj,
            mlp=block or mlp,
            rule=replace(rule, paired=paired),
            q_norm=q_norm,  # type: ignore[arg-type]
            k_norm=k_norm,  # type: ignore[arg-type]
            rotates=rotates,
            multiplier=multiplier,
            index=int(attention.layer_idx),
        )
        for order, parallel in orders
        if not (parallel and multiplier != 1.0)
        for grouped in ((False, True) if len(inward) == 1 else (False,))
        for rotates, paired in _rotations(attention)
    )


def _rotations(attention: Any) -> tuple[tuple[bool, bool], ...]:
    """Whether it rotates, and whether neighbours."""
    if not getattr(attention, "use_rope", True):
        return ((False, False),)
    return ((True, False), (True, True), (False, False))


def _attention(children: dict[str, nn.Module]) -> Any:
    """The child that attends; it is taken out of the children."""
    name = next(
        (name for name, each in children.items() if isinstance(getattr(each, "layer_idx", None), int)), ""
    )
    if not name:
        raise NotFusable("it has no attention that tells its number")
    return children.pop(name)


def _of_sums(norm: Norm | None) -> RmsNorm | None:
    if isinstance(norm, LayerNorm):
        raise NotFusable("its blocks end with layer norms")
    return norm


def _orders(norms: dict[str, Norm]) -> list[tuple[tuple[Norm, Norm | None, Norm | None, Norm | None], bool]]:
    """Where norms of these names, in the layer's own order, may stand, and whether blocks are parallel."""
    each = tuple(norms.values())
    if len(each) == 1:
        return [((each[0], None, None, None), True)]
    if len(each) == 2:
        first, second = each
        return [
            ((first, None, second, None), False),
            ((first, None, second, None), True),
            ((second, None, first, None), False),
        ]
    order = _ORDERS.get(frozenset(norms))
    if order is None:
        raise NotFusable(f"its norms are {', '.join(sorted(norms)) or 'missing'}")
    before, after, before_mlp, after_mlp = (None if name is None else norms[name] for name in order)
    assert before is not None
    return [((before, after, before_mlp, after_mlp), False)]


def _loose(layer: nn.Module, children: dict[str, nn.Module]) -> PlainMlp:
    """A feed-forward block whose parts are the layer's own; they are taken out of the children."""
    own = {name: children.pop(name) for name in list(children) if isinstance(children[name], nn.Linear)}
    for name in _ACTIVATED_BY:
        if name in children:
            own[name] = children.pop(name)
    block = _plain(layer, own)
    if block is None:
        raise NotFusable("it has no feed-forward block that is known")
    return block


def _plain(owner: nn.Module, children: dict[str, nn.Module]) -> PlainMlp | None:
    """A feed-forward block of two projections; None where it is of another kind."""
    try:
        activation = _activation(owner, children, PLAIN_ACTIVATIONS)
        names = tuple(name for name, child in children.items() if isinstance(child, nn.Linear))
        if len(names) != 2:
            return None
        up_proj, down_proj = _take(children, names)
        _nothing_left(children)
    except NotFusable:
        return None
    return PlainMlp(up_proj=up_proj, down_proj=down_proj, activation=activation)


@torch.no_grad()
def norm_of(module: nn.Module) -> Norm:
    """The norm that a module computes, seen by trying it.

    Raises:
        NotFusable: It computes something else.
    """
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, torch.Tensor) or weight.dim() != 1 or not isinstance(epsilon, float):
        raise NotFusable(f"{type(module).__name__} is no norm that is known")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, len(weight), generator=generator).to(weight) + 0.5
    expected = module(x)
    bias = getattr(module, "bias", None)
    known: list[Norm] = [LayerNorm(weight=weight, epsilon=epsilon, bias=bias)]
    if bias is None:
        known += [RmsNorm(weight=weight, epsilon=epsilon, one_plus=one_plus) for one_plus in (False, True)]
    for norm in known:
        result = reference_rms_norm(x, norm) if isinstance(norm, RmsNorm) else apply_norm(x, norm)
        error = (result - expected).float().norm() / expected.float().norm()
        if expected.shape == x.shape and float(error) <= 2 * torch.finfo(x.dtype).eps:
            return norm
    raise NotFusable(f"{type(module).__name__} is no norm that is known")


def _gated(mlp: nn.Module) -> GatedMlp | None:
    """A feed-forward block taken apart; None where it is of another kind."""
    children = dict(mlp.named_children())
    try:
        gate_up = _take(children, _TWO, _ONE)
        down_proj = _take(children, ("down_proj",))[0]
        activation = _activation(mlp, children)
        _nothing_left(children)
    except NotFusable:
        return None
    return None if mlp._parameters else GatedMlp(gate_up=gate_up, down_proj=down_proj, activation=activation)


def _take(children: dict[str, nn.Module], *choices: tuple[str, ...]) -> tuple[nn.Module, ...]:
    """The first choice of linear layers that is there; they are taken out of the children."""
    for names in choices:
        if all(name in children for name in names):
            taken = tuple(children.pop(name) for name in names)
            if all(isinstance(each, nn.Linear) for each in taken):
                return taken
            raise NotFusable(f"{' and '.join(names)} are no linear layers")
    raise NotFusable(f"it has no {' and '.join(choices[0])}")


def _nothing_left(children: dict[str, nn.Module]) -> None:
    unknown = [name for name, child in children.items() if not isinstance(child, _IDLE)]
    if unknown:
        raise NotFusable(f"it has a part that is not known: {', '.join(unknown)}")


def _rule(attention: Any, inward: tuple[nn.Module, ...], o_proj: Any) -> AttentionRule:
    size = getattr(attention, "head_dim", getattr(attention, "head_size", None))
    scale = getattr(attention, "scaling", None)
    if not isinstance(size, int):
        raise NotFusable("its attention tells no head size")
    scale = scale if isinstance(scale, float) else size**-0.5
    queries = int(o_proj.in_features) // size
    columns: Any = [each.out_features for each in inward]
    keys = columns[1] // size if len(columns) == 3 else (columns[0] // size - queries) // 2
    if sum(columns) != (queries + 2 * keys) * size or queries % max(1, keys):
        raise NotFusable("its heads do not fit its projections")
    if getattr(attention, "is_causal", True) is not True:
        raise NotFusable("its attention is not causal")
    heads = Heads(queries=queries, keys=keys, size=size)
    cap = getattr(attention, "attn_logit_softcapping", None)
    return AttentionRule(
        heads=heads, scale=scale, window=_window(attention), softcap=None if cap is None else float(cap)
    )


def _window(attention: Any) -> int | None:
    """Keys that a query of this layer sees; None: all before it."""
    config = getattr(attention, "config", None)
    if config is None or hasattr(
        config, "attention_layers"
    ):  # GPT-Neo's windows, which a trial of few tokens would not show
        raise NotFusable("it attends by a rule that is not known")
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        sliding = kinds[attention.layer_idx] == "sliding_attention"
        if not sliding and kinds[attention.layer_idx] != "full_attention":
            raise NotFusable(f"it attends by the rule {kinds[attention.layer_idx]}")
    else:
        sliding = bool(getattr(config, "use_sliding_window", True))
    window = getattr(config, "sliding_window", None)
    return int(window) if sliding and window is not None else None


def _activation(
    mlp: nn.Module,
    children: dict[str, nn.Module],
    functions: dict[str, Callable[[torch.Tensor], torch.Tensor]] = ACTIVATIONS,
) -> str:
    """The name of what the gate goes through; its module is taken out of the children."""
    name = next((each for each in _ACTIVATED_BY if hasattr(mlp, each)), None)
    if name is None:
        raise NotFusable("it tells no activation")
    children.pop(name, None)
    apply: Any = getattr(mlp, name)
    x = torch.linspace(-6, 6, 97)
    for known, function in functions.items():
        if torch.allclose(apply(x), function(x), atol=1e-6):
            return known
    raise NotFusable(f"its activation {type(apply).__name__} is not known")
