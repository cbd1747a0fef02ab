"""Temperature, top-k, top-p and min-p on logits, and the draw from what is left.

The whole distribution is never sorted where a window of its top is enough: a window is enough when the cut of
top-k and top-p lies inside of it, which is checked; if not, a larger one is taken, at last all.

Sources: top-p: Holtzman et al. 2019, arXiv:1904.09751; min-p: Nguyen et al. 2024, arXiv:2407.01082; the draw:
argmax(p / Exp(1)), the exponential race, a form of the Gumbel-max trick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.generation.random_stream import RandomStream

#: Sizes of the top windows that are tried before the whole vocabulary is sorted.
_WINDOWS = (64, 512, 4096)
_BLOCK = 64
#: Temperatures below this are 0: float32 has hardly any smaller numbers to divide by.
GREEDY_BELOW = 1e-30


@dataclass(frozen=True, slots=True)
class Shaped:
    """A truncated distribution over some tokens.

    ``ids`` (n,) are the tokens, likeliest first, None for the whole vocabulary in its order; ``stages`` are
    their probabilities (n,) after top-k, top-p and min-p; ``removed`` is the mass that penalties,
    temperature, top-k, top-p and min-p took away; ``heated`` gives the log-probabilities after temperature
    of some penalized logits (None at temperature 0, where one token has it all).
    """

    ids: Tensor | None
    stages: tuple[Tensor, Tensor, Tensor]
    removed: tuple[Tensor, ...]
    heated: Callable[[Tensor], Tensor] | None

    def choose(self, stream: RandomStream) -> Tensor:
        """Draw a place in ``stages``."""
        probs = self.stages[-1]
        if len(probs) == 1:
            return probs.new_zeros((), dtype=torch.long)
        ids = torch.arange(len(probs), device=probs.device) if self.ids is None else self.ids
        return stream.race(probs, ids)

    def at(self, tokens: Tensor) -> list[Tensor]:
        """Each stage's probabilities of the given tokens."""
        if self.ids is None:
            return [stage[tokens] for stage in self.stages]
        match = (tokens[:, None] == self.ids[None, :]).to(self.stages[0].dtype)
        return [match @ stage for stage in self.stages]


def truncated(logits: Tensor, temperature: float, top_k: int, top_p: float, min_p: float) -> Shaped:
    """Apply temperature, top-k, top-p and min-p to logits (vocabulary,).

    Ties at the top-k cut all stay, as in transformers.
    """
    nothing = logits.new_zeros(())
    highest = logits.max()

    def heat(values: Tensor) -> Tensor:
        # The highest logit is moved to 0 first, so that a very low temperature can't overflow.
        return (values - highest).div_(temperature)

    total = torch.logsumexp(heat(logits), 0)

    def heated(values: Tensor) -> Tensor:
        return heat(values).sub_(total)

    if top_k == 0 and top_p >= 1.0:
        probs = heated(logits).exp_()
        kept, removed = _min_p(probs, min_p)
        return Shaped(None, (probs, probs, kept), (nothing,) * 4 + (removed,), heated)
    vocabulary = len(logits)
    for size in (*_WINDOWS, vocabulary):
        if size < vocabulary and size <= top_k:
            continue
        window, ids = top(logits, min(size, vocabulary))
        after_k, removed_k = _top_k(heated(window).exp_(), top_k)
        after_p, removed_p = _top_p(after_k, top_p)
        # The cut is inside the window exactly if its last token did not stay.
        if size >= vocabulary or after_p[-1].item() == 0.0:
            break
    after_min, removed_min = _min_p(after_p, min_p)
    removed_masses = (nothing, nothing, removed_k, removed_p, removed_min)
    return Shaped(ids, (after_k, after_p, after_min), removed_masses, heated)


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


def certain(penalized: Tensor, total: Tensor) -> Shaped:
    """Temperature 0: all mass on the most likely token."""
    chosen = penalized.argmax()
    one, nothing = penalized.new_ones(1), penalized.new_zeros(())
    lost = 1.0 - (penalized[chosen] - total).exp()
    return Shaped(chosen[None], (one, one, one), (nothing, lost, nothing, nothing, nothing), None)


def top(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """``values.topk(count)``, some ten times faster where ``count`` is small against a large vocabulary.

    The largest ``count`` values lie in those ``count`` blocks that have the largest maxima.
    """
    if len(values) < 8 * _BLOCK * count:
        found = values.topk(count)
        return found.values, found.indices
    whole = len(values) // _BLOCK * _BLOCK
    blocks = values[:whole].view(-1, _BLOCK).amax(1).topk(count, sorted=False).indices
    inside = torch.arange(_BLOCK, device=values.device)
    tail = torch.arange(whole, len(values), device=values.device)
    ids = torch.cat([(blocks[:, None] * _BLOCK + inside).flatten(), tail])
    found = values[ids].topk(count)
    return found.values, ids[found.indices]
