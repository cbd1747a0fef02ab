"""Fused decode steps for the decoder layers of a transformers model that allow it.

    report = install(loaded.model)   # tries every layer; those that pass compute their steps fused
    report.fused, report.refused     # numbers of layers; number -> why not
    report.uninstall()

Layers are found by their structure (:mod:`inference.kernels.layer_parts`) and each is tried against
transformers' own forward before it is replaced (:mod:`inference.kernels.trying`);
one that differs is left alone.

One captured step of a Llama-3-8B shape in NF4 (H200, torch 2.11, transformers 5.17, bitsandbytes 0.50.2;
milliseconds, without the draw of the next token):

==================  =====  ====  =====
tokens of context     512  8192  32768
==================  =====  ====  =====
transformers' own    7.36  17.5   49.6
fused                2.30  2.59   3.36
==================  =====  ====  =====

With later products of the linear layers a step behind 128 tokens went from 2.26 to 2.09 ms.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from inference.errors import NotAvailable
from inference.kernels.attention import AttentionRule, DecodeAttention
from inference.kernels.compiler import KernelError, KernelUnavailable, available
from inference.kernels.fused_layer import FusedLayer, Handover, assemble
from inference.kernels.layer_parts import LayerParts, NotFusable, forms_of, norm_of
from inference.kernels.linears import Int8
from inference.kernels.norms import HALVES, Norm
from inference.kernels.rotary import Tables
from inference.kernels.trying import KEYS_DIFFER, UNUSUAL, try_layers
from inference.passes.attention_masks import decoder_layers

#: What a model or a kernel may fail with; a lack of memory is for the caller.
_TRIAL_ERRORS = (KernelError, KernelUnavailable, RuntimeError, TypeError, ValueError)


@dataclass(slots=True)
class FusedLayers:
    """What was replaced in a model, and how to put it back.

    Attributes:
        fused: Numbers of the layers that compute their steps fused.
        refused: Numbers of the others, and why.
        reason: Why no layer was looked at; may be empty.
    """

    fused: tuple[int, ...] = ()
    refused: dict[int, str] = field(default_factory=dict)
    reason: str = ""
    _replaced: list[nn.Module] = field(default_factory=list)

    def uninstall(self) -> None:
        """Give every module its own forward back."""
        for module in self._replaced:
            del module.forward
        self._replaced.clear()
        self.fused = ()

    def summary(self) -> str:
        """One sentence for a log or a benchmark."""
        if self.reason:
            return f"No layer is fused: {self.reason}"
        total = len(self.fused) + len(self.refused)
        reasons = "; ".join(dict.fromkeys(self.refused.values()))
        return f"{len(self.fused)} of {total} layers are fused" + (f": {reasons}" if reasons else "")

    def _replace(self, module: nn.Module, forward: Callable[..., Any]) -> None:
        module.forward = forward
        self._replaced.append(module)


@dataclass(slots=True, kw_only=True)
class FusedNorm:
    """The norm behind the last layer, which that layer has already computed."""

    owner: weakref.ref[nn.Module]
    incoming: Handover

    def forward(self, hidden_states: Tensor) -> Tensor:
        """In place of the norm's own forward."""
        normed = self.incoming.take(hidden_states)
        if normed is not None:
            return normed.reshape(hidden_states.shape)
        norm = self.owner()
        assert norm is not None, "the norm is gone"
        result: Tensor = type(norm).forward(norm, hidden_states)
        return result


