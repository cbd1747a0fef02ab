"""An adapter's folder as peft writes it: what it says of itself, and the tensors in it. Never the network.

Read without peft: its classes wrap a model's layers, and here a model stays as it is (see
:mod:`inference.adapters.attached`). What is not plain LoRA is refused with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import ModelDamaged, ModelNotFound, ModelUnsafe, ModelUnsupported
from inference.events import AdapterInfo
from inference.models.checkpoints import (
    TensorHeader,
    load_pickle,
    read_json,
    read_pickled_headers,
    read_tensor_headers,
)
from inference.models.model_files import cached_snapshot

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_KEY = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B)"
    r"(?:\.default)?(?P<bias>\.bias)?(?:\.weight)?"
)
#: A layer that was trained whole, or that peft saves beside its pair (embeddings, which may have grown).
_WHOLE = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+?)(?P<base>\.base_layer)?(?:\.modules_to_save\.default)?\."
    r"(?P<part>weight|bias)"
)

#: Settings of peft that ask for more than two matrices a layer; with what they are when they ask for nothing.
_ASKS_MORE: dict[str, tuple[object, str]] = {
    "use_dora": (False, "DoRA (it scales whole weights)"),
    "bias": ("none", "changed biases"),
    "target_parameters": (None, "changed parameters that are no layers, such as merged experts"),
    "trainable_token_indices": (None, "single changed tokens"),
    "layer_replication": (None, "repeated layers"),
    "alora_invocation_tokens": (None, "activated LoRA, which begins at a token"),
    "use_qalora": (False, "QALoRA"),
    "use_bdlora": (None, "block-diagonal LoRA"),
    "arrow_config": (None, "Arrow routing"),
    "velora_config": (None, "VeLoRA"),
    "monteclora_config": (None, "MonteCLoRA"),
    "kasa_config": (None, "KaSA"),
}
#: Ways to begin a training that take something out of the base model's own weights.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "milora")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFiles:
    """An adapter's files. ``layers`` are the low-rank pairs by the module that they change, ``whole`` the
    tensors of modules that are replaced; both name tensors of ``file``.
    """

    source: str
    name: str
    file: Path
    config: dict[str, Any]
    layers: dict[str, dict[str, TensorHeader]] = field(repr=False)
    whole: dict[str, dict[str, TensorHeader]] = field(repr=False)

    @property
    def base(self) -> str:
        """The model that it was trained on, in its own words."""
        return str(self.config.get("base_model_name_or_path") or "")

    @property
    def headers(self) -> list[TensorHeader]:
        """All tensors."""
        parts = (*self.layers.values(), *self.whole.values())
        return [header for each in parts for header in each.values()]

    def scaling(self, module: str, rank: int) -> float:
        """What the product of a module's two matrices is multiplied with."""
        alpha = float(_pattern(self.config, "alpha_pattern", module, self.config.get("lora_alpha", 8)))
        return alpha / (rank**0.5 if self.config.get("use_rslora") else rank)

    def info(self, size: int = 4) -> AdapterInfo:
        """What there is to show of it; ``size`` are the bytes of a number in memory."""
        ranks = [_rank(parts) for parts in self.layers.values()]
        numbers = sum(header.elements for header in self.headers)
        return AdapterInfo(
            source=self.source,
            name=self.name,
            base=self.base,
            rank=max(ranks, default=0),
            alpha=float(self.config.get("lora_alpha", 8)),
            modules=len(self.layers),
            targets=tuple(sorted({module.rpartition(".")[2] for module in self.layers})),
            parameters=numbers,
            memory=numbers * size,
            replaced=tuple(sorted(self.whole)),
        )

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Name and value of each tensor, on the CPU, one at a time where the format allows it."""
        if self.file.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(str(self.file), framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a dict
                    yield name, opened.get_tensor(name)
        else:
            yield from load_pickle(self.file).items()


def open_adapter(source: str) -> AdapterFiles:
    """Read what an adapter says of itself, and the headers of its tensors.

    Args:
        source: Its folder, or the hub id of one in the Hugging Face cache.

    Raises:
        ModelNotFound: There is none.
        ModelDamaged: A file is missing, cut off, or contradicts itself.
        ModelUnsupported: It is another kind of adapter than LoRA, or does more.
        ModelUnsafe: Its weights are a pickle that holds more than tensors.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = cached_snapshot(source) or folder
    if not folder.is_dir():
        raise ModelNotFound(f"There is no folder {source}.", hint="Check the path to the adapter.")
    if not (folder / CONFIG).is_file():
        raise ModelNotFound(
            f"There is no {CONFIG} in this folder.",
            hint="Choose the folder of an adapter that peft has saved.",
        )
    config = read_json(folder / CONFIG)
    _check(config)
    file = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        pickles = sorted(folder.glob("*.pt")) + sorted(folder.glob("*.pkl"))
        if pickles:
            raise ModelUnsafe(f"The only weights here are in {pickles[0].name}, a pickle that may run code.")
        raise ModelDamaged(
            f"The adapter's weights are missing: there is no {_WEIGHTS[0]} in its folder.",
            hint="Copy the whole folder that was saved after the training.",
        )
    headers = read_tensor_headers(file) if file.suffix == ".safetensors" else read_pickled_headers(file)
    layers, whole = _sorted(headers, config)
    name = source if not Path(source).expanduser().is_dir() else folder.resolve().name
    return AdapterFiles(source=source, name=name, file=file, config=config, layers=layers, whole=whole)


