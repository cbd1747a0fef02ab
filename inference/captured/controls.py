"""The controls as tensors on the device, which a captured step reads: a change is a copy, no new capture."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from inference.events import SamplingControls, SteeringOptions
from inference.generation.random_stream import RandomStream
from inference.steering import log_bias

#: Places in :attr:`ControlBuffers.numbers`.
TEMPERATURE, TOP_P, MIN_P, REPETITION, FREQUENCY, PRESENCE, ENTROPY_THRESHOLD, ENTROPY_BIAS = range(8)
#: Places in :attr:`ControlBuffers.whole`.
TOP_K, KEY, STEP = range(3)


class ControlBuffers:
    """What the user may move, and what the penalties look at.

    Attributes:
        numbers: (8,) float64, by the places above.
        whole: (3,) int64: top-k, the random stream's key, and the number of the next draw.
        bias: (vocabulary,) float32 logit bias.
        seen: (vocabulary,) bool: tokens of prompt and reply.
        counts: (vocabulary,) float32: how often each token came in the reply.
    """

    def __init__(self, vocabulary: int, device: torch.device) -> None:
        self.vocabulary, self.device = vocabulary, device
        self.numbers = torch.zeros(8, dtype=torch.float64, device=device)
        self.whole = torch.zeros(3, dtype=torch.long, device=device)
        self.bias = torch.zeros(vocabulary, device=device)
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        self.counts = torch.zeros(vocabulary, device=device)
        self._bias: tuple[tuple[int, float], ...] = ()
        self._held: deque[Tensor] = deque(maxlen=16)

    @torch.inference_mode()
    def set_controls(self, controls: SamplingControls) -> None:
        """Let other controls act on the next draw; the seed is :meth:`restart`'s."""
        steering = controls.steering
        threshold = steering.entropy_threshold
        numbers = (
            controls.temperature,
            controls.top_p,
            controls.min_p,
            controls.repetition_penalty,
            controls.frequency_penalty,
            controls.presence_penalty,
            math.inf if threshold is None else threshold,
            own_bias(steering),
        )
        _put(self.numbers, numbers, self._held)
        _put(self.whole[:1], [min(controls.top_k, self.vocabulary)], self._held)
        if controls.logit_bias != self._bias:
            self._bias = controls.logit_bias
            self.bias.zero_()
            if self._bias:
                ids = torch.tensor([token for token, _ in self._bias], device=self.device)
                self.bias.index_add_(0, ids, torch.tensor([b for _, b in self._bias], device=self.device))

    @torch.inference_mode()
    def set_history(self, read: Sequence[int], written: Sequence[int]) -> None:
        """Tokens of the prompt, and of the reply so far."""
        self.seen.zero_()
        self.counts.zero_()
        seen = {token for token in (*read, *written) if token < self.vocabulary}
        self.seen[torch.tensor(sorted(seen), dtype=torch.long, device=self.device)] = True
        came = torch.tensor([t for t in written if t < self.vocabulary], dtype=torch.long, device=self.device)
        self.counts.index_add_(0, came, torch.ones(len(came), device=self.device))

    @torch.inference_mode()
    def restart(self, stream: RandomStream) -> None:
        """Go on with a random stream where it is."""
        _put(self.whole[1:], [stream.key, stream.step], self._held)

    def bytes(self) -> int:
        """Memory of all of them."""
        tensors = (self.numbers, self.whole, self.bias, self.seen, self.counts)
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


def own_bias(options: SteeringOptions) -> float:
    """What is kept for the key of a token that the model was unsure of, in the form that the mode has."""
    factor = options.entropy_factor
    return log_bias(factor) if options.mode == "log-additive" else factor - 1.0


def _put(buffer: Tensor, values: Sequence[float], held: deque[Tensor]) -> None:
    """Copy a few numbers into a buffer without waiting for the device; they are held meanwhile."""
    source = torch.tensor(values, dtype=buffer.dtype)
    held.append(source.pin_memory() if buffer.is_cuda else source)
    buffer.copy_(held[-1], non_blocking=True)
