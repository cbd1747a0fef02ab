"""What is refused before anything of a model folder is loaded: code of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inference.checkpoints import read_json
from inference.errors import ModelUnsafe


def custom_code(config: dict[str, Any]) -> str:
    """The class that ``auto_map`` would fetch from the model's own Python files; "" where there is none."""
    auto_map = config.get("auto_map")
    if not isinstance(auto_map, dict):
        return ""
    for name in ("AutoModelForCausalLM", "AutoModel", "AutoConfig"):
        if reference := auto_map.get(name):
            return str(reference)
    return ""


def tokenizer_code(folder: Path) -> str:
    """The tokenizer class that would come from the model's own Python files; "" where there is none."""
    file = folder / "tokenizer_config.json"
    auto_map = read_json(file).get("auto_map") if file.is_file() else None
    reference = auto_map.get("AutoTokenizer") if isinstance(auto_map, dict) else auto_map
    parts = reference if isinstance(reference, (list, tuple)) else [reference]
    return next((str(part) for part in parts if part), "")


def refuse_custom_code(reference: str, *, part: str) -> ModelUnsafe:
    """The error that explains why a model with its own code is not loaded.

    Args:
        reference: The class that the model asks for, as "module.Class".
        part: "model" or "tokenizer".
    """
    return ModelUnsafe(
        f"The {part} needs code that comes with it ({reference.rpartition('--')[2]}), and code from a model "
        "folder is never run: it could do anything that you can do on this computer.",
        hint="Look for a version of this model that transformers supports by itself.",
    )
