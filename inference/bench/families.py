"""Decoding speed of other families against a Llama of the same size, in the same run.

Models have random weights (bfloat16's, as most are published) and the same width, depth and vocabulary; each
round decodes with every family in turn, so that a busy machine slows all of them. One line a family: tokens a
second, the ratio to the Llama by the clock and by the processor's time, and both per parameter that a token
reads, as no two families have exactly as many. ``path`` is how tokens were read.
``bare_ratio`` is against the model's own forward in a plain loop (greedy, transformers' cache, nothing else):
what is below 1 there is this program's, and what a family lacks beyond it is transformers' own.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.command_line import print_json, run_events
from inference.events import Finished, GenerateRequest, ModelInfo, SamplingControls, Token
from inference.models.architecture import expert_counts
from inference.running import new_run_id
from inference.session import Session

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

_CONTEXT = 1024
_REFERENCE = "llama"
_FAMILIES = (
    "llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma2", "gemma3_text", "gpt_neox", "gpt2", "gptj",
    "falcon", "bloom", "opt", "mpt", "olmo2", "cohere", "stablelm", "granite", "glm", "mixtral", "lfm2",
    "mamba",
)  # fmt: skip


def _changes(width: int, layers: int) -> dict[str, dict[str, Any]]:
    """What a family names differently from most; two matrices without a gate are as large as three with."""
    heads, inner = width // 64, width * 11 // 4
    plain = {"intermediate_size": inner * 3 // 2}
    gpt = {"n_embd": width, "n_head": heads, "n_layer": layers, "n_positions": _CONTEXT, "rotary_dim": 32}
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return {
        "gemma2": {"head_dim": 64},
        "gemma3_text": {"head_dim": 64},
        "qwen3": {"head_dim": 64},
        "phi": plain,
        "gpt_neox": plain,
        "falcon": {"ffn_hidden_size": 5 * width},  # and one head of keys
        "gpt2": gpt,
        "gptj": gpt,
        "bloom": {"n_head": heads, "n_layer": layers},
        "opt": {"ffn_dim": inner * 3 // 2, "word_embed_proj_dim": width},
        "mpt": {"d_model": width, "n_heads": heads, "n_layers": layers, "max_seq_len": _CONTEXT},
        "mixtral": {"intermediate_size": inner // 2, **experts},
        "glm": {"head_dim": 64},
        "mamba": {"state_size": 16},
        "lfm2": {"layer_types": ["conv", "full_attention"] * (layers // 2)},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which families, and how much to measure."""
    parser.add_argument(
        "--family", "--families", nargs="+", default=list(_FAMILIES), metavar="TYPE", help="model types"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line (what it always prints)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--width", type=int, default=512, metavar="N")
    parser.add_argument("--layers", type=int, default=8, metavar="N")
    parser.add_argument("--new-tokens", type=int, default=48, metavar="N")
    parser.add_argument("--bare-tokens", type=int, default=8, metavar="N", help="of the bare forward")
    parser.add_argument("--prompt-tokens", type=int, default=64, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")


@dataclass(frozen=True, slots=True)
class _Run:
    wall: float
    cpu: float
    path: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns the exit status."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    names = list(dict.fromkeys([_REFERENCE, *arguments.family]))
    sessions = {name: _session(name, arguments) for name in names}
    runs: dict[str, list[_Run]] = {name: [] for name in names}
    bares: dict[str, list[_Run]] = {name: [] for name in names}
    for number in range(arguments.rounds + 1):
        for name, session in sessions.items():
            measured, bare = _decode(session, arguments), _decode_bare(session, arguments)
            if number:  # the first round warms up
                runs[name].append(measured)
                bares[name].append(bare)
    reference = _active_parameters(sessions[_REFERENCE])
    for name in names:
        parameters = _active_parameters(sessions[name])
        pairs = list(zip(runs[_REFERENCE], runs[name], strict=True))
        wall = statistics.median(base.wall / own.wall for base, own in pairs)
        cpu = statistics.median(base.cpu / own.cpu for base, own in pairs)
        print_json(
            {
                "bench": "families",
                "family": name,
                "device": arguments.device,
                "parameters": sessions[name].require_engine().loaded.info.parameters,
                "read_parameters": parameters,
                "path": runs[name][-1].path,
                "tokens_per_second": round(
                    arguments.new_tokens / statistics.median(each.wall for each in runs[name]), 1
                ),
                "ratio": round(wall, 3),
                "ratio_per_parameter": round(wall * parameters / reference, 3),
                "cpu_ratio": round(cpu, 3),
                "cpu_ratio_per_parameter": round(cpu * parameters / reference, 3),
                "bare_ratio": round(
                    statistics.median(
                        bare.cpu / own.cpu for bare, own in zip(bares[name], runs[name], strict=True)
                    ),
                    3,
                ),
            }
        )
    return 0


def _decode_bare(session: Session, arguments: argparse.Namespace) -> _Run:
    """Time of as many tokens from the model itself, as fewer of them tell."""
    import torch

    model: Any = session.require_engine().loaded.model
    ids = torch.tensor([_prompt(arguments)], device=model.device)
    named = "past_key_values" if "past_key_values" in inspect.signature(model.forward).parameters else None
    wall = cpu = 0.0
    with torch.inference_mode():
        output = model(input_ids=ids, use_cache=True)
        for number in range(arguments.bare_tokens + 1):
            if number == 1:
                wall, cpu = time.perf_counter(), time.process_time()
            last = output.logits[:, -1:].argmax(-1)
            int(last)
            if named is not None:
                output = model(input_ids=last, past_key_values=output.past_key_values, use_cache=True)
            else:
                output = model(input_ids=last, cache_params=output.cache_params, use_cache=True)
    each = arguments.new_tokens / arguments.bare_tokens
    return _Run((time.perf_counter() - wall) * each, (time.process_time() - cpu) * each)


def _prompt(arguments: argparse.Namespace) -> tuple[int, ...]:
    return tuple(300 + 7 * place % 5000 for place in range(arguments.prompt_tokens))


def _decode(session: Session, arguments: argparse.Namespace) -> _Run:
    """Time of the tokens after the first."""
    engine = session.require_engine()
    engine.prefix = None
    ids = _prompt(arguments)
    controls = SamplingControls(temperature=0.7, seed=1, max_new_tokens=arguments.new_tokens + 1)
    request = GenerateRequest(run_id=new_run_id(), prompt="", reply_ids=ids, controls=controls)
    wall = cpu = 0.0
    seen, path = 0, ""
    for event in run_events(session, request, controls):
        if isinstance(event, Token):
            seen += 1
            if seen == 1:
                wall, cpu = time.perf_counter(), time.process_time()
        elif isinstance(event, Finished):
            path = event.path
            taken = time.perf_counter() - wall, time.process_time() - cpu
    assert seen == arguments.new_tokens + 1
    step = engine.forward.step
    fast = path == "plain" and step is not None and step.right
    return _Run(*taken, type(step).__name__ if fast else path)


def _active_parameters(session: Session) -> int:
    """Weights that a token reads: of experts those that it is sent to, of a mere table none."""
    model: Any = session.require_engine().loaded.model
    total, chosen = expert_counts(model.config.to_dict())
    inputs, outputs = model.get_input_embeddings().weight, model.get_output_embeddings()
    active = 0.0
    for name, weight in model.named_parameters():
        share = chosen / total if total and weight.dim() == 3 and ".experts." in name else 1.0
        looked_up = weight is inputs and getattr(outputs, "weight", None) is not inputs
        active += 0 if looked_up else share * weight.numel()
    return round(active)


def _session(family: str, arguments: argparse.Namespace) -> Session:
    session = Session()
    session.use(_random(family, arguments))
    return session


def _random(family: str, arguments: argparse.Namespace) -> LoadedModel:
    """A model of the family with random weights, as if it had been loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from inference.bench.random_models import tokenizer_of
    from inference.models.loaded_model import LoadedModel

    torch.manual_seed(0)
    width, layers = arguments.width, arguments.layers
    common: dict[str, Any] = {
        "vocab_size": 8192,
        "hidden_size": width,
        "intermediate_size": width * 11 // 4,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "num_key_value_heads": width // 64,
        "max_position_embeddings": _CONTEXT,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    config = type(AutoConfig.for_model(family))(**common | _changes(width, layers).get(family, {}))
    maker: Any = AutoModelForCausalLM
    with torch.device(arguments.device):
        model = maker.from_config(config, dtype=torch.bfloat16)  # as most models are published
    dtype = torch.float32 if arguments.device == "cpu" else torch.bfloat16
    model = model.to(arguments.device, dtype).eval().requires_grad_(False)
    info = ModelInfo(
        source="random",
        name=f"{family}, random weights",
        architecture=type(model).__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        context_length=_CONTEXT,
        vocabulary=8192,
        layers=layers,
        hidden_size=width,
        kv_bytes_per_token=0,
        stored_bytes=0,
        stored_dtype=str(dtype).removeprefix("torch."),
        licence=None,
        has_chat_template=False,
    )
    return LoadedModel(
        model=model,
        tokenizer=tokenizer_of(8192),
        info=info,
        quantization="none",
        device=model.get_input_embeddings().weight.device,
        dtype=dtype,
        context_length=_CONTEXT,
        eos_ids=frozenset(),
    )
