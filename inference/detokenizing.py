"""Token ids -> exact text, span by span.

A token is a piece of bytes. Text becomes printable when the bytes so far end a character, so each token's
span is what it *completes*: a token inside a multi-byte character has an empty span, and the spans of all
tokens add up to the text of the whole. Bytes that can never become a character turn into U+FFFD, as in
``bytes.decode(errors="replace")``.

Each token costs one table look-up and one step of an incremental UTF-8 decoder, however long the text is.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from inference.events.sections import marks_among

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: The mark for a space in SentencePiece's pieces.
_SPACE_MARK = "▁"


class TokenTable:
    """What each id of a vocabulary is: its bytes, its text by itself, and whether it is special.

    Three kinds of vocabularies are read: byte-level BPE (GPT-2 and its heirs), SentencePiece with or
    without byte fallback (Llama 2, Gemma, T5), and, for the rest, pieces as the tokenizer itself decodes
    them behind another token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        self._special = frozenset(int(index) for index in self._tokenizer.all_special_ids)
        self._marks = marks_among(map(str, tokenizer.all_special_tokens))
        self._added = {int(index): str(token) for index, token in tokenizer.added_tokens_decoder.items()}
        self._kind = _kind_of_vocabulary(tokenizer)
        self._bytes: dict[int, bytes] = {}
        self._texts: dict[int, str] = {}

    def is_special(self, token: int) -> bool:
        """Whether the token marks structure (end of text, a role) and is no part of a reply's text."""
        return token in self._special

    def is_mark(self, token: int) -> bool:
        """Whether a special token marks a section of a reply (its thinking, a call of a tool), which its text
        has to tell.
        """
        return bool(self._marks) and token in self._special and self.text(token) in self._marks

    def data(self, token: int) -> bytes:
        """The token's own bytes; empty for an id that the vocabulary does not have."""
        known = self._bytes.get(token)
        if known is None:
            known = self._bytes[token] = self._find_bytes(token)
        return known

    def text(self, token: int) -> str:
        """The token by itself, for showing; bytes that are no whole character are U+FFFD."""
        known = self._texts.get(token)
        if known is None:
            known = self._texts[token] = self.data(token).decode("utf-8", errors="replace")
        return known

    def _find_bytes(self, token: int) -> bytes:
        piece = self._added.get(token) or self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(piece, str):
            return b""
        if self._kind == "byte-level":
            return _byte_level(piece)
        if self._kind == "sentencepiece":
            return _sentencepiece(piece)
        if token in self._added:
            return piece.encode("utf-8", errors="replace")
        return self._behind_another(token)

    def _behind_another(self, token: int) -> bytes:
        """The text that the token adds when it follows a token that is known to stand by itself."""
        anchor = self._tokenizer.encode("a", add_special_tokens=False)[-1:]
        before = self._decode(anchor)
        both = self._decode([*anchor, token])
        text = both[len(before) :] if both.startswith(before) else self._decode([token])
        return text.encode("utf-8", errors="replace")

    def _decode(self, tokens: list[int]) -> str:
        return str(
            self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )


class Detokenizer:
    """Turns a stream of ids into text. Special tokens add no text: a role mark inside a reply must not come
    back as one when the reply is put into the next prompt. Those that mark its sections do.

    Args:
        table: The vocabulary.
        before: Ids that precede the stream; an incomplete character at their end is completed by the stream.
    """

    def __init__(self, table: TokenTable, before: Iterable[int] = ()) -> None:
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        # At most three bytes of an unfinished character can matter; more tokens than bytes never do.
        for token in list(before)[-4:]:
            self.push(token)

    def push(self, token: int, *, skip: int = 0) -> str:
        """The text that became printable with this token, whose first ``skip`` bytes are in it already."""
        if self._table.is_special(token):
            return self.finish() + (self._table.text(token) if self._table.is_mark(token) else "")
        return self._decoder.decode(self._table.data(token)[skip:])

    def finish(self) -> str:
        """What was held back and can't be completed any more."""
        return self._decoder.decode(b"", final=True)


def spans_of_text(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """Cut a text into one span a token, which add up to it.

    Args:
        text: The exact text.
        offsets: For each token the characters it covers, in order; the tokens of one multi-byte character
            all have that character's offsets, and tokens that are not in the text have an empty range.

    Returns:
        For each token what it completes. What no token covers (a space that the tokenizer skips) goes to
        the next one.
    """
    spans = [""] * len(offsets)
    done, last = 0, -1
    for index, (start, end) in enumerate(offsets):
        if end <= start:
            continue
        following = offsets[index + 1] if index + 1 < len(offsets) else (len(text), len(text))
        if following == (start, end) and end - start == 1:
            continue  # the next token is part of the same character and closer to its end
        if end > done:
            spans[index] = text[done:end]
            done, last = end, index
    if done < len(text) and offsets:
        spans[last] += text[done:]
    return spans


def _kind_of_vocabulary(tokenizer: PreTrainedTokenizerBase) -> str:
    """ "byte-level", "sentencepiece" or "other", from the tokenizer's own decoder."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return "sentencepiece" if hasattr(tokenizer, "sp_model") else "other"
    decoder = getattr(backend, "decoder", None)
    if decoder is None:
        return "other"
    parts = _parts(json.loads(decoder.__getstate__()))
    kinds = {part.get("type") for part in parts}
    if "ByteLevel" in kinds:
        return "byte-level"
    marks = any(part.get("pattern", {}).get("String") == _SPACE_MARK for part in parts)
    if marks or "Metaspace" in kinds or "ByteFallback" in kinds:
        return "sentencepiece"
    return "other"


def _parts(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    """A decoder and all decoders in it."""
    return [decoder, *(part for each in decoder.get("decoders", ()) for part in _parts(each))]


def _byte_level(piece: str) -> bytes:
    table = _byte_of_character()
    try:
        return bytes(table[character] for character in piece)
    except KeyError:  # an added token: its content is plain text
        return piece.encode("utf-8", errors="replace")


def _sentencepiece(piece: str) -> bytes:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        try:
            return bytes([int(piece[3:5], 16)])
        except ValueError:
            pass
    return piece.replace(_SPACE_MARK, " ").encode("utf-8", errors="replace")


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 and up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
