"""GGUF files: a reader of their header that does not touch the weights.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import ModelDamaged, ModelUnsupported, UnreadableFile
from inference.models.checkpoints import TensorHeader

#: struct formats of the metadata's fixed-size value types.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

#: torch's names of the ggml types that are plain numbers.
_PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}

#: More entries than any model has; a damaged file may claim any number.
_MOST = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a GGUF file says of itself.

    ``metadata`` holds scalars, strings and arrays of numbers; of an array of strings (a vocabulary) only its
    length.
    """

    metadata: dict[str, Any]
    tensors: tuple[TensorHeader, ...]

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def name(self) -> str:
        """The model's name; may be empty."""
        return str(self.metadata.get("general.name", ""))

    def field(self, name: str) -> Any:
        """A field of the architecture's own section; None where it is not there."""
        return self.metadata.get(f"{self.architecture}.{name}")


class _Cursor:
    """Reads little-endian values one after the other; going past the end raises struct.error."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.position = 0

    def scalars(self, formats: str) -> tuple[Any, ...]:
        layout = struct.Struct("<" + formats)
        values = layout.unpack_from(self.data, self.position)
        self.position += layout.size
        return values

    def count(self) -> int:
        (value,) = self.scalars("Q")
        if value > _MOST:
            raise ValueError(f"{value} entries")
        return int(value)

    def string(self) -> str:
        length = self.count()
        if self.position + length > len(self.data):
            raise ValueError("a text goes past the end")
        raw = self.data[self.position : self.position + length]
        self.position += length
        return raw.decode("utf-8", errors="replace")

    def skip_strings(self, count: int) -> None:
        unpack, data, position = struct.Struct("<Q").unpack_from, self.data, self.position
        for _ in range(count):
            position += 8 + unpack(data, position)[0]
        self.position = position

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            (inner,) = self.scalars("I")
            length = self.count()
            if inner == _STRING:
                self.skip_strings(length)
                return length
            if inner == _ARRAY:
                return [self.value(inner) for _ in range(length)]
            return list(self.scalars(f"{length}{_SCALARS[inner]}"))
        return self.scalars(_SCALARS[kind])[0]


def read_header(path: Path) -> GgufHeader:
    """Read the metadata and the tensor table, and check that all tensors are within the file.

    Raises:
        ModelDamaged: The file is truncated, or not a GGUF file.
        ModelUnsupported: Its version or a tensor type is not known, or it is one part of several.
        UnreadableFile: It may not be read.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise ModelDamaged(f"{path.name} is not a GGUF file, although its name says so.")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(path, _Cursor(data))
    except OSError as error:
        raise UnreadableFile(f"{path.name} can't be read: {error.strerror or error}.") from None
    except (struct.error, ValueError, LookupError, ArithmeticError, MemoryError, RecursionError) as error:
        raise ModelDamaged(f"{path.name} is truncated or damaged.", details=repr(error)) from None


def _parse(path: Path, cursor: _Cursor) -> GgufHeader:
    cursor.position = 4
    (version,) = cursor.scalars("I")
    if version not in (2, 3):
        raise ModelUnsupported(
            f"{path.name} is a GGUF file of version {version}; versions 2 and 3 are known."
        )
    tensor_count, metadata_count = cursor.count(), cursor.count()
    metadata: dict[str, Any] = {}
    for _ in range(metadata_count):
        key = cursor.string()
        (kind,) = cursor.scalars("I")
        metadata[key] = cursor.value(kind)
    if int(metadata.get("split.count", 1)) > 1:
        raise ModelUnsupported(
            f"{path.name} is one of {metadata['split.count']} parts of a model.",
            hint="Join the parts first (llama-gguf-split --merge), then open the whole file.",
        )
    tensors, end = _tensor_table(path, cursor, tensor_count)
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-cursor.position // alignment) * alignment
    if start + end > len(cursor.data):
        raise ModelDamaged(
            f"{path.name} is truncated: {len(cursor.data):,} bytes of {start + end:,} are there."
        )
    return GgufHeader(metadata=metadata, tensors=tensors)


def _tensor_table(path: Path, cursor: _Cursor, count: int) -> tuple[tuple[TensorHeader, ...], int]:
    """The tensors, and the end of the last one, counted from the start of the data."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    tensors, end = [], 0
    for _ in range(count):
        name = cursor.string()
        (dimensions,) = cursor.scalars("I")
        shape = tuple(reversed(cursor.scalars(f"{dimensions}Q")))  # ggml counts from the fastest dimension
        kind, offset = cursor.scalars("IQ")
        try:
            type_name = GGMLQuantizationType(kind).name
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            raise ModelUnsupported(
                f"{path.name} holds weights of a kind (number {kind}) that is not known."
            ) from None
        tensor = TensorHeader(name=name, dtype=_PLAIN.get(type_name, type_name), shape=shape, nbytes=0)
        nbytes = tensor.elements // block * block_bytes
        tensors.append(TensorHeader(name=name, dtype=tensor.dtype, shape=shape, nbytes=nbytes))
        end = max(end, offset + nbytes)
    return tuple(tensors), end


def as_config(header: GgufHeader) -> dict[str, Any]:
    """The header in config.json's words, as far as a description and an estimate need it."""
    field = header.field
    heads = field("attention.head_count")
    kv_heads = field("attention.head_count_kv")
    vocabulary = field("vocab_size") or header.metadata.get("tokenizer.ggml.tokens")
    config = {
        "model_type": header.architecture,
        "architectures": [header.architecture],
        "num_hidden_layers": field("block_count"),
        "hidden_size": field("embedding_length"),
        "max_position_embeddings": field("context_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads if kv_heads is not None else heads,
        "head_dim": field("attention.key_length"),
        "vocab_size": vocabulary,
        "num_experts": field("expert_count"),
        "num_experts_per_tok": field("expert_used_count"),
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in header.tensors),
    }
    if isinstance(kv_heads, list):  # hybrids: layers without attention have no heads
        config["layer_types"] = ["full_attention" if count else "linear_attention" for count in kv_heads]
    return {name: value for name, value in config.items() if value is not None}
