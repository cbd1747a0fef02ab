"""Bits per byte on prose: total cross-entropy over the number of UTF-8 bytes, documents read whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from batches import Batch
from network import PackedLlama
from packing import Ids, Piece, TokenizedProse, most_documents, pack, plain_piece
from tokenizer import BOS, EOS, SPECIAL_TOKENS
from tokenizers import Tokenizer


def windows(ids: Ids, context: int) -> Iterator[Piece]:
    """`ids` in overlapping pieces; predicting each id but the first weighs 1 in exactly one of them."""
    counted = 1
    for begin in range(0, max(1, len(ids) - context // 2), context // 2):
        piece = plain_piece(ids[begin : begin + context])
        piece.weights[: counted - 1 - begin] = 0.0
        counted = begin + len(piece.ids)
        yield piece


class ProseLoss:
    """Named lists of texts, packed once and measured as often as wanted.

    Each document is preceded by BOS and counts whole, its last EOS included. One that is longer than the
    model's context is read through a window that moves on by half of it: every token but the first ones has
    at least half a context before it, and each is counted once.
    """

    def __init__(
        self,
        texts: dict[str, list[str]],
        tokenizer: Tokenizer,
        context: int,
        device: torch.device,
        tokens: int,
    ) -> None:
        self.device, self.tokens, self.context = device, max(tokens, context), context
        self._most = most_documents(self.tokens)
        self._rows: dict[str, list[Batch]] = {}
        self._bytes: dict[str, int] = {}
        for name, documents in texts.items():
            if documents:
                prose = TokenizedProse.encode(documents, tokenizer)
                self._rows[name] = self._pack(prose)
                self._bytes[name] = sum(len(text.encode()) for text in documents)

    def _pack(self, prose: TokenizedProse) -> list[Batch]:
        rows: list[Batch] = []
        pieces: list[Piece] = []
        room = self.tokens
        bos = np.array([SPECIAL_TOKENS.index(BOS)], dtype=np.uint16)
        for begin, end in pairwise(prose.offsets):
            ids = np.concatenate((bos, prose.ids[begin:end]))
            for piece in windows(ids, self.context):
                if len(piece.ids) > room or len(pieces) > self._most - 40:
                    rows.append(self._close(pieces, room))
                    pieces, room = [], self.tokens
                pieces.append(piece)
                room -= len(piece.ids)
        rows.append(self._close(pieces, room))
        return rows

    def _close(self, pieces: list[Piece], room: int) -> Batch:
        """Fills the rest of a row with tokens that do not count."""
        while room:
            size = min(room, self.context)
            filler = np.full(size, SPECIAL_TOKENS.index(EOS), dtype=np.uint16)
            pieces.append(Piece(filler, np.zeros(size, dtype=np.float32)))
            room -= size
        return Batch.of(pack(pieces, self.tokens, self._most))

    @torch.no_grad()
    def measure(self, model: PackedLlama) -> dict[str, float]:
        """{"bits_per_byte_NAME": value} with dropout off."""
        model.eval()
        result = {}
        for name, rows in self._rows.items():
            nats = 0.0
            for row in rows:
                batch = row.to(self.device)
                with torch.autocast("cuda", torch.bfloat16, enabled=batch.tokens.is_cuda):
                    hidden = model(batch.tokens, batch.positions, batch.starts, self.context)
                    losses = model.losses(hidden, batch.targets)
                nats += float((losses * batch.weights).sum())
            result[f"bits_per_byte_{name}"] = nats / math.log(2) / self._bytes[name]
        return result
