"""What a decoder layer of transformers is made of, found by its structure and not by its family's name.

Names of parts say where to look; what a norm or an activation computes is found out by trying it on numbers.
What does not fit is refused with a reason: a part that is not known could do anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from inference.kernels.activations import ACTIVATIONS
from inference.kernels.attention import AttentionRule
from inference.kernels.norms import RmsNorm, reference_rms_norm
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
_SEPARATE, _PACKED = ("q_proj", "k_proj", "v_proj"), ("qkv_proj",)
_TWO, _ONE = ("gate_proj", "up_proj"), ("gate_up_proj",)
#: Parts without effect in a step: dropout is off.
_IDLE = (nn.Dropout, nn.Identity)


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
class LayerParts:
    """A decoder layer taken apart.

    Attributes:
        before_attention: The norm at its start.
        after_attention: The norm of what attention adds, if there is one.
        before_mlp: The norm before the feed-forward block.
        after_mlp: The norm of what the feed-forward block adds, if there is one.
        inward: The projections to queries, keys and values: three, or one that has all of them.
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

    before_attention: RmsNorm
    after_attention: RmsNorm | None
    before_mlp: RmsNorm
    after_mlp: RmsNorm | None
    inward: tuple[nn.Module, ...]
    o_proj: nn.Module
    mlp: GatedMlp | nn.Module
    rule: AttentionRule
    q_norm: RmsNorm | None
    k_norm: RmsNorm | None
    rotates: bool
    multiplier: float
    index: int


def take_apart(layer: nn.Module) -> LayerParts:
    """The parts of a decoder layer.

    Raises:
        NotFusable: It has other parts, or they are not what their names say.
    """
    children = dict(layer.named_children())
    attention, mlp = children.pop("self_attn", None), children.pop("mlp", None)
    if attention is None or mlp is None:
        raise NotFusable("it has no self_attn and mlp")
    children = {name: child for name, child in children.items() if not isinstance(child, _IDLE)}
    order = _ORDERS.get(frozenset(children))
    if order is None:
        raise NotFusable(f"its norms are {', '.join(sorted(children)) or 'missing'}")
    if layer._parameters or attention._parameters:
        raise NotFusable("it has parameters of its own")
    if any(hasattr(each, "_hf_hook") for each in layer.modules()):
        raise NotFusable("it is spread over several devices")
    norms = [None if name is None else norm_of(children[name]) for name in order]
    assert norms[0] is not None
    assert norms[2] is not None
    heads = dict(attention.named_children())
    inward = _take(heads, _SEPARATE, _PACKED)
    o_proj = _take(heads, ("o_proj",))[0]
    q_norm, k_norm = (norm_of(heads.pop(name)) if name in heads else None for name in ("q_norm", "k_norm"))
    _nothing_left(heads)
    rule = _rule(attention, inward, o_proj)
    for norm in (q_norm, k_norm):
        if norm is not None and norm.weight.numel() != rule.heads.size:
            raise NotFusable("its norms of queries and keys are not those of single heads")
    return LayerParts(
        before_attention=norms[0],
        after_attention=norms[1],
        before_mlp=norms[2],
        after_mlp=norms[3],
        inward=inward,
        o_proj=o_proj,
        mlp=_gated(mlp) or mlp,
        rule=rule,
        q_norm=q_norm,
        k_norm=k_norm,
        rotates=bool(getattr(attention, "use_rope", True)),
        multiplier=float(getattr(layer, "residual_multiplier", 1.0)),
        index=int(attention.layer_idx),  # type: ignore[arg-type]
    )


@torch.no_grad()
def norm_of(module: nn.Module) -> RmsNorm:
    """The RMS norm that a module computes, seen by trying it.

    Raises:
        NotFusable: It computes something else.
    """
    weight = getattr(module, "weight", None)
    epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, torch.Tensor) or weight.dim() != 1 or not isinstance(epsilon, float):
        raise NotFusable(f"{type(module).__name__} is no RMS norm")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, len(weight), generator=generator).to(weight)
    expected = module(x)
    for one_plus in (False, True):
        norm = RmsNorm(weight=weight, epsilon=epsilon, one_plus=one_plus)
        error = (reference_rms_norm(x, norm) - expected).float().norm() / expected.float().norm()
        if expected.shape == x.shape and float(error) <= 2 * torch.finfo(x.dtype).eps:
            return norm
    raise NotFusable(f"{type(module).__name__} is no RMS norm")


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
    size = getattr(attention, "head_dim", None)
    scale = getattr(attention, "scaling", None)
    if not isinstance(size, int) or not isinstance(scale, float):
        raise NotFusable("its attention tells no head size or scale")
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
    config = attention.config
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        sliding = kinds[attention.layer_idx] == "sliding_attention"
        if not sliding and kinds[attention.layer_idx] != "full_attention":
            raise NotFusable(f"it attends by the rule {kinds[attention.layer_idx]}")
    else:
        sliding = bool(getattr(config, "use_sliding_window", True))
    window = getattr(config, "sliding_window", None)
    return int(window) if sliding and window is not None else None


def _activation(mlp: nn.Module, children: dict[str, nn.Module]) -> str:
    """The name of what the gate goes through; its module is taken out of the children."""
    name = next((each for each in ("act_fn", "activation_fn") if hasattr(mlp, each)), None)
    if name is None:
        raise NotFusable("it tells no activation")
    children.pop(name, None)
    apply: Any = getattr(mlp, name)
    x = torch.linspace(-6, 6, 97)
    for known, function in ACTIVATIONS.items():
        if torch.allclose(apply(x), function(x), atol=1e-6):
            return known
    raise NotFusable(f"its activation {type(apply).__name__} is not known")