def install(
    model: Any, *, products: bool = True, int8: Int8 = "weight-only", anywhere: bool = False
) -> FusedLayers:
    """Replace the decode step of every decoder layer that allows it.

    Args:
        model: A causal language model of transformers, in eval mode.
        products: Whether linear layers become products of the kernels where they can.
        int8: What an int8 layer computes; see :mod:`inference.kernels.linears`.
        anywhere: Also where there are no kernels; their plain torch twins run then.
    """
    try:
        stack = decoder_layers(model)
    except NotAvailable as error:
        return FusedLayers(reason=str(error))
    if not anywhere and (reason := _unfit(model)):
        return FusedLayers(reason=reason)
    report = FusedLayers()
    attentions: dict[AttentionRule, DecodeAttention] = {}
    candidates: dict[int, FusedLayer] = {}
    others: dict[int, list[FusedLayer]] = {}
    tables = Tables()
    for number, layer in enumerate(stack):
        try:
            if "forward" in vars(layer):
                raise NotFusable("something else has replaced its forward")
            make = functools.partial(
                assemble, layer, attentions=attentions, products=products, int8=int8, tables=tables
            )
            candidates[number], *others[number] = map(make, forms_of(layer))
        except (NotFusable, KernelUnavailable) as error:
            report.refused[number] = str(error)
    try:
        if candidates:
            report.refused |= _failed(model, candidates, others)
    except torch.OutOfMemoryError:
        raise
    except _TRIAL_ERRORS as error:
        if products:  # perhaps only a product does not work here
            return install(model, products=False, int8=int8, anywhere=anywhere)
        report.refused |= dict.fromkeys(candidates, f"the trial failed: {error}")
    passed = {number: layer for number, layer in candidates.items() if number not in report.refused}
    report.fused = tuple(passed)
    for each in passed.values():
        report._replace(each.layer, each.forward)
    _link(passed)
    last = passed.get(len(stack) - 1)
    if last is not None:
        _link_end(model, stack, last, report)
    return report


def _unfit(model: Any) -> str:
    """Why there are no kernels for a model; empty if there are."""
    weight = model.get_input_embeddings().weight
    if weight.dtype not in HALVES:
        return f"it computes in {str(weight.dtype).removeprefix('torch.')}."
    return available(weight.device)


def _failed(
    model: Any, candidates: dict[int, FusedLayer], others: dict[int, list[FusedLayer]]
) -> dict[int, str]:
    """Why layers did not pass, by their number in the stack; candidates are changed to the form that did.

    Raises:
        KernelError: A kernel does not compile or run.
        RuntimeError: The model does not run a step at all.
    """
    failed = _tried(model, candidates)
    tried, reasons = {number: candidates[number] for number in failed}, dict(failed)
    while tried:
        again: dict[int, FusedLayer] = {}
        for number, last in tried.items():
            differ = reasons[number].startswith((KEYS_DIFFER, UNUSUAL))
            others[number] = [
                form for form in others[number] if differ or _same_heads(form.parts, last.parts)
            ]
            if others[number]:
                again[number] = others[number].pop(0)
        if not again:
            break
        reasons = _tried(model, again)
        for number in again.keys() - reasons.keys():
            candidates[number] = again[number]
            del failed[number]
        tried = {number: again[number] for number in reasons}
    return failed


def _same_heads(form: LayerParts, other: LayerParts) -> bool:
    """Whether two forms of a layer give the same keys."""
    return (form.grouped, form.rotates, form.rule.paired, id(form.before_attention.weight)) == (
        other.grouped,
        other.rotates,
        other.rule.paired,
        id(other.before_attention.weight),
    )


def _tried(model: Any, layers: dict[int, FusedLayer]) -> dict[int, str]:
    failed = try_layers(model, list(layers.values()))
    return {
        number: failed[layer.parts.index] for number, layer in layers.items() if layer.parts.index in failed
    }


def _link(layers: dict[int, FusedLayer]) -> None:
    """Let each layer end with the norm of the next, where both are fused."""
    for (number, layer), (after, following) in itertools.pairwise(sorted(layers.items())):
        if after == number + 1:
            layer.following = following.parts.before_attention
            layer.outgoing = following.incoming


def _link_end(model: nn.Module, stack: nn.ModuleList, last: FusedLayer, report: FusedLayers) -> None:
    """Let the last layer end with the norm behind the stack, if there is one."""
    owner = next(module for module in model.modules() if any(child is stack for child in module.children()))
    found: list[tuple[nn.Module, Norm]] = []
    for child in owner.children():
        with contextlib.suppress(NotFusable):
            if "forward" not in vars(child):
                found.append((child, norm_of(child)))
    if not found:
        return
    norm, last.following = found[-1]
    report._replace(norm, FusedNorm(owner=weakref.ref(norm), incoming=last.outgoing).forward)
