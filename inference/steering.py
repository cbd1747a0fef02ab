"""Attention control: which tokens of the prompt later tokens listen to, and how much.

A control is a character span and a factor (0 gone, 1 neutral, above 1 amplified). This module turns
controls into one number a token, without torch; :mod:`inference.passes.attention_masks` applies the numbers
to a model.

**Log-additive** (the default) adds ``ln(factor)`` to the attention scores of a token's key column. After
the softmax the token's weight is ``factor`` times what it was, relative to the others, whatever its score
was; so factor 0 is the limit in which it is not attended to at all (:data:`REMOVED`).

**Multiplicative** multiplies the scores of the key column by ``factor``, which equals scaling the key
vector after the rotary embedding: the scores are dot products, linear in the key. It is exact and causal
(a key depends on nothing that comes later) and holds for cached keys. It differs from the published code
of AtMan (Deiseroth et al. 2023, arXiv:2301.08110), which first subtracts each row's minimum so that all
scores are positive: that minimum also runs over future keys, so it cannot match cached generation. Here a
negative score rises towards 0 when it is suppressed, and factor 0 makes all of a token's scores 0, which
is not the same as removing it.

Controls that overlap multiply, so their order does not matter. As in the Aleph Alpha API, a token that a
control covers in part gets ``1 + (factor - 1) * share``, or the whole factor under overlap "complete".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from inference.errors import InvalidRequest
from inference.events import AttentionControl, Overlap

#: The bias that removes a token: exp(-10,000) is 0 in every float format, yet it is finite, so a query
#: whose only permitted key is suppressed (the first token looking at itself) still gets a softmax without
#: NaN.
REMOVED = -1.0e4

#: Characters of a token, start and end. Special tokens have an empty span and are never controlled by a span.
TokenSpan = tuple[int, int]


def token_factors(
    controls: Sequence[AttentionControl],
    token_spans: Sequence[TokenSpan],
    *,
    text: str | None = None,
    message_starts: Sequence[int | None] = (),
    overlap: Overlap = "partial",
) -> tuple[float, ...]:
    """One factor for each token of the prompt.

    Args:
        controls: Spans and factors.
        token_spans: Each token's characters in the exact prompt text. The tokens of one multi-byte
            character all have that character's span.
        text: The exact prompt text. Where given, whitespace at the edges of a token does not count to it:
            selecting a word then covers all of the token that holds the word and the space before it.
        message_starts: For each message of a chat, where its content begins in the prompt text (None: not
            there, because it was dropped). Needed for controls that name a message.
        overlap: What a token that is covered in part gets.

    Raises:
        InvalidRequest: A factor is negative or not finite, a span runs backwards, or a message does not
            exist.
    """
    factors = [1.0] * len(token_spans)
    spans = [_without_edges(span, text) for span in token_spans] if text is not None else list(token_spans)
    for control in controls:
        _check(control)
        offset = _offset(control, message_starts)
        if offset is None or control.factor == 1.0:
            continue
        for index, span in enumerate(spans):
            share = covered_share(span, (control.start + offset, control.end + offset))
            if share > 0.0:
                scaled = control.factor * share + (1.0 - share)
                factors[index] *= control.factor if overlap == "complete" else scaled
    return tuple(factors)


def covered_share(token: TokenSpan, span: TokenSpan) -> float:
    """The part of a token's characters that a span covers, 0 to 1; an empty token is not covered."""
    length = token[1] - token[0]
    if length <= 0:
        return 0.0
    return max(0, min(token[1], span[1]) - max(token[0], span[0])) / length


def uncertainty_factors(
    entropies: Sequence[float | None], *, threshold: float, factor: float
) -> tuple[float, ...]:
    """Turn down what the model was unsure of: ``factor`` for each token whose entropy is above the threshold.

    Args:
        entropies: For each token, the entropy (nats) of the distribution that it was drawn from; None
            where unknown.
        threshold: In nats.
        factor: 0 to 1.
    """
    return tuple(factor if entropy is not None and entropy > threshold else 1.0 for entropy in entropies)


def combined(*factors: Sequence[float]) -> tuple[float, ...]:
    """Multiply factors token by token; a shorter sequence leaves the tokens after its end alone."""
    length = max((len(each) for each in factors), default=0)
    return tuple(math.prod(each[index] for each in factors if index < len(each)) for index in range(length))


def is_neutral(factors: Sequence[float]) -> bool:
    """Whether the factors change nothing; then nothing is applied and the model's output is the same bit
    for bit.
    """
    return all(factor == 1.0 for factor in factors)


def log_bias(factor: float) -> float:
    """``ln(factor)``, bounded below by :data:`REMOVED`: what is added to a token's scores."""
    return max(math.log(factor), REMOVED) if factor > 0.0 else REMOVED


def key_bias(factors: Sequence[float]) -> tuple[float, ...] | None:
    """Each token's additive bias for the log-additive mode, or None where nothing changes.

    Tokens that come after the last factor (the reply, while it is generated) have bias 0.
    """
    if is_neutral(factors):
        return None
    return tuple(log_bias(factor) for factor in factors)


def neighbour_factor(factor: float, cosine: float) -> float:
    """AtMan's factor of a token related to a suppressed one: ``(1 - f)(1 - cos) + f``; f at cosine 1, 1 at
    cosine 0.
    """
    return (1.0 - factor) * (1.0 - cosine) + factor


def _check(control: AttentionControl) -> None:
    if not (math.isfinite(control.factor) and control.factor >= 0.0):
        raise InvalidRequest(
            f"The factor of an attention control is {control.factor}.", hint="Use a factor from 0 to 10."
        )
    if control.start < 0 or control.end < control.start:
        raise InvalidRequest(
            f"The attention control {control.start}:{control.end} is not a span of the text."
        )


def _offset(control: AttentionControl, message_starts: Sequence[int | None]) -> int | None:
    if control.message is None:
        return 0
    if not 0 <= control.message < len(message_starts):
        raise InvalidRequest(f"An attention control names message {control.message}, which does not exist.")
    return message_starts[control.message]


def _without_edges(span: TokenSpan, text: str) -> TokenSpan:
    """Shrink a span to what is not whitespace, unless it is nothing else."""
    start, end = span
    inner = text[start:end]
    if not inner.strip():
        return span
    return start + len(inner) - len(inner.lstrip()), end - (len(inner) - len(inner.rstrip()))
