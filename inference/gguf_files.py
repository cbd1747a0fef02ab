"""GGUF files: a header reader that does not touch the weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.checkpoints import TensorHeader
from inference.errors import ModelUnsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a GGUF file says of itself."""

    name: str
    metadata: dict[str, Any]
    tensors: tuple[TensorHeader, ...]


def read_header(path: Path) -> GgufHeader:
    """Read the header."""
    raise ModelUnsupported("GGUF files can't be read yet.")


def as_config(header: GgufHeader) -> dict[str, Any]:
    """The header in config.json's words."""
    return {}
