"""The documents' embedder, as re-embedding wants it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from inference.documents.embedding import BUILTIN, Embedder


class DocumentEmbedder:
    """Adapts :class:`inference.documents.embedding.Embedder`; loads it when it is first used."""

    def __init__(self, name: str = BUILTIN) -> None:
        self._embedder = Embedder(name)

    def tokenize(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Word pieces without special ones, and each one's characters."""
        return self._embedder.pieces(text)

    def embed(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """(texts, dimensions) unit vectors; texts longer than the embedder reads are pooled over windows."""
        return torch.from_numpy(self._embedder.embed_pieces(texts))


@cache
def document_embedder() -> DocumentEmbedder:
    """The one that comes with the app, loaded once a process."""
    return DocumentEmbedder()
