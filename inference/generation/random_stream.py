"""Random numbers that depend on a seed, the step and the token only, not on how or where they are computed.

The loop that runs step by step, a captured step and a kernel draw the same numbers, a window of the
vocabulary gets those that the whole would get, and a step that is taken back and done again gets them again.
The generator is SplitMix64 (Steele, Lea, Flood 2014, with Stafford's mix 13): output ``n`` is a mix of
``key + n * gamma``, and token ``id`` of step ``t`` has ``n = t * 2**32 + id``.
"""

from __future__ import annotations

from torch import Tensor

_MASK = (1 << 64) - 1


def signed(value: int) -> int:
    """The 64-bit number with these bits, as torch holds it."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


GAMMA = signed(0x9E3779B97F4A7C15)
MIX_1 = signed(0xBF58476D1CE4E5B9)
MIX_2 = signed(0x94D049BB133111EB)


def key_of(seed: int) -> int:
    """The stream's start, from any integer; seeds that are close give starts that are not."""
    z = (seed * 2 + 1) & _MASK
    for _ in range(2):
        z = (z + GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * (MIX_1 & _MASK)) & _MASK
        z = ((z ^ (z >> 27)) * (MIX_2 & _MASK)) & _MASK
        z ^= z >> 31
    return signed(z)


def exponentials(key: Tensor | int, step: Tensor | int, ids: Tensor) -> Tensor:
    """Numbers from Exp(1), one a token.

    Args:
        key: Of :func:`key_of`, an int or int64 (1,).
        step: Number of the draw, an int or int64 (1,).
        ids: (n,) int64.

    Returns:
        (n,) float32, above 0.
    """
    z = (ids + step * (1 << 32)) * GAMMA + key
    z = (z ^ _shifted(z, 30)) * MIX_1
    z = (z ^ _shifted(z, 27)) * MIX_2
    # The 52 highest bits of z ^ (z >> 31).
    bits = _shifted(z ^ _shifted(z, 31), 12)
    uniform = (bits.double() + 0.5) * 2.0**-52
    return uniform.log().neg().float()


def _shifted(values: Tensor, bits: int) -> Tensor:
    """Shifted right with zeros coming in; torch's own shift brings in the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


class RandomStream:
    """The draws of one run, one step after the other."""

    def __init__(self, seed: int) -> None:
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Begin another stream."""
        self.key, self.step = key_of(seed), 0

    def race(self, weights: Tensor, ids: Tensor) -> Tensor:
        """The place (no dimensions) drawn in proportion to weights (n,) of the tokens ``ids`` (n,): the first
        of exponential arrivals with these rates.
        """
        noise = exponentials(self.key, self.step, ids)
        return weights.div(noise).argmax()

    def next(self) -> None:
        """The draw is done."""
        self.step += 1
