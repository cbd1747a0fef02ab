"""The beginning of a reply that is to be continued, as exact tokens where they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inference.events import Candidate, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What a reply begins with.

    Attributes:
        text: The text so far.
        tokens: Records of the tokens that are kept; they cover ``text`` from ``origin`` on.
        ids: The exact tokens; empty where they are not known and the engine has to read ``text``.
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    ids: tuple[int, ...] = ()

    def for_model(self, model: str, writer: str) -> Beginning:
        """The beginning as ``model`` reads it: the tokens of another ``writer`` mean nothing to it."""
        return self if model == writer else replace(self, ids=())

    @property
    def reply_text(self) -> str:
        """What the engine has to read in place of ``ids``."""
        return "" if self.ids else self.text


def whole(text: str, tokens: Sequence[Token]) -> Beginning:
    """Everything that a reply has so far, for going on from there; its end tokens are left out."""
    kept = list(tokens)
    while kept and kept[-1].special and not kept[-1].text:
        kept.pop()
    return _beginning(text, tuple(kept))


def branch(text: str, tokens: Sequence[Token], index: int, candidate: Candidate) -> Beginning:
    """A reply up to token ``index`` (exclusive), with ``candidate`` in that token's place.

    Args:
        text: The whole text of the reply.
        tokens: All its records; the texts of the tokens are the end of ``text``.
        index: Position in ``tokens``.
        candidate: One of that token's candidates.
    """
    origin = len(text) - sum(len(token.text) for token in tokens)
    owed = _owed(tokens)
    kept = tuple(tokens[:index]) if owed else _with_held_text(tokens[:index])
    left = max(0, owed - sum(len(token.data) for token in kept))
    own = candidate.text.encode()[left:].decode(errors="ignore")
    chosen = replace(
        tokens[index],
        id=candidate.id,
        # A part of a character has no text of its own; it comes with the token that completes it.
        text="" if "\ufffd" in candidate.text else own,
        data=candidate.text.encode(),
        special=False,
        raw_logprob=candidate.raw_logprob,
        sampled_prob=candidate.sampled_prob,
    )
    tokens = (*kept, chosen)
    return _beginning(text[:origin] + "".join(token.text for token in tokens), tokens)


def _owed(tokens: Sequence[Token]) -> int:
    """Bytes at the beginning of a reply that stand in its prompt, because token healing cut them back there.

    The prompt as it stands and the tokens of such a reply overlap, so the tokens cannot be put behind it.
    """
    data = b"".join(token.data for token in tokens if not token.special)
    text = "".join(token.text for token in tokens if not token.special).encode()
    return len(data) - len(text) if text and data.endswith(text) else 0


def _with_held_text(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """Give tokens at the end the text that was held back for them (the beginning of a stop string that then
    came with a later token), unless it is a part of a character.
    """
    kept = list(tokens)
    first = len(kept)
    while first and not kept[first - 1].text and not kept[first - 1].special:
        first -= 1
    try:
        texts = [token.data.decode() for token in kept[first:]]
    except UnicodeDecodeError:
        return tuple(kept)
    return (*kept[:first], *(replace(t, text=text) for t, text in zip(kept[first:], texts, strict=True)))


def _beginning(text: str, tokens: tuple[Token, ...]) -> Beginning:
    exact = "".join(token.text for token in tokens) == text and not _owed(tokens)
    exact = exact and all(token.id >= 0 for token in tokens)  # a server may keep its numbers to itself
    return Beginning(text=text, tokens=tokens, ids=tuple(token.id for token in tokens) if exact else ())


def renumbered(token: Token, shift: int) -> Token:
    """A token whose number is so much higher."""
    return replace(token, index=token.index + shift) if shift else token
