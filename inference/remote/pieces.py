"""What a server tells at a time of the reply: text, tokens with log-probabilities, the end.

Chats and raw texts are answered in two formats, and llama.cpp uses that of chats for both; a stream and a
whole answer differ in where the text is. Each becomes a :class:`Piece`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Servers write this where they do not know a log-probability (OpenAI, vLLM).
_UNKNOWN = -9990.0


class WrongShape(ValueError):
    """An answer is not what the API defines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A token as a server tells it; ``id`` and ``logprob`` are None where it does not."""

    text: str
    data: bytes
    logprob: float | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A token that was drawn, and the most likely ones at its place."""

    entry: Entry
    top: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One part of a reply.

    ``thought`` is text of a section for thinking, which some servers take out of the reply; ``ended`` is
    the server's reason, ``stopped_by`` the stop string where it tells.
    """

    text: str = ""
    thought: str = ""
    tokens: tuple[Told, ...] = ()
    ended: str = ""
    stopped_by: str = ""
    prompt_tokens: int | None = None
    new_tokens: int | None = None


def piece(answer: Any) -> Piece:
    """Read an event of a stream, or a whole answer.

    Raises:
        WrongShape: It is neither.
    """
    if not isinstance(answer, dict):
        raise WrongShape("not an object")
    usage = answer.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    prompt_tokens, new_tokens = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
    choices = answer.get("choices")
    if not isinstance(choices, list) or (not choices and not counts and "id" not in answer):
        raise WrongShape("no choices")
    if not choices:  # the last event of a stream may hold the counts alone
        return Piece(prompt_tokens=prompt_tokens, new_tokens=new_tokens)
    choice = choices[0]
    if not isinstance(choice, dict):
        raise WrongShape("a choice is not an object")
    text, thought = _texts(choice)
    stop_reason = choice.get("stop_reason")
    return Piece(
        text=text,
        thought=thought,
        tokens=tokens(choice.get("logprobs")),
        ended=str(choice.get("finish_reason") or ""),
        stopped_by=stop_reason if isinstance(stop_reason, str) else "",
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
    )


def _texts(choice: Mapping[str, Any]) -> tuple[str, str]:
    """The text of the reply and that of its thinking."""
    if "text" in choice:
        return _string(choice["text"]), ""
    part = choice.get("delta", choice.get("message"))
    if not isinstance(part, dict):
        raise WrongShape("a choice has no text")
    thought = part.get("reasoning_content", part.get("reasoning"))
    return _string(part.get("content")), _string(thought)


def tokens(logprobs: Any) -> tuple[Told, ...]:
    """The tokens of a choice's ``logprobs``, in either format; none where it has none.

    Raises:
        WrongShape: It is in neither.
    """
    if logprobs is None:
        return ()
    if not isinstance(logprobs, dict):
        raise WrongShape("logprobs is not an object")
    if isinstance(logprobs.get("content"), list):
        return tuple(_told(item) for item in logprobs["content"])
    if isinstance(logprobs.get("tokens"), list):
        return _legacy(logprobs)
    return ()


def _told(item: Any) -> Told:
    if not isinstance(item, dict):
        raise WrongShape("a token is not an object")
    top = item.get("top_logprobs") or ()
    return Told(entry=_entry(item), top=tuple(_entry(each) for each in top if isinstance(each, dict)))


def _entry(item: Mapping[str, Any]) -> Entry:
    text, data = item.get("token"), item.get("bytes")
    if not isinstance(text, str):
        raise WrongShape("a token has no text")
    number = item.get("id")
    return Entry(
        text=text,
        data=_bytes(data) if isinstance(data, list) else text.encode(),
        logprob=logprob(item.get("logprob")),
        id=number if isinstance(number, int) and number >= 0 else None,
    )


def _bytes(data: list[Any]) -> bytes:
    try:
        return bytes(data)
    except (TypeError, ValueError):
        raise WrongShape("a token's bytes are none") from None


def _legacy(logprobs: Mapping[str, Any]) -> tuple[Told, ...]:
    """The format of raw completions: parallel lists, and a map of text to log-probability for each token."""
    texts = logprobs["tokens"]
    values = logprobs.get("token_logprobs") or [None] * len(texts)
    tops = logprobs.get("top_logprobs") or [None] * len(texts)
    if not len(texts) == len(values) == len(tops):
        raise WrongShape("lists of tokens of different lengths")
    told = []
    for text, value, top in zip(texts, values, tops, strict=True):
        if not isinstance(text, str):
            raise WrongShape("a token has no text")
        told.append(
            Told(
                entry=Entry(text=text, data=text.encode(), logprob=logprob(value)),
                top=tuple(
                    Entry(text=str(each), data=str(each).encode(), logprob=logprob(chance))
                    for each, chance in (top or {}).items()
                ),
            )
        )
    return tuple(told)


def logprob(value: Any) -> float | None:
    """A log-probability; None for what can't be one (a raw logit, say) or stands for "not known"."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return min(float(value), 0.0) if _UNKNOWN < value < 1e-3 else None


def _string(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise WrongShape("text that is none")
    return value


def _count(counts: Mapping[str, Any], name: str) -> int | None:
    value = counts.get(name)
    return value if isinstance(value, int) else None
