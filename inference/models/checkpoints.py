"""A model folder's weight files and the tensors that they hold, read from their headers alone."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import struct
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.errors import ModelDamaged, ModelNotFound, ModelUnsafe, ModelUnsupported, UnreadableFile

if TYPE_CHECKING:
    import torch

#: torch's name and the bits of one element, by safetensors' name of the dtype.
DTYPES = {
    "F64": ("float64", 64), "F32": ("float32", 32), "F16": ("float16", 16), "BF16": ("bfloat16", 16),
    "I64": ("int64", 64), "I32": ("int32", 32), "I16": ("int16", 16), "I8": ("int8", 8), "BOOL": ("bool", 8),
    "U64": ("uint64", 64), "U32": ("uint32", 32), "U16": ("uint16", 16), "U8": ("uint8", 8),
    "C64": ("complex64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8), "F8_E5M2": ("float8_e5m2", 8), "F8_E8M0": ("float8_e8m0fnu", 8),
    "F6_E2M3": ("float6_e2m3", 6), "F6_E3M2": ("float6_e3m2", 6), "F4": ("float4_e2m1fn_x2", 4),
}  # fmt: skip

_SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
_MAX_HEADER = 100_000_000  # safetensors' own limit
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """One stored tensor. ``dtype`` is torch's name, or ggml's for its blocks; ``nbytes`` as stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The weight files of a folder. ``format`` is "safetensors" or "pytorch"; all files exist."""

    format: str
    files: tuple[Path, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files)


def find_checkpoint(folder: Path) -> Checkpoint:
    """Choose a folder's weight files: safetensors first, pickled ones only where there is nothing else.

    Raises:
        ModelNotFound: There are no weights.
        ModelDamaged: The index names a shard that is not there.
        ModelUnsafe: There are only files that need an unrestricted unpickler.
        ModelUnsupported: It is an adapter without its base model.
    """
    for name, kind in (("model.safetensors", "safetensors"), ("pytorch_model.bin", "pytorch")):
        if (folder / name).is_file():
            return Checkpoint(format=kind, files=(folder / name,))
        if (folder / f"{name}.index.json").is_file():
            return Checkpoint(format=kind, files=_shards(folder, f"{name}.index.json"))
        if os.path.lexists(folder / name):  # a link of the cache whose file is gone
            raise ModelDamaged(f"The file {name} of this model is missing.")
    raise _no_weights(folder)


def _shards(folder: Path, index_name: str) -> tuple[Path, ...]:
    index = read_json(folder / index_name)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelDamaged(f"{index_name} does not say which file holds which weights.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or "\\" in name:
            raise ModelUnsafe(f"{index_name} points outside of the model's folder ({name}).")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelDamaged(
            f"{len(missing)} of the model's {len(names)} weight files are missing: {', '.join(missing[:3])}.",
            hint="Download or copy the missing files into the model's folder.",
        )
    return tuple(folder / name for name in names)


def _no_weights(folder: Path) -> Exception:
    names = sorted(path.name for path in folder.iterdir())
    if "adapter_config.json" in names:
        return ModelUnsupported(
            "This folder holds an adapter (LoRA), not a whole model.",
            hint="Load its base model, then put the adapter on it (Steer tab, or drop the folder there).",
        )
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        return ModelUnsafe(
            f"The only weights here are in {pickles[0]}, a pickle that may run code when it is opened."
        )
    if not names:
        return ModelNotFound(
            "The folder is empty.", hint="Choose the folder that holds config.json and the weights."
        )
    if any(_SHARD.search(name) for name in names):
        return ModelDamaged(
            "The index that says which file holds which weights is missing (model.safetensors.index.json).",
            hint="Download or copy the missing file into the model's folder.",
        )
    return ModelNotFound(
        "There are no model weights in this folder.",
        hint="Choose the folder that holds config.json and the weights.",
    )


def read_tensor_headers(file: Path) -> tuple[TensorHeader, ...]:
    """List the tensors of a safetensors file without reading them, and check that the file is whole.

    Raises:
        ModelDamaged: The header can't be read, or the file is shorter than the header says.
    """
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            prefix = stream.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
            if not 0 <= length <= min(_MAX_HEADER, size - 8):
                raise ModelDamaged(f"{file.name} is truncated or not a safetensors file.")
            header = json.loads(stream.read(length))
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"The header of {file.name} can't be read.", details=str(error)) from None
    except OSError as error:
        raise UnreadableFile(f"{file.name} can't be read: {error.strerror}.") from None
    tensors, end = _parse_header(file, header)
    if size < 8 + length + end:
        raise ModelDamaged(f"{file.name} is truncated: {size:,} bytes of {8 + length + end:,} are there.")
    return tensors


def _parse_header(file: Path, header: Any) -> tuple[tuple[TensorHeader, ...], int]:
    tensors, end = [], 0
    try:
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, stop = entry["data_offsets"]
            dtype, bits = DTYPES[entry["dtype"]]
            shape = tuple(int(size) for size in entry["shape"])
            tensor = TensorHeader(name=name, dtype=dtype, shape=shape, nbytes=stop - begin)
            if tensor.nbytes * 8 != tensor.elements * bits:
                raise ModelDamaged(f"{file.name} contradicts itself about the size of {name}.")
            tensors.append(tensor)
            end = max(end, stop)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelDamaged(f"The header of {file.name} can't be read.", details=repr(error)) from None
    return tuple(tensors), end


def read_pickled_headers(file: Path) -> tuple[TensorHeader, ...]:
    """List the tensors of a pickled checkpoint, shared ones once, by torch's restricted unpickler.

    Raises:
        ModelDamaged: It can't be read.
        ModelUnsafe: It holds more than tensors.
    """
    headers: dict[int, TensorHeader] = {}
    for name, tensor in load_pickle(file).items():
        dtype, nbytes = str(tensor.dtype).removeprefix("torch."), tensor.numel() * tensor.element_size()
        header = TensorHeader(name=name, dtype=dtype, shape=tuple(tensor.shape), nbytes=nbytes)
        headers.setdefault(tensor.data_ptr() or id(header), header)
    return tuple(headers.values())


def load_pickle(file: Path) -> dict[str, torch.Tensor]:
    """Map a pickled checkpoint by torch's restricted unpickler, which builds tensors and calls nothing else.

    Raises:
        ModelDamaged: It can't be read.
        ModelUnsafe: It holds more than tensors. Nothing of it was run.
    """
    import torch

    try:
        mapped = zipfile.is_zipfile(file)  # older files can't be mapped and are read whole
        with warnings.catch_warnings(
            action="ignore"
        ):  # about the protocol of plain pickles, before the refusal
            state_dict = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if "Unsupported" not in str(error) and "Weights only load failed" not in str(error):
            raise ModelDamaged(
                f"{file.name} can't be read; it may be truncated.", details=str(error)
            ) from None
        raise ModelUnsafe(
            f"{file.name} holds more than weights; it was not opened, because it could run code.",
            details=str(error),
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise ModelDamaged(f"{file.name} can't be read; it may be truncated.", details=str(error)) from None
    if isinstance(state_dict, dict) and isinstance(state_dict.get("state_dict"), dict):
        state_dict = state_dict["state_dict"]
    if not isinstance(state_dict, dict) or not all(
        isinstance(value, torch.Tensor) for value in state_dict.values()
    ):
        raise ModelDamaged(f"{file.name} holds no weights.")
    return state_dict


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelDamaged: It is not JSON, or not an object.
        UnreadableFile: It can't be opened.
    """
    try:
        value = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"{file.name} is damaged: it is not valid JSON.", details=str(error)) from None
    except OSError as error:
        raise UnreadableFile(f"{file.name} can't be read: {error.strerror}.") from None
    if not isinstance(value, dict):
        raise ModelDamaged(f"{file.name} is damaged: it holds no JSON object.")
    return value
