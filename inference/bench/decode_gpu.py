"""What ``bench decode`` measures on a GPU: the captured loop as the window runs it, and what bounds it."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inference.bench.decode_reference import (
    bytes_a_token,
    copy_bandwidth,
    generate_speeds,
    launch_microseconds,
)
from inference.command_line import RunFailed, print_json
from inference.engine import Engine
from inference.events import (
    AttentionControl,
    Failed,
    Finished,
    GenerateRequest,
    SamplingControls,
    Token,
)
from inference.models.loaded_model import LoadedModel
from inference.running import RunHandle, new_run_id
from inference.session import Session

#: A control is moved every so many tokens: some five times a second.
_EVERY = 64


def measure(loaded: LoadedModel, arguments: argparse.Namespace, build_seconds: float) -> None:
    """Print one line for each context length.

    Raises:
        RunFailed: A run failed.
    """
    import torch

    bandwidth = copy_bandwidth()
    for prompt_tokens in arguments.context or [arguments.prompt_tokens]:
        torch.cuda.reset_peak_memory_stats()
        ids = _ids(loaded, prompt_tokens)
        reference = generate_speeds(loaded, ids, arguments) if arguments.reference_tokens else []
        session = Session()
        session.engine = Engine(loaded)
        print_json(_line(session, ids, arguments, bandwidth, reference) | {"build_seconds": build_seconds})
        session.engine.free_cache()
        session.engine.kernels.uninstall()  # the next line's reference is transformers' own again


def _line(
    session: Session,
    ids: list[int],
    arguments: argparse.Namespace,
    bandwidth: float,
    reference: list[float],
) -> dict[str, Any]:
    import torch

    engine = session.require_engine()
    loaded = engine.loaded
    first = decode_once(session, ids, replace(_controls(arguments), max_new_tokens=8), arguments)  # captures
    runs = [decode_once(session, ids, _controls(arguments), arguments) for _ in range(arguments.rounds)]
    speed = statistics.median(run["tokens_per_second"] for run in runs)
    generate = statistics.median(reference) if reference else None
    weights, cache = bytes_a_token(loaded, len(ids) + arguments.new_tokens // 2)
    floor = (weights + cache) / bandwidth
    result = {
        "event": "benchmark",
        "benchmark": "decode",
        "model": loaded.info.name,
        "quantization": loaded.quantization,
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "prompt_tokens": len(ids),
        "new_tokens": arguments.new_tokens,
        "candidates": arguments.candidates,
        "path": runs[0]["path"],
        "path_reason": runs[0]["path_reason"],
        "tokens_per_second": round(speed, 1),
        "spread": [round(run["tokens_per_second"], 1) for run in runs],
        "ms_a_step": round(1e3 / speed, 3),
        "first_prefill_seconds": round(first["prefill"], 3),
        "reused_prefill_seconds": [round(run["prefill"], 4) for run in runs],
        "prefill_seconds": prefill_seconds(session, ids, arguments),
        "copy_bytes_per_second": round(bandwidth),
        "bytes_a_token": {"weights": weights, "kv_cache": cache},
        "floor_ms": round(1e3 * floor, 3),
        "share_of_floor": round(floor * speed, 3),
        "generate_tokens_per_second": generate and round(generate, 1),
        "generate_spread": [round(each, 1) for each in reference],
        "ratio_to_generate": generate and round(speed / generate, 2),
        "host_launch_microseconds": round(launch_microseconds(), 2),
        "peak_gpu_bytes": torch.cuda.max_memory_allocated(),
        "memory": runs[-1]["memory"],
    }
    installed = engine.kernels
    result["kernels"] = {"linears": installed.linears, "kept": installed.kept, "layers": installed.layers}
    if engine.runner is not None and runs[0]["path"] == "captured":
        result["device_ms"] = _device_times(engine)
    if arguments.live:
        result["live_changes"] = _live(session, ids, arguments)
    return result


def _controls(arguments: argparse.Namespace) -> SamplingControls:
    return SamplingControls(
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=1,
        max_new_tokens=arguments.new_tokens,
    )


def decode_once(
    session: Session,
    ids: list[int],
    controls: SamplingControls,
    arguments: argparse.Namespace,
    change: Callable[[SamplingControls, int], SamplingControls] | None = None,
    *,
    prompt_lookup: bool = False,
    draft: bool = False,
) -> dict[str, Any]:
    """One run whose every token is looked at; the first one's time is the prefill's."""
    request = GenerateRequest(
        run_id=new_run_id(),
        prompt="",
        reply_ids=tuple(ids),
        controls=controls,
        candidates=arguments.candidates,
        prompt_lookup=prompt_lookup,
        draft=draft,
    )
    handle = RunHandle(request.run_id, controls)
    began, count, last = 0.0, 0, 0.0
    for event in session.run(request, handle):
        if isinstance(event, Failed):
            raise RunFailed(event)
        if isinstance(event, Token):
            count, last = count + 1, time.perf_counter()
            began = began or last
            if change is not None and count % _EVERY == 0:
                handle.controls = change(controls, count // _EVERY)
        if isinstance(event, Finished):
            return {
                "tokens_per_second": (count - 1) / max(1e-9, last - began),
                "prefill": event.seconds.prefill,
                "path": event.path,
                "path_reason": event.path_reason,
                "guesses": event.guesses,
                "accepted": event.accepted,
                "memory": event.memory,
            }
    raise AssertionError("the run had no end")


def prefill_seconds(session: Session, ids: list[int], arguments: argparse.Namespace) -> list[float]:
    """Seconds from the request to the first token's logits, nothing reused: three times."""
    engine, found = session.require_engine(), []
    for _ in range(3):
        engine.prefix = None
        found.append(decode_once(session, ids, replace(_controls(arguments), max_new_tokens=1), arguments))
    return [round(each["prefill"], 4) for each in found]


