"""What an adapter does to one layer, added to what the layer itself computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from inference.adapters.files import AdapterFiles
from inference.errors import ModelUnsupported
from inference.models.checkpoints import TensorHeader


class Change(Protocol):
    """One layer's part of an adapter."""

    def apply(self, layer: nn.Module, given: Tensor, output: Tensor, scale: float) -> Tensor:
        """The layer's output with the change; ``given`` is what the layer has read."""

    def tensors(self) -> Sequence[Tensor]:
        """What it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """LoRA (Hu et al., 2021, arXiv:2106.09685): ``output + scaling * B A x``.

    ``down`` is A (rank, inputs), ``up`` is B (outputs, rank).
    """

    down: Tensor
    up: Tensor
    bias: Tensor | None
    scaling: float

    def apply(self, layer: nn.Module, given: Tensor, output: Tensor, scale: float) -> Tensor:
        inner = linear(given.to(device=output.device, dtype=self.down.dtype), self.down)
        return output + (linear(inner, self.up, self.bias) * (self.scaling * scale)).to(output.dtype)

    def tensors(self) -> Sequence[Tensor]:
        return [self.down, self.up] if self.bias is None else [self.down, self.up, self.bias]


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRankEmbedding:
    """The same for a table of embeddings: ``down`` (rank, vocabulary), ``up`` (width, rank)."""

    down: Tensor
    up: Tensor
    scaling: float

    def apply(self, layer: nn.Module, given: Tensor, output: Tensor, scale: float) -> Tensor:
        factor: Any = getattr(layer, "embed_scale", 1.0)  # what the layer multiplies its own rows with
        rows = embedding(given.to(output.device), self.down.T) @ self.up.T
        added: Tensor = rows * (self.scaling * scale) * factor
        return output + added.to(output.dtype)

    def tensors(self) -> Sequence[Tensor]:
        return [self.down, self.up]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A layer that was trained as a whole: its own weights in place of the base model's, at any scale."""

    weight: Tensor
    bias: Tensor | None

    def apply(self, layer: nn.Module, given: Tensor, output: Tensor, scale: float) -> Tensor:
        if isinstance(layer, nn.Embedding):
            factor: Any = getattr(layer, "embed_scale", 1.0)
            rows: Tensor = embedding(given.to(output.device), self.weight) * factor
            return rows.to(output.dtype)
        given = given.to(device=output.device, dtype=self.weight.dtype)
        return linear(given, self.weight, self.bias).to(output.dtype)

    def tensors(self) -> Sequence[Tensor]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]


def changes_of(files: AdapterFiles, model: nn.Module, dtype: torch.dtype) -> dict[str, tuple[Change, ...]]:
    """Read an adapter's tensors and lay each beside the layer that it changes.

    Raises:
        ModelUnsupported: The model has no such layer, or one of another size.
    """
    layers = {module: _layer(model, module) for module in (*files.layers, *files.whole)}
    if missing := [module for module, layer in layers.items() if layer is None]:
        raise ModelUnsupported(
            f"{len(missing)} of the {len(layers)} layers that the adapter changes are not in this model: "
            f"{missing[0]}{', …' if len(missing) > 1 else ''}.",
            hint=_load_base(files),
        )
    for module, parts in (*files.layers.items(), *files.whole.items()):
        _check_sizes(files, module, layers[module], {part: header.shape for part, header in parts.items()})
    held = dict(files.tensors())  # mapped from the file, which may change: copied below

    def values(module: str, parts: dict[str, TensorHeader]) -> dict[str, Tensor]:
        place = _device(layers[module])
        return {part: held[header.name].to(place, dtype, copy=True) for part, header in parts.items()}

    found: dict[str, tuple[Change, ...]] = {}
    for module, parts in files.whole.items():
        read = values(module, parts)
        replaced = Replacement(weight=read["weight"], bias=read.get("bias"))
        if not _is_own(layers[module], replaced):
            found[module] = (replaced,)
    for module, parts in files.layers.items():
        found[module] = (*found.get(module, ()), _low_rank(files, module, values(module, parts)))
    return found


def _is_own(layer: Any, replaced: Replacement) -> bool:
    """Whether a layer already has these weights: peft saves embeddings whether they have changed or not."""
    weight: Tensor = layer.weight
    same = weight.dtype == replaced.weight.dtype and weight.shape == replaced.weight.shape
    return same and replaced.bias is None and torch.equal(weight, replaced.weight)


def _low_rank(files: AdapterFiles, module: str, values: dict[str, Tensor]) -> Change:
    if "lora_A" in values:
        return LowRank(
            down=values["lora_A"],
            up=values["lora_B"],
            bias=values.get("lora_B.bias"),
            scaling=files.scaling(module, len(values["lora_A"])),
        )
    down, up = values["lora_embedding_A"], values["lora_embedding_B"]
    return LowRankEmbedding(down=down, up=up, scaling=files.scaling(module, len(down)))


def _layer(model: nn.Module, module: str) -> nn.Module | None:
    try:
        return model.get_submodule(module)
    except AttributeError:
        return None


def _device(layer: Any) -> torch.device:
    device: torch.device = layer.weight.device
    return device


def _check_sizes(files: AdapterFiles, module: str, layer: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse matrices that do not fit the layer.

    Raises:
        ModelUnsupported: They don't, or the layer is of a kind that takes none.
    """
    size = _size(layer)
    takes = "lora_embedding_A" if isinstance(layer, nn.Embedding) else "lora_A"
    if size is None or not shapes.keys() & {takes, "weight"}:
        raise ModelUnsupported(
            f"The adapter changes {module}, a {type(layer).__name__}, in a way that is not known here."
        )
    if "lora_A" in shapes:
        wanted = (shapes["lora_B"][0], shapes["lora_A"][1])
    elif "lora_embedding_A" in shapes:
        wanted = (shapes["lora_embedding_A"][1], shapes["lora_embedding_B"][0])
    else:
        wanted = (shapes["weight"][0], shapes["weight"][1]) if len(shapes["weight"]) == 2 else (0, 0)
    if wanted != size:
        words = f"{wanted[0]:,} × {wanted[1]:,}", f"{size[0]:,} × {size[1]:,}"
        raise ModelUnsupported(
            f"The adapter was made for another model: its {module} is {words[0]}, here it is {words[1]}.",
            hint=_load_base(files),
        )


def _size(layer: Any) -> tuple[int, int] | None:
    """(outputs, inputs) of a linear layer, (vocabulary, width) of embeddings; None for all else."""
    if isinstance(layer, nn.Embedding):
        return layer.num_embeddings, layer.embedding_dim
    if isinstance(layer, nn.Linear):  # bitsandbytes' are, too
        return layer.out_features, layer.in_features
    if type(layer).__name__ == "Conv1D":  # of GPT-2: a linear layer whose matrix lies the other way round
        return layer.nf, layer.nx
    return None


def _load_base(files: AdapterFiles) -> str:
    return f"Load its base model first: {files.base}." if files.base else "Load the model it was trained on."
