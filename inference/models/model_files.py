"""A model's files on this computer: what a name stands for, and what the headers say. Never the network."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inference.errors import ModelDamaged, ModelNotFound, ModelUnsafe, ModelUnsupported, UnreadableFile
from inference.models import architecture, gguf_files
from inference.models.checkpoints import (
    Checkpoint,
    TensorHeader,
    find_checkpoint,
    read_json,
    read_pickled_headers,
    read_tensor_headers,
)
from resources import BUILTIN_MODEL

#: Names of output layers, in transformers' and in GGUF's words.
OUTPUT_LAYER = re.compile(r"(^|\.)(lm_head|embed_out|output)\.weight$")

_BUFFERS = re.compile(r"(inv_freq|masked_bias|rope_freqs\.weight|e_score_correction_bias)$")
_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*(/[\w.-]+)?)(?(2)(/(?P<file>[\w.-]+\.gguf))?)")

#: How a model was found: in the app, in the Hugging Face cache, or at a path.
BUILTIN = "builtin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model's files, all of which exist.

    ``config`` is config.json, or what a GGUF header (``gguf``) says in config.json's words. ``tensors`` are
    the stored tensors; those of pickled weights are known only after :func:`with_pickled_tensors`.
    """

    source: str
    name: str
    folder: Path
    checkpoint: Checkpoint
    config: dict[str, Any]
    tensors: tuple[TensorHeader, ...] = field(repr=False)
    gguf: gguf_files.GgufHeader | None = field(default=None, repr=False)

    @property
    def format(self) -> str:
        """ "safetensors", "pytorch" or "gguf"."""
        return self.checkpoint.format

    @property
    def text_config(self) -> architecture.Config:
        """The part of the config that describes the language model."""
        return architecture.text_config(self.config)

    def parameters(self) -> list[TensorHeader]:
        """The stored tensors that become parameters: no masks, no second copy of a tied embedding."""
        tied = self.config.get("tie_word_embeddings") is True
        return [
            tensor
            for tensor in self.tensors
            if not _BUFFERS.search(tensor.name)
            and not (len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1))  # causal masks of old checkpoints
            and not (tied and OUTPUT_LAYER.search(tensor.name))
        ]


def find_model(source: str) -> ModelFiles:
    """Find the files behind a name and check that they are whole, as far as their headers tell.

    Args:
        source: "builtin", a folder, a GGUF file, or the hub id of a model in the cache ("owner/name", or
            "owner/name/file.gguf" where there are several).

    Raises:
        ModelNotFound: There is nothing, or nothing that is a model.
        ModelDamaged: A file is missing, truncated, or not what its name says.
        ModelUnsafe: The weights are in a pickle that could run code.
        ModelUnsupported: It is an adapter, or of a format that is not known.
        UnreadableFile: A file may not be read.
    """
    try:
        return _find(source)
    except OSError as error:
        raise UnreadableFile(f"{source} can't be read: {error.strerror or error}.") from None


def _find(source: str) -> ModelFiles:
    if source == BUILTIN:
        return _open_folder(BUILTIN_MODEL, source=source, name="Built-in model")
    if not source.strip():
        raise ModelNotFound("No model was named.")
    path = _expanded(source)
    if path.is_dir():
        return _open_folder(path, source=source, name=path.resolve().name)
    if path.is_file():
        if path.suffix.lower() == ".gguf":
            return _open_gguf(path, source=source)
        raise ModelUnsupported(
            f"{path.name} is not a model file that can be opened by itself.",
            hint="Open a GGUF file, or the folder that holds config.json and the weights.",
        )
    if found := _HUB_ID.fullmatch(source):
        snapshot = cached_snapshot(found["repo"])
        if snapshot is not None and found["file"] is None:
            return _open_snapshot(snapshot, source)
        if snapshot is not None and (snapshot / found["file"]).is_file():
            return _open_gguf(snapshot / found["file"], source=source)
        raise ModelNotFound(
            f"{source} is neither a file here nor a model in the download cache.",
            hint="Check the name, or download the model from the hub first.",
        )
    raise ModelNotFound(f"{source} does not exist.")


