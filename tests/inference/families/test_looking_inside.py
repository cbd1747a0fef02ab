"""Logit lens and attention maps of every family, against what transformers tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from inference.events import AttentionMap, AttentionRequest, LensRequest, LensRow
from inference.running import new_run_id

Unless = Callable[[Callable[[], Any]], Any]


@pytest.mark.column("logit lens")
@pytest.mark.every_family
def test_the_last_row_of_the_lens_is_what_the_model_says(case: Any, unless_lacking: Unless) -> None:
    """Final norm, scales and soft-capping included; the rows before it are other distributions."""
    request = LensRequest(run_id=new_run_id(), prompt=case.text)
    rows = unless_lacking(lambda: [e for e in case.run(case.session, request) if isinstance(e, LensRow)])
    if rows is None:
        return
    logprobs = case.teacher_forced(case.ids)
    last = max(rows, key=lambda row: row.layer)
    assert last.layer == len(rows) - 1 == case.session.loaded.info.layers
    followed = logprobs[:-1].gather(-1, torch.tensor(case.ids[1:])[:, None])[:, 0].exp()
    torch.testing.assert_close(torch.tensor(last.followed_probs[:-1]), followed, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(
        torch.tensor(last.entropies), torch.special.entr(logprobs.exp()).sum(-1), atol=2e-3, rtol=1e-3
    )
    assert all(row.top_probs != last.top_probs for row in rows if row is not last)


@pytest.mark.column("attention maps")
@pytest.mark.every_family
def test_attention_maps_are_the_weights_that_transformers_tells(case: Any, unless_lacking: Unless) -> None:
    """Of one layer that attends; a window hides the same keys in both."""
    layer = _attending_layer(case)
    request = AttentionRequest(run_id=new_run_id(), prompt=case.text, layers=(layer,))
    maps = unless_lacking(lambda: [e for e in case.run(case.session, request) if isinstance(e, AttentionMap)])
    if maps is None:
        return
    expected = _told(case, layer)
    assert len(maps) == len(expected)
    for head, each in enumerate(maps):
        shape = (each.rows, each.columns)
        weights = torch.frombuffer(bytearray(each.weights), dtype=torch.float16).view(shape).float()
        torch.testing.assert_close(weights, expected[head], atol=1e-3, rtol=1e-2)


def _attending_layer(case: Any) -> int:
    """The last layer that attends to keys."""
    config = case.original.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    return max(
        (
            i
            for i, kind in enumerate(kinds)
            if kind.endswith(("full_attention", "sliding_attention", "chunked_attention"))
        ),
        default=0,
    )


def _told(case: Any, layer: int) -> torch.Tensor:
    """(heads, queries, keys) from ``output_attentions`` of the original, computed the plain way."""
    before = case.original.config._attn_implementation
    case.original.config._attn_implementation = "eager"
    try:
        with torch.no_grad():
            given = torch.tensor([case.ids])
            told = case.original(input_ids=given, output_attentions=True, use_cache=False).attentions
    finally:
        case.original.config._attn_implementation = before
    present = [each for each in told if each is not None]
    kinds = getattr(case.original.config, "layer_types", None) or ["full_attention"] * len(told)
    attending = [
        index for index, kind in enumerate(kinds) if kind.endswith("attention") and kind != "linear_attention"
    ]
    return (told[layer] if len(present) == len(kinds) else present[attending.index(layer)])[0].float()
