"""Longer contexts than a model was trained for: its rotary positions are stretched at load.

The arithmetic is transformers' own (``ROPE_INIT_FUNCTIONS``): linear interpolation (Chen et al. 2023,
arXiv:2306.15595), dynamic NTK (bloc97 2023), YaRN (Peng et al. 2023, arXiv:2309.00071). Here a config only
gets the parameters that choose it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.errors import InvalidRequest, NotAvailable
from inference.events import RopeScaling

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

#: More than this no method was shown to bear.
LARGEST_FACTOR = 64.0

NAMES = {"linear": "linear interpolation", "dynamic": "dynamic NTK", "yarn": "YaRN"}


def check(scaling: RopeScaling) -> None:
    """Refuse a scaling that makes no sense.

    Raises:
        InvalidRequest: Unknown kind, or a factor outside of 1 to :data:`LARGEST_FACTOR`.
    """
    if scaling.kind not in NAMES:
        raise InvalidRequest(
            f"There is no RoPE scaling {scaling.kind!r}.", hint=f"Use one of {', '.join(NAMES)}."
        )
    if not 1.0 < scaling.factor <= LARGEST_FACTOR:
        raise InvalidRequest(f"Positions can be stretched by a factor above 1, at most {LARGEST_FACTOR:g}.")


def stretched(length: int, scaling: RopeScaling | None) -> int:
    """The context of a model that was trained on ``length`` tokens."""
    return length if scaling is None else round(length * scaling.factor)


def warning(trained: int, scaling: RopeScaling) -> str:
    """What the user should know of a stretched model."""
    return (
        f"Trained on {trained:,} tokens; positions are stretched {scaling.factor:g} times by "
        f"{NAMES[scaling.kind]}. Replies may be weaker, beyond {trained:,} tokens most of all."
    )


def apply(config: PreTrainedConfig, scaling: RopeScaling, trained: int) -> None:
    """Make a model of this config stretch its positions; windows keep theirs.

    Args:
        config: Is changed.
        scaling: How.
        trained: Tokens that the model was trained on.

    Raises:
        NotAvailable: The model has no rotary positions, or its files stretch them already.
    """
    text: Any = config.get_text_config(decoder=True)
    parameters = getattr(text, "rope_parameters", None)
    if not parameters:
        raise NotAvailable(
            "The context can't be stretched: this model has no rotary positions.",
            hint="Load it without RoPE scaling.",
        )
    nested = {name: each for name, each in parameters.items() if isinstance(each, dict)}
    for each in nested.values() if nested else (parameters,):
        if nested and each is nested.get("sliding_attention"):
            continue
        kind = each.get("rope_type", "default")
        if kind != "default":
            raise NotAvailable(
                f"The context can't be stretched: the model's files do so already ({kind}).",
                hint="Load it without RoPE scaling.",
            )
        each["rope_type"] = scaling.kind
        each["factor"] = float(scaling.factor)
        if scaling.kind != "linear":
            each["original_max_position_embeddings"] = trained
