"""The families that need a word of their own, with the reason for each; everything else is read off a
config's fields or a model's structure.

Names are transformers' model types. A new family belongs here only if what it does can't be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: No layer attends, and their configs do not say so: ``layer_types`` is missing.
WITHOUT_ATTENTION = frozenset({"mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"})

#: They build their masks themselves: Bloom and Falcon with ALiBi take its slopes from a two-dimensional mask,
#: MPT turns any mask into yes and no. Factors go to the scores of their softmax instead of into a mask.
MASKS_OF_THEIR_OWN = frozenset({"bloom", "mpt"})
MASKS_OF_THEIR_OWN_WITH_ALIBI = frozenset({"falcon"})

#: Their layers are a class of their own, which bitsandbytes does not replace.
OWN_LINEAR_CLASS = frozenset({"falcon"})

#: Their code takes these layers' weights as they are, past the layer, so they can't be packed.
KEPT_WHOLE = {"mamba": ("dt_proj",), "falcon_mamba": ("dt_proj",)}

#: They keep causal masks as buffers, one for each pair of positions: how many of them.
MASK_BUFFERS = {"gpt_neo": "each layer", "gpt_bigcode": "one"}

#: One key head for all queries unless ``multi_query`` is off; no other field says so.
ONE_KEY_HEAD = frozenset({"falcon", "gpt_bigcode"})

#: ``max_position_embeddings`` is the length after scaling, whatever kind of scaling the config names.
SCALED_LENGTH = ("gemma3",)

#: Where older configs name no ``layer_types``: of how many layers the last one sees everything.
WINDOW_PERIODS = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}


def attends(config: Mapping[str, Any]) -> bool:
    """Whether any layer attends to earlier tokens."""
    return config.get("model_type") not in WITHOUT_ATTENTION


def masks_of_its_own(config: Any) -> bool:
    """Whether a model, given its transformers config, makes something else of a mask than adding it."""
    family = config.model_type
    alibi = family in MASKS_OF_THEIR_OWN_WITH_ALIBI and bool(getattr(config, "alibi", False))
    return alibi or family in MASKS_OF_THEIR_OWN
