"""Explaining speed: each AtMan variant against the naive loop, on the same model, prompt and machine.

The naive loop reads prompt and target once for every token of the prompt, one full forward pass each, with
the same additive mask and the logits of all positions. All its passes take the same time, so a sample of
them is measured around every method (--naive-passes) and scaled to the N + 1 that it needs. Reported for
each method: seconds, the ratio to the naive loop (median of rounds; by CPU time too, which a busy machine
disturbs less), and "of_count", the share reached of what the method's count of token positions allows at
the speed of a plain prefill measured in the same round. Quality: Spearman's correlation with the exact
scores, and how many of the ten strongest tokens are the same.

With --lengths, a table of cost against prompt length instead: what was estimated before, and what it took;
where the estimate is above --at-most seconds, the estimate alone.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from inference.bench.full_passes import Duration, FullPasses, timed
from inference.bench.passages import made_up_text, passage_of
from inference.bench.random_models import SHAPES, random_model
from inference.command_line import RunFailed, add_model_arguments, load_model, print_json, report
from inference.session import Session

if TYPE_CHECKING:
    from inference.attribution.passage import Passage
    from inference.attribution.task import Task
    from inference.models.loaded_model import LoadedModel

_METHODS = ("atman", "atman-coarse-to-fine", "atman-target-rows", "atman-first-order")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and how much to measure."""
    add_model_arguments(parser)
    parser.add_argument("--shape", choices=sorted(SHAPES), help="random weights of this shape, no --model")
    parser.add_argument("--prompt-tokens", type=int, default=512, metavar="N")
    parser.add_argument("--target-tokens", type=int, default=32, metavar="T")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument(
        "--naive-passes", type=int, default=8, metavar="N", help="sampled before and after each"
    )
    parser.add_argument("--methods", default=",".join(_METHODS), metavar="NAMES")
    parser.add_argument("--lengths", metavar="N,N,...", help="table of cost against prompt length")
    parser.add_argument(
        "--at-most", type=float, default=60.0, metavar="S", help="longest run of the table, by its estimate"
    )
    parser.add_argument(
        "--text", metavar="FILE", help="prompt text; default: made up, all sentences different"
    )
    parser.add_argument("--share", type=float, default=None, metavar="F", help="of coarse to fine")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print one line; returns the exit status."""
    try:
        loaded = _loaded(arguments)
    except RunFailed as failure:
        return report(failure, as_json=arguments.json)
    bench = _Bench(loaded, arguments)
    if arguments.lengths:
        print_json(bench.described("explain-lengths") | {"rows": list(bench.lengths())})
    else:
        print_json(bench.described("explain") | bench.methods())
    return 0


def _loaded(arguments: argparse.Namespace) -> LoadedModel:
    """The model, or one of random weights that is made where it runs."""
    if arguments.shape:
        import torch

        device = arguments.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return random_model(arguments.shape, arguments.quantization, device, arguments.context_length or 8192)
    session = Session()
    load_model(session, arguments)
    return session.require_engine().loaded


@dataclass
class _Round:
    """What one method took in one round; ``naive`` and ``plain`` are single passes, measured before and
    after it.
    """

    took: Duration
    naive: Duration
    plain: Duration
    tokens: int
    passes: int
    peak: int
    budget: int
    halvings: int
    scores: list[float] = field(default_factory=list)


class _Bench:
    def __init__(self, loaded: LoadedModel, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.loaded = loaded
        self.model: Any = loaded.model
        self.text = made_up_text()
        if arguments.text:
            with open(arguments.text, encoding="utf-8") as file:
                self.text = file.read()

    def described(self, name: str) -> dict[str, Any]:
        """What was measured on what."""
        import torch

        return {
            "event": "benchmark",
            "benchmark": name,
            "model": self.loaded.info.name,
            "parameters": self.loaded.info.parameters,
            "quantization": self.loaded.quantization,
            "device": str(self.loaded.device),
            "dtype": str(self.loaded.dtype),
            "threads": torch.get_num_threads(),
            "target_tokens": self.arguments.target_tokens,
        }

    def methods(self) -> dict[str, Any]:
        """Every method against the naive loop, in turn, several rounds."""
        names = self.arguments.methods.split(",")
        passage = self._passage(self.arguments.prompt_tokens)
        full = FullPasses(self.model, passage)
        full.naive(2)
        rounds: dict[str, list[_Round]] = {name: [] for name in names}
        for _ in range(self.arguments.rounds):
            for name in names:
                rounds[name].append(self._round(full, passage, name))
        exact = rounds["atman"][0].scores if "atman" in rounds else None
        every = [each for of_method in rounds.values() for each in of_method]
        return {
            "prompt_tokens": passage.length,
            "rounds": self.arguments.rounds,
            "naive": {
                "forward_passes": passage.length + 1,
                "seconds": round(
                    statistics.median(each.naive.wall for each in every) * (passage.length + 1), 2
                ),
                "sampled_passes": self.arguments.naive_passes * 2,
            },
            "plain_peak_bytes": full.plain_peak(),
            "methods": {name: _summary(each, passage, exact) for name, each in rounds.items()},
        }

    def lengths(self) -> Iterator[dict[str, Any]]:
        """Cost of each method against prompt length, token by token."""
        self._warm_up()
        for length in map(int, self.arguments.lengths.split(",")):
            passage = self._passage(length)
            naive = FullPasses(self.model, passage).naive(2).wall * (passage.length + 1)
            yield {
                "prompt_tokens": passage.length,
                "naive_token_forwards": (passage.length + 1) * len(passage.read_ids),
                "naive_seconds": round(naive, 2),
                "methods": {
                    name: self._cost(passage, name, naive) for name in self.arguments.methods.split(",")
                },
            }

    def _cost(self, passage: Passage, name: str, naive: float) -> dict[str, Any]:
        """What a method is estimated to take, and what it took."""
        from inference.attribution.methods import method_named

        task = self._task(passage, name)
        cost = method_named(name).cost(task)
        estimated = task.seconds(cost)
        row: dict[str, Any] = {
            "token_forwards": cost.tokens + len(passage.read_ids),
            "estimated_seconds": round(estimated, 2),
            "memory_estimate": cost.memory,
        }
        if estimated <= self.arguments.at_most:
            took = timed(partial(_run, name, task)).wall + task.read_seconds
            row |= {"seconds": round(took, 2), "naive / this": round(naive / took, 2)}
        task.reader.forget()
        return row

    def _warm_up(self) -> None:
        """The first pass of a process is not like the others."""
        passage = self._passage(64)
        FullPasses(self.model, passage).naive(2)
        for name in self.arguments.methods.split(","):
            _run(name, self._task(passage, name))

    def _round(self, full: FullPasses, passage: Passage, name: str) -> _Round:
        import torch

        count = self.arguments.naive_passes
        naive, plain = full.naive(count), full.plain(count)
        cuda = self.loaded.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        scores: list[float] = []
        tasks: list[Task] = []

        def work() -> None:
            tasks.append(self._task(passage, name))
            scores.extend(_run(name, tasks[0]))

        took = timed(work)
        return _Round(
            took=took,
            naive=(naive + full.naive(count)) * 0.5,
            plain=(plain + full.plain(count)) * 0.5,
            tokens=tasks[0].reader.tokens,
            passes=tasks[0].reader.passes,
            peak=torch.cuda.max_memory_allocated() if cuda else 0,
            budget=tasks[0].budget.bytes,
            halvings=tasks[0].budget.halvings,
            scores=scores,
        )

    def _passage(self, length: int) -> Passage:
        return passage_of(self.loaded.tokenizer, self.text, length, self.arguments.target_tokens)

    def _task(self, passage: Passage, name: str) -> Task:
        from inference.attribution.budget import Budget
        from inference.attribution.reader import Reader
        from inference.attribution.segments import cut
        from inference.attribution.targets import Objective
        from inference.attribution.task import Task

        reader = Reader(self.model)
        shared = {"share": self.arguments.share} if self.arguments.share and "coarse" in name else {}
        task = Task(
            reader=reader,
            passage=passage,
            segments=cut(passage, "token")[0],
            objective=Objective(target_ids=passage.target_ids),
            budget=Budget(self.model, reader.device),
            settings=shared,
        )
        task.read()
        return task


def _run(name: str, task: Task) -> list[float]:
    """Each segment's score, rows added up."""
    from inference.attribution.methods import method_named

    scores = [0.0] * len(task.segments)
    for part in method_named(name).score(task):
        for place, index in enumerate(part.indices):
            scores[index] = float(part.values[:, place].sum())
    return scores


