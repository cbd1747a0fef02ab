"""Logits -> distribution -> token, and what is recorded of it; each control is its published definition.

The order is raw -> penalties (logit bias, repetition, frequency, presence) -> temperature -> top-k -> top-p
-> min-p, which is transformers' order; the last four are in :mod:`inference.generation.truncation`.

Sources: repetition penalty: Keskar et al. 2019, arXiv:1909.05858, section 4.1, as in transformers; frequency
and presence penalties: OpenAI's API reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import InvalidLogits, InvalidRequest
from inference.events import SamplingControls
from inference.generation.random_stream import RandomStream
from inference.generation.truncation import GREEDY_BELOW, Shaped, certain, top, truncated


@dataclass(frozen=True, slots=True)
class Draw:
    """One step of sampling, in plain numbers.

    ``candidates`` are the ``count`` most likely tokens by raw probability, most likely first; the chosen
    token takes the last place if it is not among them. ``stages`` has (name, probabilities of the
    candidates, removed mass) for every stage; see :class:`inference.events.Stage`.
    """

    token: int
    raw_logprob: float
    sampled_prob: float
    entropy: float
    candidates: list[tuple[int, float, float]]
    stages: list[tuple[str, tuple[float, ...], float]]


class History:
    """Which tokens have been read and written: what the penalties look at.

    Args:
        read: Ids of the prompt.
        written: Ids of the reply so far.
        vocabulary: Number of logits; some models have more embeddings, whose tokens can't be drawn.
    """

    def __init__(
        self, read: Sequence[int], written: Sequence[int], vocabulary: int, device: torch.device
    ) -> None:
        self._vocabulary = vocabulary
        self._device = device
        self._read = set(read)
        self._counts: dict[int, int] = {}
        self._known: tuple[Tensor, Tensor, Tensor] | None = None
        for token in written:
            self.add(token)

    def add(self, token: int) -> None:
        """The reply has grown by a token."""
        self._counts[token] = self._counts.get(token, 0) + 1
        self._known = None

    @property
    def tokens(self) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct tokens of prompt and reply, distinct tokens of the reply, and how often each of those
        came.
        """
        if self._known is None:
            seen = [token for token in self._read | self._counts.keys() if token < self._vocabulary]
            written = {token: n for token, n in self._counts.items() if token < self._vocabulary}
            self._known = (
                torch.tensor(seen, dtype=torch.long, device=self._device),
                torch.tensor(list(written), dtype=torch.long, device=self._device),
                torch.tensor(list(written.values()), dtype=torch.float32, device=self._device),
            )
        return self._known


class Sampler:
    """Checked controls, ready to be applied to the logits of one step after the other.

    Raises:
        InvalidRequest: A control is out of its range.
    """

    def __init__(self, controls: SamplingControls, vocabulary: int, device: torch.device) -> None:
        check_controls(controls, vocabulary)
        self.controls = controls
        self._bias_ids = torch.tensor([token for token, _ in controls.logit_bias], device=device)
        self._bias = torch.tensor([bias for _, bias in controls.logit_bias], device=device)
        self._penalizes = bool(
            controls.logit_bias
            or controls.repetition_penalty != 1.0
            or controls.frequency_penalty
            or controls.presence_penalty
        )

    def penalized(self, logits: Tensor, history: History) -> Tensor:
        """Logits (vocabulary,) after bias and penalties; the same tensor where none is set."""
        if not self._penalizes:
            return logits
        if self.controls.logit_bias:
            logits = logits.index_add(0, self._bias_ids, self._bias)
        seen, written, counts = history.tokens
        logits = repetition_penalized(logits, seen, self.controls.repetition_penalty)
        frequency, presence = self.controls.frequency_penalty, self.controls.presence_penalty
        return count_penalized(logits, written, counts, frequency, presence)

    def distribution(self, logits: Tensor, history: History) -> Tensor:
        """The probabilities (vocabulary,) that the next token is drawn from."""
        penalized = self.penalized(logits.float(), history)
        shaped = self._shape(penalized, torch.logsumexp(penalized, 0))
        if shaped.ids is None:
            return shaped.stages[-1]
        return torch.zeros_like(penalized).scatter(0, shaped.ids, shaped.stages[-1])

    @torch.inference_mode()
    def draw(
        self,
        logits: Tensor,
        history: History,
        stream: RandomStream,
        candidates: int,
        allowed: Tensor | None = None,
    ) -> Draw:
        """Choose the next token and record what it was chosen from.

        Args:
            logits: (vocabulary,) of any float type.
            history: Tokens so far.
            stream: Moves on by one draw.
            candidates: How many alternatives are recorded; the chosen token always is.
            allowed: (vocabulary,) booleans, the only tokens that may be chosen; counts as a penalty.

        Raises:
            InvalidLogits: A logit is NaN or +inf, or no token is left with a probability.
        """
        logits = logits.float()
        total = torch.logsumexp(logits, 0)
        if not math.isfinite(total.item()):
            raise InvalidLogits("The model returned logits that are no numbers (NaN or infinite).")
        penalized = self.penalized(logits, history)
        if allowed is not None:
            penalized = penalized.masked_fill(~allowed, -torch.inf)
        unchanged = penalized is logits
        penalized_total = total if unchanged else torch.logsumexp(penalized, 0)
        shaped = self._shape(penalized, penalized_total)
        place = shaped.choose(stream)
        stream.next()
        chosen = place if shaped.ids is None else shaped.ids[place]
        count = max(1, min(candidates, len(logits)))
        if unchanged and shaped.ids is not None and count <= len(shaped.ids):
            # The window is sorted by raw probability: its beginning are the candidates.
            places = _with_last(torch.arange(count, device=place.device), place)
            tokens = shaped.ids[places]
            after = [stage[places] for stage in shaped.stages]
        else:
            tokens = _with_last(top(logits, count)[1], chosen)
            after = shaped.at(tokens)
        raw = logits[tokens] - total
        heated = after[0] if shaped.heated is None else shaped.heated(penalized[tokens]).exp()
        if self.controls.top_k == 0 and shaped.heated is not None:
            after[0] = heated  # a candidate that was penalized out of the window was not cut by top-k
        before = [raw.exp(), (penalized[tokens] - penalized_total).exp(), heated]
        summary = torch.stack([_entropy(logits, total), *shaped.removed])
        values = torch.cat([summary, raw, *before, *after]).tolist()
        return _read_out(int(chosen), tokens.tolist(), values)

    def _shape(self, penalized: Tensor, total: Tensor) -> Shaped:
        """What temperature, top-k, top-p and min-p make of penalized logits with this log-sum-exp.

        Raises:
            InvalidLogits: No token is left with a probability.
        """
        controls = self.controls
        if not math.isfinite(total.item()):
            raise InvalidLogits(
                "The controls leave no token that could come next.", hint="Reset logit bias and penalties."
            )
        if controls.temperature < GREEDY_BELOW:
            return certain(penalized, total)
        return truncated(penalized, controls.temperature, controls.top_k, controls.top_p, controls.min_p)