def _expanded(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # "~someone" where there is no such user
        return Path(source)


@contextlib.contextmanager
def apart(files: ModelFiles) -> Iterator[ModelFiles]:
    """The same files; a GGUF file is linked into a folder of its own inside the ``with`` block.

    transformers would otherwise take tokenizers, adapters and settings of other models in the same folder.
    """
    if files.gguf is None:
        yield files
        return
    file = files.checkpoint.files[0]
    with tempfile.TemporaryDirectory(prefix="model-loupe-") as name:
        link = Path(name) / file.name
        try:
            link.symlink_to(file.resolve())
        except OSError:  # Windows allows links only to some users
            yield files
            return
        yield replace(files, folder=link.parent, checkpoint=replace(files.checkpoint, files=(link,)))


def with_pickled_tensors(files: ModelFiles) -> ModelFiles:
    """The same files with the tensors of pickled weights listed, which needs torch; others as they are.

    Raises:
        ModelDamaged: A file can't be read.
        ModelUnsafe: A file holds more than tensors.
    """
    if files.format != "pytorch" or files.tensors:
        return files
    tensors = tuple(tensor for file in files.checkpoint.files for tensor in read_pickled_headers(file))
    return replace(files, tensors=tensors)


def cached_snapshot(repo: str) -> Path | None:
    """The folder of a hub id in the local cache: the main branch's, else the newest; or None."""
    from huggingface_hub.constants import HF_HUB_CACHE

    root = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    try:
        commit = (root / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        commit = ""
    if commit and (root / "snapshots" / commit).is_dir():
        return root / "snapshots" / commit
    snapshots = [path for path in (root / "snapshots").glob("*") if path.is_dir()]
    return max(snapshots, key=lambda path: path.stat().st_mtime, default=None)


def _open_snapshot(folder: Path, repo: str) -> ModelFiles:
    """A model of the cache; what is missing there was not downloaded to its end."""
    try:
        return _open_folder(folder, source=repo, name=repo)
    except ModelNotFound as error:
        if any(folder.glob("*.gguf")):
            raise
        raise ModelDamaged(
            f"{repo} was not downloaded to its end.",
            hint="Download it again: it goes on where it stopped.",
            details=error.message,
        ) from None


def _open_folder(folder: Path, *, source: str, name: str) -> ModelFiles:
    try:
        checkpoint = find_checkpoint(folder)
    except (ModelNotFound, ModelUnsafe):
        ggufs = sorted(folder.glob("*.gguf"))
        if not ggufs:
            raise
        if len(ggufs) > 1:
            raise ModelNotFound(
                f"There are {len(ggufs)} GGUF files in this folder.",
                hint="Open one of them instead of the folder.",
            ) from None
        return _open_gguf(ggufs[0], source=source)
    if not (folder / "config.json").is_file():
        raise ModelDamaged("The model's config.json is missing.")
    config = read_json(folder / "config.json")
    tensors: tuple[TensorHeader, ...] = ()
    if checkpoint.format == "safetensors":
        tensors = tuple(tensor for file in checkpoint.files for tensor in read_tensor_headers(file))
    return ModelFiles(
        source=source, name=name, folder=folder, checkpoint=checkpoint, config=config, tensors=tensors
    )


def _open_gguf(path: Path, *, source: str) -> ModelFiles:
    header = gguf_files.read_header(path)
    return ModelFiles(
        source=source,
        name=header.name or path.stem,
        folder=path.parent,
        checkpoint=Checkpoint(format="gguf", files=(path,)),
        config=gguf_files.as_config(header),
        tensors=header.tensors,
        gguf=header,
    )


def stored_dtype(files: ModelFiles) -> str:
    """The precision of most of the stored weights, by torch's name ("Q4_K" and the like for GGUF)."""
    sizes: dict[str, int] = {}
    for tensor in files.tensors:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.elements
    return max(sizes, key=lambda dtype: sizes[dtype], default="float32")
