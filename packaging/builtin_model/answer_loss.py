"""Loss on the answers to held-out questions: how surprised the model is by each token of the right reply."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from batches import Batch
from corpus import Corpus
from dialogues import Dialogue, DialogueMaker
from network import PackedLlama
from packing import Mixture, Piece, encode_dialogue, most_documents, pack
from tokenizer import EOS, SPECIAL_TOKENS
from tokenizers import Tokenizer

ANSWERS_ONLY = Mixture(
    prose=0,
    questions=1,
    chat=0,
    prompt_weight=0,
    answer_weight=1,
    chat_weight=0,
    choice_weight=1,
)


class AnswerLoss:
    """Fixed dialogues over held-out text, packed once: questions on passages and questions on pages."""

    def __init__(
        self, held_out: Corpus, neighbours: dict[str, list[str]], tokenizer: Tokenizer, context: int,
        device: torch.device, tokens: int, rows: int = 1,
    ) -> None:  # fmt: skip
        self.device, self.context, self.tokens = device, context, max(tokens, context)
        self._rows: dict[str, list[Batch]] = {}
        if not held_out.prose or not held_out.questions:
            return
        maker, rng = DialogueMaker(held_out, neighbours), random.Random(11)
        for name, draw in (("passages", maker.draw_question), ("pages", maker.draw_page)):
            self._rows[name] = [self._row(draw, tokenizer, rng) for _ in range(rows)]

    def _row(
        self, draw: Callable[[random.Random], Dialogue], tokenizer: Tokenizer, rng: random.Random
    ) -> Batch:
        pieces: list[Piece] = []
        room, most = self.tokens, most_documents(self.tokens)
        while room and len(pieces) < most - self.tokens // self.context - 1:
            piece = encode_dialogue(draw(rng), tokenizer, ANSWERS_ONLY)
            if len(piece.ids) > min(room, self.context):
                if len(piece.ids) <= self.context:
                    break
                continue
            pieces.append(piece)
            room -= len(piece.ids)
        while room:
            size = min(room, self.context)
            ids = np.full(size, SPECIAL_TOKENS.index(EOS), dtype=np.uint16)
            pieces.append(Piece(ids, np.zeros(size, dtype=np.float32)))
            room -= size
        return Batch.of(pack(pieces, self.tokens, most))

    @torch.no_grad()
    def measure(self, model: PackedLlama) -> dict[str, float]:
        """{"answer_nats_NAME": mean nats per token of the replies} with dropout off."""
        model.eval()
        result = {}
        for name, rows in self._rows.items():
            nats = count = 0.0
            for row in rows:
                batch = row.to(self.device)
                with torch.autocast("cuda", torch.bfloat16, enabled=batch.tokens.is_cuda):
                    hidden = model(batch.tokens, batch.positions, batch.starts, self.context)
                    losses = model.losses(hidden, batch.targets)
                nats += float((losses * batch.weights).sum())
                count += float(batch.weights.sum())
            result[f"answer_nats_{name}"] = nats / max(count, 1.0)
        return result
