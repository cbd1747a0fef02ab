"""Logits -> distribution -> token: small pure functions, each the published definition of its control.

The order is raw -> penalties (logit bias, repetition, frequency, presence) -> temperature -> top-k -> top-p
-> min-p, which is transformers' order. The whole distribution is never sorted where a window of its top is
enough: a window is enough when the cut of top-k and top-p lies inside of it, which is checked; if not, a
larger one is taken, at last all.

Sources: repetition penalty: Keskar et al. 2019, arXiv:1909.05858, section 4.1, as in transformers;
frequency and presence penalties: OpenAI's API reference; top-p: Holtzman et al. 2019, arXiv:1904.09751;
min-p: Nguyen et al. 2024, arXiv:2407.01082; the draw: argmax(p / Exp(1)), the exponential race, a form of
the Gumbel-max trick.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import InvalidLogits, InvalidRequest
from inference.events import SamplingControls

#: Sizes of the top windows that are tried before the whole vocabulary is sorted.
_WINDOWS = (256, 4096)


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
        vocabulary: Number of logits.
    """

    def __init__(
        self, read: Sequence[int], written: Sequence[int], vocabulary: int, device: torch.device
    ) -> None:
        self.counts = torch.zeros(vocabulary, device=device)
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        # Some models have more embeddings than logits.
        known = [token for token in (*read, *written) if token < vocabulary]
        self.seen[torch.tensor(known, dtype=torch.long, device=device)] = True
        for token in written:
            self.add(token)

    def add(self, token: int) -> None:
        """The reply has grown by a token."""
        if token < len(self.counts):
            self.counts[token] += 1
            self.seen[token] = True


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
        logits = repetition_penalized(logits, history.seen, self.controls.repetition_penalty)
        return count_penalized(
            logits, history.counts, self.controls.frequency_penalty, self.controls.presence_penalty
        )

    def distribution(self, logits: Tensor, history: History) -> Tensor:
        """The probabilities (vocabulary,) that the next token is drawn from."""
        shaped, _ = self._shape(self.penalized(logits.float(), history))
        probs = shaped.stages[-1]
        if shaped.ids is None:
            return probs
        return torch.zeros(len(logits), dtype=probs.dtype, device=probs.device).scatter(0, shaped.ids, probs)

    @torch.inference_mode()
    def draw(
        self,
        logits: Tensor,
        history: History,
        generator: torch.Generator,
        candidates: int,
        allowed: Tensor | None = None,
    ) -> Draw:
        """Choose the next token and record what it was chosen from.

        Args:
            logits: (vocabulary,) of any float type.
            history: Tokens so far.
            generator: Advanced by an amount that depends on the controls and the logits only.
            candidates: How many alternatives are recorded; the chosen token always is.
            allowed: (vocabulary,) booleans, the only tokens that may be chosen; counts as a penalty.

        Raises:
            InvalidLogits: A logit is NaN or +inf, or no token is left with a probability.
        """
        logits = logits.float()
        total = torch.logsumexp(logits, 0)
        if not math.isfinite(total.item()):
            raise InvalidLogits("The model returned logits that are no numbers (NaN or infinite).")
        raw = logits - total
        entropy = torch.special.entr(raw.exp()).sum()
        penalized = self.penalized(logits, history)
        if allowed is not None:
            penalized = penalized.masked_fill(~allowed, -torch.inf)
        shaped, before = self._shape(penalized)
        chosen = shaped.choose(generator, greedy=self.controls.temperature == 0.0)
        shown = _with_chosen(_top(logits, shaped, candidates, ordered=penalized is logits), chosen)
        stages = torch.stack([raw[shown].exp(), *(stage[shown] for stage in before), *shaped.at(shown)])
        values = torch.cat([torch.stack([entropy, *shaped.removed]), raw[shown], stages.flatten()]).tolist()
        return _read_out(int(chosen), shown.tolist(), values)

    def _shape(self, penalized: Tensor) -> tuple[_Shaped, list[Tensor]]:
        """The truncated distribution, and the whole ones after penalties and temperature.

        Raises:
            InvalidLogits: No token is left with a probability.
        """
        controls = self.controls
        total = torch.logsumexp(penalized, 0)
        if not math.isfinite(total.item()):
            raise InvalidLogits(
                "The controls leave no token that could come next.", hint="Reset logit bias and penalties."
            )
        probs = (penalized - total).exp()
        if controls.temperature == 0.0:
            return _one_hot(probs, int(penalized.argmax())), [probs]
        # The highest logit is moved to 0 first, so that a very low temperature can't overflow.
        scaled = penalized - penalized.max()
        if controls.temperature != 1.0:
            scaled = scaled / controls.temperature
        scaled = scaled - torch.logsumexp(scaled, 0)
        heated = scaled.exp()
        return truncated(heated, controls.top_k, controls.top_p, controls.min_p), [probs, heated]


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A truncated distribution over some tokens.

    ``ids`` (n,) are the tokens, None for the whole vocabulary; ``stages`` are their probabilities (n,)
    after top-k, top-p and min-p (and temperature, where that alone decides); ``removed`` is the mass that
    penalties, temperature, top-k, top-p and min-p took away.
    """

    ids: Tensor | None
    stages: tuple[Tensor, ...]
    removed: tuple[Tensor, ...]

    def choose(self, generator: torch.Generator, *, greedy: bool) -> Tensor:
        probs = self.stages[-1]
        if greedy:
            place = probs.argmax()
        else:
            noise = torch.empty_like(probs).exponential_(generator=generator).clamp_(min=1e-30)
            place = (probs / noise).argmax()
        return place if self.ids is None else self.ids[place]

    def at(self, tokens: Tensor) -> list[Tensor]:
        """Each stage's probabilities of the given tokens."""
        if self.ids is None:
            return [stage[tokens] for stage in self.stages]
        match = (tokens[:, None] == self.ids[None, :]).to(self.stages[0].dtype)
        return [match @ stage for stage in self.stages]