def _summary(rounds: Sequence[_Round], passage: Passage, exact: list[float] | None) -> dict[str, Any]:
    from inference.attribution.comparison import spearman

    def median(of: Callable[[_Round], float]) -> float:
        return round(statistics.median(map(of, rounds)), 3)

    first = rounds[0]
    count, length = passage.length + 1, len(passage.read_ids)
    row: dict[str, Any] = {
        "seconds": median(lambda each: each.took.wall),
        "naive / this": median(lambda each: each.naive.wall * count / each.took.wall),
        "naive / this, CPU time": median(lambda each: each.naive.cpu * count / each.took.cpu),
        "plain passes": median(lambda each: each.took.wall / each.plain.wall),
        "of_count": median(lambda each: each.plain.wall * each.tokens / length / each.took.wall),
        "of_count, CPU time": median(lambda each: each.plain.cpu * each.tokens / length / each.took.cpu),
        "forward_passes": first.passes,
        "token_forwards": first.tokens,
        "peak_bytes": max(each.peak for each in rounds),
        "budget_bytes": max(each.budget for each in rounds),
        "halvings": sum(each.halvings for each in rounds),
    }
    if exact is not None:
        row["spearman"] = spearman(exact, first.scores)
        row["same_of_ten"] = len(_strongest(exact) & _strongest(first.scores))
    return row


def _strongest(scores: Sequence[float]) -> set[int]:
    return set(sorted(range(len(scores)), key=lambda index: -abs(scores[index]))[:10])
