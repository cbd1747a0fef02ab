"""Fills flat rows of tokens with whole documents and conversations, drawn without end.

Each row holds `batch_tokens` tokens. Every document starts anew (its own positions, no attention across), and
each token carries the weight of predicting its successor: 1 in prose, `prompt_weight` in the user's words,
`answer_weight` in the assistant's (`chat_weight` where there were no sources).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from dialogues import Dialogue, DialogueMaker
from loops import OwnSample, first_of_each_loop, read_samples, repeated_positions
from numpy.typing import NDArray
from tokenizer import ASSISTANT, BOS, END, EOS, SPECIAL_TOKENS, SYSTEM, USER
from tokenizers import Tokenizer

Ids = NDArray[np.uint16]
Weights = NDArray[np.float32]

_ROLES = (("system", SYSTEM), ("user", USER), ("assistant", ASSISTANT))
_ROLE_IDS = {role: SPECIAL_TOKENS.index(token) for role, token in _ROLES}
CHOOSING = 3  # tokens
LOOPS_FROM = 0.08  # share of repeated tokens; people's own texts stay below
_BOS, _EOS, _END = (SPECIAL_TOKENS.index(token) for token in (BOS, EOS, END))


def most_documents(batch_tokens: int) -> int:
    """How many documents a row may hold. Kept low: the attention kernel spends time on empty ones, too."""
    return batch_tokens // 512 + 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Shares of a row's tokens and the weights of its losses."""

    prose: float
    questions: float
    chat: float
    prompt_weight: float
    answer_weight: float
    chat_weight: float = 1.5
    stories: float = 0.0  # requests for stories and explanations
    own_loops: float = 0.0  # the model's own
    imagined: float = 0.0  # what a teacher wrote (imagine.py)
    choice_weight: float = 3.0  # factor on the first words of a quote, which choose the sentence


@dataclass(frozen=True, slots=True)
class Piece:
    """A document ready to be packed: ids (n,) and the weight (n,) of predicting what follows each.

    `soft` is the share of teachers' predictions in its loss, where there are teachers. A negative weight
    marks a token that is to be avoided: teachers predict what else could stand there.
    """

    ids: Ids
    weights: Weights
    soft: float = 0.0


@dataclass(frozen=True, slots=True)
class PackedRow:
    """tokens, targets, positions (T,) int32; weights, soft (T,) float32; starts (D + 1,) int32, then T."""

    tokens: NDArray[np.int32]
    targets: NDArray[np.int32]
    weights: Weights
    positions: NDArray[np.int32]
    starts: NDArray[np.int32]
    soft: Weights


