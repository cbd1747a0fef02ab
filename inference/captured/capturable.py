"""Which models' steps can have fixed shapes, as far as their configurations tell."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import DynamicSlidingWindowLayer

from inference.errors import NotAvailable
from inference.passes.attention_masks import mask_layout
from inference.passes.kv_cache import BufferedLayer, new_cache

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

#: Layers of a cache whose keys a step can keep: those of a window are kept all and masked.
_ATTENDING = (BufferedLayer, DynamicSlidingWindowLayer)
#: Share of the GPU's free memory that the keys and values of a whole context may take.
_ROOM_FOR_KEYS = 0.9


def why_not(loaded: LoadedModel) -> str:
    """Why a model's step can't have fixed shapes; empty if it can, as far as its configuration tells."""
    parameters = inspect.signature(loaded.model.forward).parameters
    if "past_key_values" not in parameters or "attention_mask" not in parameters:
        return "its architecture keeps no keys and values"
    places = {str(place) for place in (getattr(loaded.model, "hf_device_map", None) or {}).values()}
    if len(places) > 1:
        return "it is spread over several devices"
    layers = new_cache(loaded.model.config).layers
    if not layers or not all(type(layer) in _ATTENDING for layer in layers):
        return "some of its layers keep a state instead of keys and values"
    try:
        layout = mask_layout(loaded.model.config)
    except NotAvailable:
        return "its architecture has no attention"
    if layout.own_masks:
        return "it makes its attention masks itself"
    if any(type(layer) is DynamicSlidingWindowLayer for layer in layers) and not _all_keys_fit(loaded):
        return "keys outside of its windows would not fit on the GPU; they would with a shorter context"
    return ""


def _all_keys_fit(loaded: LoadedModel) -> bool:
    """Whether there is room for the keys of a whole context in layers that would forget most of them."""
    if loaded.device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(loaded.device)
    return loaded.info.kv_bytes_per_token * loaded.context_length <= _ROOM_FOR_KEYS * free
