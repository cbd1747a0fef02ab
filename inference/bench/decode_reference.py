"""What a GPU's decoding is measured against: transformers' own loop, the memory's speed, the host's."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel


def generate_speeds(loaded: LoadedModel, ids: list[int], arguments: argparse.Namespace) -> list[float]:
    """Tokens a second of transformers' own loop, of each round: the tokens behind the first one, so that the
    prompt's share is taken off."""
    import torch

    model: Any = loaded.model
    given = torch.tensor([ids], device=loaded.device)

    def seconds(count: int) -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        out = model.generate(
            given,
            attention_mask=torch.ones_like(given),
            min_new_tokens=count,
            max_new_tokens=count,
            do_sample=True,
            temperature=arguments.temperature,
            top_p=arguments.top_p,
            top_k=0,
            eos_token_id=None,
            pad_token_id=0,
        )
        torch.cuda.synchronize()
        assert out.shape[1] == len(ids) + count
        return time.perf_counter() - began

    seconds(8)  # libraries load their kernels, allocators fill
    count: int = arguments.reference_tokens
    found = []
    for _ in range(arguments.reference_rounds):
        first = seconds(1)
        found.append((count - 1) / (seconds(count) - first))
    return found


def launch_microseconds() -> float:
    """What the host needs to enqueue one small operation of torch: tells a busy host from a quiet one."""
    import torch

    x = torch.zeros(1, device="cuda")
    for _ in range(200):
        x.add_(1)
    torch.cuda.synchronize()
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(500):
            x.add_(1)
        rounds.append((time.perf_counter() - began) / 500)
        torch.cuda.synchronize()
    return 1e6 * statistics.median(rounds)


def copy_bandwidth() -> float:
    """Bytes a second of a device copy, read and written bytes counted: what the memory gives here."""
    import torch

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    target.copy_(source)
    event: Any = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    for _ in range(10):
        target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    return float(10 * 2 * source.numel() / (start.elapsed_time(end) * 1e-3))


def bytes_a_token(loaded: LoadedModel, positions: int) -> tuple[int, int]:
    """Bytes that one step has to read: all weights but the rows of the embedding, and the cache."""
    model: Any = loaded.model
    embedding = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is embedding
    weights = loaded.weight_bytes() - (0 if tied else embedding.numel() * embedding.element_size())
    return weights, positions * loaded.info.kv_bytes_per_token