def repetition_penalized(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive and multiply negative logits of the seen tokens (n,) by the penalty (CTRL, section
    4.1).
    """
    if penalty == 1.0:
        return logits
    values = logits[seen]
    return logits.index_copy(0, seen, torch.where(values < 0, values * penalty, values / penalty))


def count_penalized(
    logits: Tensor, written: Tensor, counts: Tensor, frequency: float, presence: float
) -> Tensor:
    """Subtract ``count * frequency + presence`` from the logits of the reply's tokens (n,) (OpenAI)."""
    if frequency == 0.0 and presence == 0.0:
        return logits
    return logits.index_add(0, written, -(counts * frequency + presence))


def _entropy(logits: Tensor, total: Tensor) -> Tensor:
    """Entropy of softmax(logits), whose log-sum-exp is ``total``."""
    # A probability below exp(-100) is 0 in float32, and 0 times a logarithm that is bounded is 0.
    logprobs = (logits - total).clamp_(min=-100.0)
    return -torch.dot(logprobs.exp(), logprobs)


def _with_last(values: Tensor, wanted: Tensor) -> Tensor:
    """The values, the last of which gives way to the wanted one if that is missing; no look at the values."""
    values[-1] = torch.where((values == wanted).any(), values[-1], wanted)
    return values


#: What a distribution goes through, in this order.
STAGES = ("raw", "penalties", "temperature", "top-k", "top-p", "min-p")


def _read_out(chosen: int, tokens: list[int], values: list[float]) -> Draw:
    """Take the numbers of a step apart: entropy, 5 removed masses, raw log-probabilities, 6 stages."""
    count = len(tokens)
    entropy, removed = values[0], (0.0, *values[1:6])
    logprobs, flat = values[6 : 6 + count], values[6 + count :]
    stages = [tuple(flat[start : start + count]) for start in range(0, len(flat), count)]
    place = tokens.index(chosen)
    return Draw(
        token=chosen,
        raw_logprob=logprobs[place],
        sampled_prob=stages[-1][place],
        entropy=entropy,
        candidates=list(zip(tokens, logprobs, stages[-1], strict=True)),
        stages=list(zip(STAGES, stages, removed, strict=True)),
    )


def check_controls(controls: SamplingControls, vocabulary: int | None = None) -> None:
    """Refuse values that mean nothing.

    Raises:
        InvalidRequest: With the control's name and its range.
    """
    checks = (
        ("Temperature", controls.temperature, 0.0, math.inf),
        ("Top-p", controls.top_p, 0.0, 1.0),
        ("Top-k", controls.top_k, 0, math.inf),
        ("Min-p", controls.min_p, 0.0, 1.0),
        ("Frequency penalty", controls.frequency_penalty, -math.inf, math.inf),
        ("Presence penalty", controls.presence_penalty, -math.inf, math.inf),
        ("Maximum new tokens", controls.max_new_tokens, 0, math.inf),
    )
    for name, value, lowest, highest in checks:
        if not (math.isfinite(value) and lowest <= value <= highest):
            raise InvalidRequest(f"{name} is {value}; it must be {_range(lowest, highest)}.")
    if not (math.isfinite(controls.repetition_penalty) and controls.repetition_penalty > 0.0):
        raise InvalidRequest(f"Repetition penalty is {controls.repetition_penalty}; it must be above 0.")
    for token, bias in controls.logit_bias:
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise InvalidRequest(f"Logit bias names token {token}, which the model does not have.")
        if math.isnan(bias) or bias == math.inf:
            raise InvalidRequest(f"The logit bias of token {token} is {bias}.")


def _range(lowest: float, highest: float) -> str:
    if math.isfinite(highest):
        return f"from {lowest:g} to {highest:g}"
    return f"{lowest:g} or more" if math.isfinite(lowest) else "a number"
