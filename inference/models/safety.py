"""What is refused before anything of a model folder is loaded: code of its own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from inference.errors import ModelUnsafe
from inference.models.checkpoints import read_json


def needed_code(config: dict[str, Any]) -> str:
    """The class that a model needs from its own Python files; "" if transformers has its architecture.

    Many folders still carry the code of the time before their family came into transformers; it is ignored.
    """
    return "" if is_known_architecture(str(config.get("model_type"))) else offered_code(config)


def offered_code(config: dict[str, Any]) -> str:
    """The class that ``auto_map`` names in the model's own Python files; "" where there is none."""
    auto_map = config.get("auto_map")
    if isinstance(auto_map, dict):
        for name in ("AutoModelForCausalLM", "AutoModel", "AutoConfig"):
            if reference := auto_map.get(name):
                return str(reference)
    return ""


def is_known_architecture(model_type: str) -> bool:
    """Whether transformers has a config for this model type.

    Its tables are read as text, since importing them imports torch.
    """
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        return False
    folder = Path(spec.origin).parent / "models" / "auto"
    for name in ("auto_mappings.py", "configuration_auto.py"):
        try:
            text = (folder / name).read_text("utf-8")
        except OSError:  # other versions keep all of it in the second file
            continue
        if f'("{model_type}", "' in text or f'"{model_type}": "' in text:
            return True
    return False


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
