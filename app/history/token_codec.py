"""Token records as bytes: names in JSON, numbers as float32, both compressed.

A token with 20 candidates and 6 stages takes 0.3-0.6 kB this way against 3 kB as JSON; a single-precision
float is what the engine computed in the first place.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from inference.events import Candidate, Stage, Token

_VERSION, _WITH_MORE = 1, 2


def encode_tokens(tokens: Sequence[Token]) -> bytes:
    """Pack tokens, without their ``run_id``."""
    numbers = array("f")
    for token in tokens:
        _append(numbers, [token.raw_logprob, token.sampled_prob, token.entropy, token.at])
        _append(numbers, [candidate.raw_logprob for candidate in token.candidates])
        _append(numbers, [candidate.sampled_prob for candidate in token.candidates])
        for stage in token.stages:
            numbers.append(stage.removed)
            numbers.fromlist(list(stage.probs))
    if sys.byteorder == "big":
        numbers.byteswap()
    words = {
        "version": _WITH_MORE if any(t.guessed or t.origin != "local" for t in tokens) else _VERSION,
        "tokens": [_words_of(token) for token in tokens],
    }
    head = json.dumps(words, separators=(",", ":")).encode("ascii")
    return zlib.compress(len(head).to_bytes(4, "little") + head + numbers.tobytes(), level=1)


def _words_of(token: Token) -> list[Any]:
    return [
        token.index,
        token.id,
        token.text,
        token.data.hex(),
        token.special | token.guessed << 1,
        [candidate.id for candidate in token.candidates],
        [candidate.text for candidate in token.candidates],
        [[stage.name, len(stage.probs)] for stage in token.stages],
        *([] if token.origin == "local" else [token.origin]),
    ]


def _append(numbers: array[float], values: list[float | None]) -> None:
    """What is not known is written as NaN, which nothing that is known ever is.

    Nearly always everything is known: the list is tried as it is (a refused one leaves ``numbers`` as it
    was), since this runs every second beside the decode loop.
    """
    try:
        numbers.fromlist(values)  # type: ignore[arg-type]
    except TypeError:
        numbers.fromlist([math.nan if value is None else value for value in values])


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def decode_tokens(packed: bytes, *, run_id: int = 0) -> tuple[Token, ...]:
    """Unpack what :func:`encode_tokens` packed.

    Raises:
        ValueError: The bytes are damaged or from a later version.
    """
    try:
        raw = zlib.decompress(packed)
        size = int.from_bytes(raw[:4], "little")
        words = json.loads(raw[4 : 4 + size])
        if words["version"] not in (_VERSION, _WITH_MORE):
            raise ValueError(f"Token records of version {words['version']} are not known here.")
        numbers = array("f")
        numbers.frombytes(raw[4 + size :])
        if sys.byteorder == "big":
            numbers.byteswap()
        rest = iter(numbers)
        return tuple(_token_from(entry, rest, run_id) for entry in words["tokens"])
    except (zlib.error, KeyError, IndexError, TypeError, StopIteration) as error:
        raise ValueError("The token records are damaged.") from error


def _token_from(entry: list[Any], numbers: Iterator[float], run_id: int) -> Token:
    index, token_id, text, data, special, ids, texts, stages, *origin = entry
    raw_logprob, sampled_prob, entropy, at = (next(numbers) for _ in range(4))
    logprobs = tuple(islice(numbers, len(ids)))
    probs = tuple(islice(numbers, len(ids)))
    if len(probs) < len(ids):
        raise ValueError("The token records are damaged.")
    return Token(
        run_id=run_id,
        index=index,
        id=token_id,
        text=text,
        data=bytes.fromhex(data),
        special=bool(special & 1),
        guessed=bool(special & 2),
        raw_logprob=_known(raw_logprob),
        sampled_prob=_known(sampled_prob),
        entropy=_known(entropy),
        at=at,
        candidates=tuple(
            Candidate(id=i, text=t, raw_logprob=_known(lp), sampled_prob=_known(p))
            for i, t, lp, p in zip(ids, texts, logprobs, probs, strict=True)
        ),
        stages=tuple(
            Stage(name=name, removed=next(numbers), probs=tuple(islice(numbers, count)))
            for name, count in stages
        ),
        origin=origin[0] if origin else "local",
    )