def _device_times(engine: Engine, count: int = 50) -> dict[str, float]:
    """Milliseconds that the device needs to read a token, to draw one, and to read some with guesses."""
    import torch

    from inference.captured.runner import GUESSED_ROWS

    runner = engine.runner
    assert runner is not None
    event: Any = torch.cuda.Event
    start, middle, end, last = (event(enable_timing=True) for _ in range(4))
    assert engine.prefix is not None
    position = len(engine.prefix.ids)
    torch.cuda.synchronize()
    start.record()
    for _ in range(count):
        runner.read(position)
    middle.record()
    for _ in range(count):
        runner.draw()
    end.record()
    torch.cuda.synchronize()
    drawing = round(middle.elapsed_time(end) / count, 4)
    runner.prepare(engine.prefix.ids, GUESSED_ROWS)
    torch.cuda.synchronize()
    end.record()
    for _ in range(count):
        runner.read_rows([1], position)
    last.record()
    torch.cuda.synchronize()
    return {
        "read": round(start.elapsed_time(middle) / count, 4),
        "draw": drawing,
        f"read {GUESSED_ROWS} rows": round(end.elapsed_time(last) / count, 4),
    }


def _live(session: Session, ids: list[int], arguments: argparse.Namespace) -> dict[str, float]:
    """Speed with a control moved every 64 tokens, over that without, measured next to each other."""

    def steered(controls: SamplingControls, turn: int) -> SamplingControls:
        control = AttentionControl(start=0, end=60, factor=0.5 + 0.1 * (turn % 5))
        return replace(controls, attention=(control,))

    moved: dict[str, Callable[[SamplingControls, int], SamplingControls]] = {
        "temperature": lambda c, turn: replace(c, temperature=0.8 + 0.01 * (turn % 5)),
        "top_p": lambda c, turn: replace(c, top_p=0.9 - 0.01 * (turn % 5)),
        "top_k": lambda c, turn: replace(c, top_k=1000 + turn),
        "min_p": lambda c, turn: replace(c, min_p=0.001 * (turn % 5)),
        "penalties": lambda c, turn: replace(
            c, repetition_penalty=1.0 + 0.01 * (turn % 5), frequency_penalty=0.01 * turn
        ),
        "logit_bias": lambda c, turn: replace(c, logit_bias=((7, 0.1 * turn),)),
        "seed": lambda c, turn: replace(c, seed=turn),
        "attention": steered,
    }
    found = {}
    for name, change in moved.items():
        plain = decode_once(session, ids, _controls(arguments), arguments)
        changed = decode_once(session, ids, _controls(arguments), arguments, change)
        found[name] = round(changed["tokens_per_second"] / plain["tokens_per_second"], 4)
    return found


def _ids(loaded: LoadedModel, count: int) -> list[int]:
    import torch

    generator = torch.Generator().manual_seed(1)
    found: list[int] = torch.randint(256, loaded.info.vocabulary, (count,), generator=generator).tolist()
    return found