class TokenizedProse:
    """All prose as one array of ids, with an offset a document. Each document ends with EOS."""

    def __init__(self, ids: Ids, offsets: NDArray[np.int64]) -> None:
        self.ids, self.offsets = ids, offsets

    @classmethod
    def encode(cls, texts: list[str], tokenizer: Tokenizer) -> TokenizedProse:
        """Tokenizes on all cores."""
        encodings = tokenizer.encode_batch_fast(texts)
        parts = [np.array([*encoding.ids, _EOS], dtype=np.uint16) for encoding in encodings]
        offsets = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.concatenate(parts), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def cut(self, index: int, context: int, rng: random.Random) -> Iterator[Piece]:
        """One document as pieces of at most `context` tokens.

        Long documents are cut at random places. Their later pieces start without BOS, and so do some whole
        documents, so that the model also knows text that begins in the middle.
        """
        ids = self.ids[self.offsets[index] : self.offsets[index + 1]]
        if rng.random() < 0.8:
            ids = np.concatenate((np.array([_BOS], dtype=np.uint16), ids))
        first = rng.randrange(context // 4, context) if len(ids) > context else context
        cuts = [0, *range(first, len(ids), context), len(ids)]
        for begin, end in pairwise(cuts):
            if end - begin > 1:
                # One token of overlap, so that the first token of a piece is predicted too.
                yield plain_piece(ids[max(0, begin - 1) : end][-context:])


def plain_piece(ids: Ids, soft: float = 0.7) -> Piece:
    """Prose: every next token counts fully."""
    weights = np.ones(len(ids), dtype=np.float32)
    weights[-1] = 0
    return Piece(ids, weights, soft)


def encode_dialogue(dialogue: Dialogue, tokenizer: Tokenizer, mixture: Mixture) -> Piece:
    """A conversation as the chat template renders it; the assistant's turns and their ends weigh more."""
    answer_weight = mixture.answer_weight if dialogue.sources else mixture.chat_weight
    ids = [_BOS]
    weights = [mixture.prompt_weight]
    for role, text in dialogue.turns:
        body = tokenizer.encode(text).ids
        ids += [_ROLE_IDS[role], *body, _END]
        if role == "assistant":
            # Predicted from the role's mark and the words: the words and the end of the turn.
            turn = [answer_weight] * (len(body) + 1)
            if dialogue.sources:
                turn[:CHOOSING] = [answer_weight * mixture.choice_weight] * len(turn[:CHOOSING])
            weights += [*turn, mixture.prompt_weight]
        else:
            weights += [mixture.prompt_weight] * (len(body) + 2)
    # What follows the end of an assistant's turn is the user's affair.
    weights[-1] = 0.0
    return Piece(np.array(ids, dtype=np.uint16), np.array(weights, dtype=np.float32))


def encode_own(sample: OwnSample, tokenizer: Tokenizer) -> Piece | None:
    """A model's own words, where those that begin to repeat are to be avoided; None where it does not loop.

    Only beginnings of words are: within one there is nothing better to say. What goes on repeating has no
    weight, so that nothing is learnt about how loops go on.
    """
    marks = repeated_positions(sample.reply)
    if sum(marks) < LOOPS_FROM * len(sample.reply):
        return None
    begins = [str(tokenizer.id_to_token(token)).startswith(("Ġ", "Ċ")) for token in sample.reply]
    weights = [0.0] * (len(sample.prompt) - 1)
    for mark, first, word in zip(marks, first_of_each_loop(marks), begins, strict=True):
        weights.append((-1.0 if first and word else 0.0) if mark else 1.0)
    ids = np.array([*sample.prompt, *sample.reply], dtype=np.uint16)
    return Piece(ids, np.array([*weights, 0.0], dtype=np.float32), soft=1.0)


class OwnLoops:
    """The newest samples in a file that another process replaces now and then."""

    def __init__(self, path: Path | None, tokenizer: Tokenizer) -> None:
        self._path, self._tokenizer = path, tokenizer
        self._read = 0.0
        self._pieces: list[Piece] = []

    def pieces(self) -> list[Piece]:
        """The looping ones among the samples, encoded; read again when the file has changed."""
        written = self._path.stat().st_mtime if self._path and self._path.exists() else 0.0
        if self._path and written > self._read:
            self._read = written
            encoded = (encode_own(each, self._tokenizer) for each in read_samples(self._path))
            self._pieces = [piece for piece in encoded if piece is not None]
        return self._pieces


class RowPacker:
    """Draws rows of one mixture. Deterministic for a seed."""

    def __init__(
        self,
        prose: TokenizedProse,
        maker: DialogueMaker,
        tokenizer: Tokenizer,
        *,
        batch_tokens: int,
        seed: int,
        own_samples: Path | None = None,
        imagined: Path | None = None,
    ) -> None:
        self.batch_tokens = batch_tokens
        self.most_documents = most_documents(batch_tokens)
        self._rng = random.Random(seed)
        self._maker, self._tokenizer = maker, tokenizer
        self._prose = prose
        self._order: list[int] = []
        self._own = OwnLoops(own_samples, tokenizer)
        paths = sorted(imagined.glob("*.npy")) if imagined else []
        self._imagined = [np.load(path, mmap_mode="r") for path in paths]

    def _documents(self, context: int) -> Iterator[Piece]:
        """Prose without end: every document once an epoch, in a new order."""
        while True:
            if not self._order:
                self._order = self._rng.sample(range(len(self._prose)), len(self._prose))
            yield from self._prose.cut(self._order.pop(), context, self._rng)

    def _dialogues(
        self, draw: Callable[[random.Random], Dialogue], share: float, mixture: Mixture, context: int
    ) -> Iterator[Piece]:
        room = int(share * self.batch_tokens)
        while room > 0:
            piece = encode_dialogue(draw(self._rng), self._tokenizer, mixture)
            if len(piece.ids) <= context:
                room -= len(piece.ids)
                yield piece

    def _imagined_texts(self, share: float) -> Iterator[Piece]:
        room = int(share * self.batch_tokens)
        while self._imagined and room > 0:
            texts = self._rng.choice(self._imagined)
            ids = np.array(texts[self._rng.randrange(len(texts))])
            ends = np.flatnonzero(ids == _EOS)
            ids = ids[: ends[0] + 1] if len(ends) else ids
            room -= len(ids)
            yield plain_piece(ids, soft=1.0)

    def _own_loops(self, share: float) -> Iterator[Piece]:
        room, pieces = int(share * self.batch_tokens), self._own.pieces()
        while pieces and room > 0:
            piece = self._rng.choice(pieces)
            room -= len(piece.ids)
            yield piece

    def row(self, mixture: Mixture, context: int) -> PackedRow:
        """Conversations up to their shares, then prose to the end; nothing longer than `context`."""
        maker = self._maker
        pieces = list(self._dialogues(maker.draw_question, mixture.questions, mixture, context))
        pieces += self._dialogues(maker.draw_chat, mixture.chat, mixture, context)
        pieces += self._dialogues(maker.draw_story, mixture.stories, mixture, context)
        # Last, where teachers look (see plan.Plan.teacher_tokens).
        soft = [*self._own_loops(mixture.own_loops), *self._imagined_texts(mixture.imagined)]
        room = self.batch_tokens - sum(len(piece.ids) for piece in (*pieces, *soft))
        while room < 0:
            room += len(pieces.pop().ids)
        for piece in self._documents(context):
            if room == 0:
                break
            if len(pieces) + len(soft) >= self.most_documents - 1:
                room += len(pieces.pop(0).ids)
            if len(piece.ids) > room:
                piece = plain_piece(piece.ids[:room])
            pieces.append(piece)
            room -= len(piece.ids)
        pieces += soft
        return pack(pieces, self.batch_tokens, self.most_documents)


def pack(pieces: list[Piece], batch_tokens: int, most_documents: int) -> PackedRow:
    """Lays pieces end to end; they must fill the row exactly."""
    lengths = [len(piece.ids) for piece in pieces]
    starts = np.full(most_documents + 1, batch_tokens, dtype=np.int32)
    starts[: len(pieces)] = np.cumsum([0, *lengths[:-1]])
    tokens = np.concatenate([piece.ids for piece in pieces]).astype(np.int32)
    if len(tokens) != batch_tokens:
        raise ValueError(f"{len(tokens)} tokens for a row of {batch_tokens}")
    positions = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    weights = np.concatenate([piece.weights for piece in pieces])
    soft = np.repeat(np.array([piece.soft for piece in pieces], dtype=np.float32), lengths)
    return PackedRow(tokens, np.roll(tokens, -1), weights, positions, starts, soft)
