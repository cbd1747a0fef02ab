"""Decoding speed: the session's loop against transformers' generate, on the same model and machine.

Every round measures each path once, in turn, so that a busy machine slows all of them; ratios are taken
within rounds and their median is reported. Paths:

- session: what the window runs, all events made, with --candidates alternatives recorded at each token
- session-bare: the same with one candidate recorded
- forward: the model's forward pass with the engine's cache and argmax, nothing else
- generate: transformers' generate with the same controls
- llama.cpp (with --llama-cpp): its own loop in C, with the same temperature and top-p

On a GPU one line for each --context tells the captured loop's speed, its share of the bandwidth floor (bytes
of weights and cache over those of a device copy), the ratio to generate, and with --live what moving each
control costs. --shape takes random weights of that shape instead of a model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.bench.random_models import SHAPES, random_model
from inference.command_line import RunFailed, add_model_arguments, load_model, print_json, report, run_events
from inference.events import GenerateRequest, SamplingControls, Token
from inference.running import new_run_id
from inference.session import Session

if TYPE_CHECKING:
    from inference.models.loaded_model import LoadedModel

_TEXT = "The river rises in the mountains and flows through three countries before it reaches the sea. "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and how much to measure."""
    add_model_arguments(parser)
    parser.add_argument("--new-tokens", type=int, default=128, metavar="N")
    parser.add_argument("--prompt-tokens", type=int, default=128, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--candidates", type=int, default=20, metavar="K")
    parser.add_argument("--temperature", type=float, default=0.7, metavar="F")
    parser.add_argument("--top-p", type=float, default=0.95, metavar="F")
    parser.add_argument("--shape", choices=sorted(SHAPES), help="random weights of this shape, no --model")
    parser.add_argument("--context", type=int, nargs="+", metavar="N", help="prompt lengths, on a GPU")
    parser.add_argument("--reference-tokens", type=int, default=48, metavar="N", help="of generate, on a GPU")
    parser.add_argument("--reference-rounds", type=int, default=3, metavar="N", help="of generate, on a GPU")
    parser.add_argument("--live", action="store_true", help="also with controls moved, on a GPU")
    parser.add_argument(
        "--guesses",
        choices=sorted(SHAPES),
        help="what prompt lookup and a draft of this shape with random weights cost and gain, on a GPU",
    )
    parser.add_argument(
        "--llama-cpp",
        nargs=2,
        metavar=("PYTHON", "GGUF"),
        help="on a CPU: also llama.cpp, by a Python that has llama-cpp-python, on a file of the same weights",
    )
    parser.add_argument(
        "--threads", type=int, default=None, metavar="N", help="CPU threads; default: as the app"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print one line; returns the exit status."""
    session = Session()
    try:
        if arguments.shape:
            loaded, seconds = _random(arguments)
        else:
            seconds = load_model(session, arguments)
            loaded = session.require_engine().loaded
            session.require_engine().kernels.uninstall()  # the reference is transformers' own
        if loaded.device.type == "cuda":
            from inference.bench.decode_gpu import measure

            session.close()
            loaded = replace(loaded, eos_ids=frozenset())
            if arguments.guesses:
                _guesses(loaded, arguments)
            else:
                measure(loaded, arguments, round(seconds, 1))
            return 0
        if arguments.shape:
            session.use(loaded)
        bench = _Bench(session, arguments)
        rounds = [bench.round() for _ in range(arguments.rounds + 1)][1:]  # the first warms up
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    print_json(bench.summary(rounds))
    return 0


def _guesses(loaded: LoadedModel, arguments: argparse.Namespace) -> None:
    from inference.bench.decode_guesses import measure_guesses

    context = arguments.prompt_tokens + arguments.new_tokens + 16
    draft = random_model(arguments.guesses, arguments.quantization, "cuda", context)
    measure_guesses(loaded, draft, arguments)


def _random(arguments: argparse.Namespace) -> tuple[LoadedModel, float]:
    """A model with random weights, and the seconds that it took."""
    import torch

    device = "cuda" if arguments.device != "cpu" and torch.cuda.is_available() else "cpu"
    began = time.perf_counter()
    longest = max([arguments.prompt_tokens, *(arguments.context or [])]) + arguments.new_tokens
    loaded = random_model(arguments.shape, arguments.quantization, device, longest + 8)
    loaded = replace(loaded, int8=arguments.int8)
    if device == "cuda":
        torch.cuda.synchronize()
    return loaded, time.perf_counter() - began


def _started_peer(arguments: argparse.Namespace, threads: int) -> subprocess.Popen[str]:
    positions = arguments.prompt_tokens + arguments.new_tokens + 8
    script = Path(__file__).with_name("llama_cpp_peer.py")
    command = [*arguments.llama_cpp[:1], str(script), arguments.llama_cpp[1], str(threads), str(positions)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


class _Clock:
    """Seconds by the clock and of the processor, between its making and :meth:`stopped`."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stopped(self) -> _Clock:
        """Turn the two times into durations."""
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return self

    def less(self, other: _Clock) -> _Clock:
        """Without the time of another."""
        self.wall, self.cpu = self.wall - other.wall, self.cpu - other.cpu
        return self


@dataclass
class _Bench:
    session: Session
    arguments: argparse.Namespace

    def __post_init__(self) -> None:
        import torch

        if self.arguments.threads:
            torch.set_num_threads(self.arguments.threads)
        self.threads = torch.get_num_threads()
        engine = self.session.require_engine()
        # Every path writes all of its tokens.
        engine.loaded = replace(engine.loaded, eos_ids=frozenset())
        self.engine = engine
        ids = engine.loaded.tokenizer.encode(_TEXT * (1 + self.arguments.prompt_tokens // 8))
        self.ids = ids[: self.arguments.prompt_tokens]
        self.paths: dict[str, Callable[[], _Clock]] = {
            "session": lambda: self._session(self.arguments.candidates),
            "session-bare": lambda: self._session(1),
            "forward": self._forward,
            "generate": self._generate,
        }
        if self.arguments.llama_cpp:
            self._peer = _started_peer(self.arguments, self.threads)
            self.paths["llama.cpp"] = self._llama_cpp

    def round(self) -> dict[str, _Clock]:
        """What each path takes for all tokens but the first, whose time is the prefill's."""
        return {name: path() for name, path in self.paths.items()}

    def summary(self, rounds: list[dict[str, _Clock]]) -> dict[str, Any]:
        """Medians of speeds, and of ratios within rounds, by the clock and by the processor's time."""
        steps = self.arguments.new_tokens - 1
        pairs = [("session", "generate"), ("session-bare", "generate"), ("forward", "generate")]
        pairs += [("session", "session-bare"), ("session", "forward")]
        if "llama.cpp" in self.paths:
            pairs += [("session", "llama.cpp"), ("forward", "llama.cpp")]

        def ratios(kind: str) -> dict[str, float]:
            return {
                f"{one} / {other}": round(
                    statistics.median(
                        getattr(each[other], kind) / getattr(each[one], kind) for each in rounds
                    ),
                    3,
                )
                for one, other in pairs
            }

        loaded = self.engine.loaded
        return {
            "event": "benchmark",
            "benchmark": "decode",
            "model": loaded.info.name,
            "parameters": loaded.info.parameters,
            "device": str(loaded.device),
            "dtype": str(loaded.dtype),
            "threads": self.threads,
            "prompt_tokens": len(self.ids),
            "new_tokens": self.arguments.new_tokens,
            "rounds": len(rounds),
            "tokens_per_second": {
                name: round(statistics.median(steps / each[name].wall for each in rounds), 1)
                for name in self.paths
            },
            "ratios": ratios("wall"),
            "cpu_ratios": ratios("cpu"),
        }

    def _controls(self) -> SamplingControls:
        return SamplingControls(
            temperature=self.arguments.temperature,
            top_p=self.arguments.top_p,
            seed=1,
            max_new_tokens=self.arguments.new_tokens,
        )

    def _session(self, candidates: int) -> _Clock:
        self.engine.prefix = None
        request = GenerateRequest(
            run_id=new_run_id(),
            prompt="",
            reply_ids=tuple(self.ids),
            controls=self._controls(),
            candidates=candidates,
        )
        clock, tokens = _Clock(), 0
        for event in run_events(self.session, request, request.controls):
            if isinstance(event, Token):
                tokens += 1
                if tokens == 1:
                    clock = _Clock()
        assert tokens == self.arguments.new_tokens
        return clock.stopped()

    def _forward(self) -> _Clock:
        forward = self.engine.forward
        cache = forward.new_cache()
        token = int(forward(self.ids, cache)[-1].argmax())
        clock = _Clock()
        for _ in range(self.arguments.new_tokens - 1):
            token = int(forward([token], cache)[-1].argmax())
        return clock.stopped()

    def _llama_cpp(self) -> _Clock:
        """llama.cpp's own loop on the GGUF file, with the same prompt and temperature."""
        assert self._peer.stdin is not None
        assert self._peer.stdout is not None
        request = {
            "ids": self.ids,
            "new_tokens": self.arguments.new_tokens,
            "temperature": self.arguments.temperature,
            "top_p": self.arguments.top_p,
        }
        self._peer.stdin.write(json.dumps(request) + "\n")
        self._peer.stdin.flush()
        answer = json.loads(self._peer.stdout.readline())
        clock = _Clock()
        clock.wall, clock.cpu = answer["wall"], answer["cpu"]
        return clock

    def _generate(self) -> _Clock:
        """transformers' own; its prefill is timed by a run of one token and taken off."""
        import torch

        model: Any = self.engine.loaded.model
        ids = torch.tensor([self.ids], device=self.engine.loaded.device)
        temperature, top_p = self.arguments.temperature, self.arguments.top_p
        sampling: dict[str, Any] = (
            {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
            if temperature > 0
            else {"do_sample": False}
        )

        def timed(count: int) -> _Clock:
            torch.manual_seed(1)
            clock = _Clock()
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=count,
                max_new_tokens=count,
                eos_token_id=None,
                pad_token_id=0,
                **sampling,
            )
            assert out.shape[1] == ids.shape[1] + count
            return clock.stopped()

        first = timed(1)
        return timed(self.arguments.new_tokens).less(first)