def repetition_penalized(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive and multiply negative logits of seen tokens by the penalty (CTRL, section 4.1)."""
    if penalty == 1.0:
        return logits
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def count_penalized(logits: Tensor, counts: Tensor, frequency: float, presence: float) -> Tensor:
    """Subtract ``count * frequency + (count > 0) * presence``, with counts of the reply's tokens (OpenAI)."""
    if frequency == 0.0 and presence == 0.0:
        return logits
    return logits - (counts * frequency + (counts > 0) * presence)


def truncated(probs: Tensor, top_k: int, top_p: float, min_p: float) -> _Shaped:
    """Apply top-k, top-p and min-p to probabilities (vocabulary,).

    Ties at the top-k cut all stay, as in transformers.
    """
    nothing = probs.new_zeros(())
    if top_k == 0 and top_p >= 1.0:
        kept, removed = _min_p(probs, min_p)
        return _Shaped(None, (probs, probs, kept), (nothing, nothing, nothing, nothing, removed))
    vocabulary = len(probs)
    for size in (*_WINDOWS, vocabulary):
        if size < vocabulary and size <= top_k:
            continue
        window, ids = probs.topk(min(size, vocabulary))
        after_k, removed_k = _top_k(window, top_k)
        after_p, removed_p = _top_p(after_k, top_p)
        # The cut is inside the window exactly if its last token did not stay.
        if size >= vocabulary or after_p[-1].item() == 0.0:
            break
    after_min, removed_min = _min_p(after_p, min_p)
    return _Shaped(ids, (after_k, after_p, after_min), (nothing, nothing, removed_k, removed_p, removed_min))


def _top_k(window: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Keep what is at least as likely as the k-th token of a descending window."""
    if top_k == 0:
        return window, window.new_zeros(())
    return _renormalized(window, window >= window[min(top_k, len(window)) - 1])


def _top_p(window: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Keep each token of a descending window for as long as the mass above it is below ``top_p``."""
    if top_p >= 1.0:
        return window, window.new_zeros(())
    exact = window.double()
    stays = (exact.cumsum(0) - exact) < top_p
    stays[0] = True
    return _renormalized(window, stays)


def _min_p(probs: Tensor, min_p: float) -> tuple[Tensor, Tensor]:
    """Keep what has at least ``min_p`` times the probability of the most likely token."""
    if min_p == 0.0:
        return probs, probs.new_zeros(())
    return _renormalized(probs, probs >= min_p * probs.max())


def _renormalized(probs: Tensor, stays: Tensor) -> tuple[Tensor, Tensor]:
    """The kept probabilities, summing to 1, and the mass that went (of the 1 that there was)."""
    kept = torch.where(stays, probs, 0.0)
    mass = kept.sum()
    return kept / mass, (1.0 - mass).clamp(0.0, 1.0)


def _one_hot(probs: Tensor, chosen: int) -> _Shaped:
    """Temperature 0: all mass on the most likely token."""
    certain = torch.zeros_like(probs)
    certain[chosen] = 1.0
    nothing = probs.new_zeros(())
    return _Shaped(None, (certain,) * 4, (nothing, 1.0 - probs[chosen], nothing, nothing, nothing))


def _top(logits: Tensor, shaped: _Shaped, count: int, *, ordered: bool) -> Tensor:
    """The most likely tokens by raw probability; a sorted window has them if nothing changed the order."""
    count = max(1, min(count, len(logits)))
    if ordered and shaped.ids is not None and count <= len(shaped.ids):
        return shaped.ids[:count]
    return logits.topk(count).indices


def _with_chosen(tokens: Tensor, chosen: Tensor) -> Tensor:
    """The tokens, the last of which gives way to the chosen one if that is missing; no look at the values."""
    tokens = tokens.clone()
    tokens[-1] = torch.where((tokens == chosen).any(), tokens[-1], chosen)
    return tokens


_STAGES = ("raw", "penalties", "temperature", "top-k", "top-p", "min-p")


def _read_out(chosen: int, tokens: list[int], values: list[float]) -> Draw:
    """Take the numbers of a step apart: entropy, 5 removed masses, raw log-probabilities, 6 stages."""
    count = len(tokens)
    entropy, removed = values[0], (0.0, *values[1:6])
    logprobs = values[6 : 6 + count]
    flat = values[6 + count :]
    stages = [tuple(flat[start : start + count]) for start in range(0, len(flat), count)]
    place = tokens.index(chosen)
    return Draw(
        token=chosen,
        raw_logprob=logprobs[place],
        sampled_prob=stages[-1][place],
        entropy=entropy,
        candidates=list(zip(tokens, logprobs, stages[-1], strict=True)),
        stages=list(zip(_STAGES, stages, removed, strict=True)),
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
            raise InvalidRequest(f"{name} is {value}, which is out of its range.")
    if not (math.isfinite(controls.repetition_penalty) and controls.repetition_penalty > 0.0):
        raise InvalidRequest(f"Repetition penalty is {controls.repetition_penalty}; it must be above 0.")
    for token, bias in controls.logit_bias:
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise InvalidRequest(f"Logit bias names token {token}, which the model does not have.")
        if math.isnan(bias) or bias == math.inf:
            raise InvalidRequest(f"The logit bias of token {token} is {bias}.")