def _check(config: dict[str, Any]) -> None:
    """Refuse what is not plain LoRA."""
    kind = str(config.get("peft_type") or "")
    if kind != "LORA":
        raise ModelUnsupported(
            f"This is an adapter of kind {kind or '(not told)'}; only LoRA can be put on a model.",
            hint="Merge it into its base model, and open the merged model.",
        )
    asked = [
        words for name, (nothing, words) in _ASKS_MORE.items() if config.get(name) not in (nothing, None)
    ]
    if asked:
        raise ModelUnsupported(
            f"This adapter does more than LoRA: {', '.join(asked)}.",
            hint="Merge it into its base model, and open the merged model.",
        )
    begun = str(config.get("init_lora_weights")).lower()
    if begun.startswith(_CHANGES_BASE):
        raise ModelUnsupported(
            f"This adapter was trained on a changed copy of its base model ({begun}), which is not the model "
            "of that name.",
            hint="Convert it to plain LoRA with peft (path_initial_model_for_weight_conversion).",
        )


def _sorted(
    headers: tuple[TensorHeader, ...], config: dict[str, Any]
) -> tuple[dict[str, dict[str, TensorHeader]], dict[str, dict[str, TensorHeader]]]:
    """Which tensor is what of which module."""
    layers: dict[str, dict[str, TensorHeader]] = {}
    whole: dict[str, dict[str, TensorHeader]] = {}
    for header in headers:
        if "lora_magnitude_vector" in header.name:
            raise ModelUnsupported("This adapter does more than LoRA: DoRA (it scales whole weights).")
        if found := _KEY.fullmatch(header.name):
            part = found["part"] + (found["bias"] or "")
            layers.setdefault(found["module"], {})[part] = header
        elif (found := _WHOLE.fullmatch(header.name)) and (found["base"] or config.get("modules_to_save")):
            whole.setdefault(found["module"], {})[found["part"]] = header
        else:
            raise ModelUnsupported(f"The adapter holds {header.name}, which is no part of a LoRA.")
    for module, parts in layers.items():
        if not (
            {"lora_A", "lora_B"} <= parts.keys() or {"lora_embedding_A", "lora_embedding_B"} <= parts.keys()
        ):
            raise ModelDamaged(f"The adapter holds only one of the two matrices for {module}.")
        kind = "lora_A" if "lora_A" in parts else "lora_embedding_A"
        down, up = parts[kind].shape, parts[kind.replace("_A", "_B")].shape
        if len(down) != 2 or len(up) != 2 or down[0] != up[1]:
            raise ModelUnsupported(f"The two matrices for {module} do not fit each other: {down} and {up}.")
    if not layers and not whole:
        raise ModelDamaged("The adapter holds no weights.")
    return layers, whole


def _rank(parts: dict[str, TensorHeader]) -> int:
    return (parts.get("lora_A") or parts["lora_embedding_A"]).shape[0]


def _pattern(config: dict[str, Any], name: str, module: str, default: Any) -> Any:
    """The value that a pattern sets for a module; as peft matches them, the end of its name."""
    for pattern, value in (config.get(name) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default
