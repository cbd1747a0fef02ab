"""Trains the built-in model: ``python packaging/builtin_model/train.py --data FOLDER --run FOLDER``.

With ``--finish-within`` the whole plan is carried out in that time, start included; else it takes `steps`
steps. It may be stopped at any time and goes on from the last checkpoint when started again with the same
``--run``. Without a checkpoint, ``--from-weights`` starts from weights that exist already.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from answer_loss import AnswerLoss
from averaging import Average
from batches import Batch, Rows, load_batches, weighted_loss
from checkpoint import load_checkpoint, save_checkpoint
from corpus import load_corpus, split_corpus
from dialogues import DialogueMaker
from export import load_model, load_weights, save_configs, save_weights
from network import PackedLlama, attention_by_document, attention_varlen
from optimizer import Muon, build_optimizers
from packing import Mixture, TokenizedProse
from plan import Plan, Progress
from prose_loss import ProseLoss
from shape import SHAPES
from teachers import Teachers, parts_of_characters
from tokenizer import load_tokenizer, save_tokenizer, train_bpe
from word_neighbours import NAME
from written_questions import read_written

AVERAGE_EVERY = 5

Numbers = TypeVar("Numbers", Plan, Mixture)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line; every number of the plan can be set as ``--set name=value``."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpus (*.jsonl.xz)")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints, log and weights")
    parser.add_argument("--size", choices=SHAPES, default="wide")
    parser.add_argument("--tokenizer", type=Path, help="model folder with a tokenizer (else trained)")
    parser.add_argument("--from-weights", type=Path, help="model.safetensors to start from")
    parser.add_argument("--teacher", type=Path, action="append", default=[], metavar="FOLDER")
    parser.add_argument("--teacher-share", type=float, action="append", default=[], help="one a teacher")
    parser.add_argument("--imagined", type=Path, help="folder of texts that imagine.py wrote")
    parser.add_argument("--own-samples", type=Path, help="what loop_sampler.py writes meanwhile")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the plan")
    parser.add_argument("--finish-within", type=float, metavar="SECONDS", help="let the clock set the pace")
    parser.add_argument("--stop-at", type=int, help="stop before this step")
    parser.add_argument("--checkpoint-every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--evaluate-every", type=int, default=500, metavar="STEPS", help="0: never")
    parser.add_argument("--workers", type=int, default=0)
    return parser.parse_args(arguments)


def make_plan(settings: list[str]) -> Plan:
    """The plan with ``name=value`` settings applied; ``first.prose=0.5`` sets a share of a phase's mixture.

    Raises:
        ValueError: there is no such number in the plan.
    """
    plan = Plan()
    for setting in settings:
        name, _, value = setting.partition("=")
        phase, _, share = name.rpartition(".")
        if phase in ("first", "last"):
            plan = replace(plan, **{phase: _with_number(getattr(plan, phase), share, value)})
        else:
            plan = _with_number(plan, name, value)
    return plan


def _with_number(numbers: Numbers, name: str, value: str) -> Numbers:
    known = {field.name: getattr(numbers, field.name) for field in fields(numbers)}
    if not isinstance(known.get(name), int | float):
        raise ValueError(f"the plan has no number named {name!r}")
    changes: dict[str, Any] = {name: type(known[name])(value)}
    return replace(numbers, **changes)


def main(arguments: list[str] | None = None) -> int:
    """Runs the training; returns the step it stopped at."""
    options = parse_arguments(arguments)
    began = time.monotonic()
    plan, shape = make_plan(options.set), SHAPES[options.size]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)

    corpus, held_out = split_corpus(load_corpus(options.data))
    neighbours, written = read_neighbours(options.data), read_written(options.data, corpus.prose)
    tokenizer_folder = options.tokenizer or options.run
    if not (tokenizer_folder / "tokenizer.json").exists():
        texts = (document.text for document in corpus.prose)
        save_tokenizer(train_bpe(texts, shape.vocab_size), tokenizer_folder, shape.context_length)
    tokenizer = load_tokenizer(tokenizer_folder)
    prose = TokenizedProse.encode([document.text for document in corpus.prose], tokenizer)
    print(f"{len(prose.ids):,} tokens of prose, {shape.parameters:,} weights, {device.type}, "
          f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip

    on_gpu = device.type == "cuda"
    attention = attention_varlen if on_gpu else attention_by_document
    model = PackedLlama(shape, attention, plan.dropout).to(device)
    teachers = None
    if options.teacher and plan.teacher_tokens:
        networks = [load_model(folder).to(device) for folder in options.teacher]
        shares = options.teacher_share or [1 / len(networks)] * len(networks)
        never = parts_of_characters(tokenizer).to(device)
        teachers = Teachers(networks, plan.teacher_tokens, shares, never)
    optimizers = build_optimizers(
        model, matrix_lr=plan.matrix_lr, embedding_lr=plan.embedding_lr,
        weight_decay=plan.weight_decay, embedding_decay=plan.embedding_decay,
    )  # fmt: skip
    average = Average(model, plan.average_decay)
    step, start = load_checkpoint(options.run, model, optimizers, average)
    if step == 0 and options.from_weights:
        load_weights(model, options.from_weights)
    if step == 0:
        average = Average(model, plan.average_decay)
    measures = [
        ProseLoss(
            {"held_out": [d.text for d in held_out.prose], "seen": [d.text for d in corpus.prose[::97]]},
            tokenizer, shape.context_length, device, max(plan.batch_tokens, shape.context_length),
        ),
        AnswerLoss(held_out, neighbours, tokenizer, shape.context_length, device, plan.batch_tokens),
    ]  # fmt: skip
    if on_gpu:
        compile_parts(model, optimizers)
        if teachers is not None:
            teachers.compile()

    def evaluate() -> dict[str, float]:
        if options.evaluate_every == 0:
            return {}
        # Not worth compiling for: evaluation would need its own code.
        with torch.compiler.set_stance("force_eager" if on_gpu else "default"):
            return {name: value for one in measures for name, value in one.measure(model).items()}

    def log(entry: dict[str, float]) -> None:
        line = json.dumps({name: round(value, 4) for name, value in entry.items()})
        with (options.run / "log.jsonl").open("a", encoding="utf-8") as file:
            print(line, file=file)
        print(line, flush=True)

    def save(progress: float) -> None:
        save_checkpoint(options.run, model, optimizers, average, step, progress)
        save_weights(model, options.run / "model.safetensors")

    progress = Progress(plan.steps, start)
    maker = DialogueMaker(corpus, neighbours, written)
    rows = Rows(prose, maker, tokenizer, plan, progress, step, options.own_samples, options.imagined)
    batches = load_batches(rows, options.workers, on_gpu)
    if on_gpu:
        log({"step": step, "seconds": time.monotonic() - began} | evaluate())
        for _ in range(2):  # at a rate of zero: compiles, before the clock starts
            train_step(model, optimizers, next(batches).to(device), plan, 0.0, teachers).item()
    print(f"compiled after {time.monotonic() - began:.0f} s", flush=True)

    if options.finish_within is not None:
        progress.start_clock(options.finish_within - (time.monotonic() - began))
    saved = time.monotonic()
    end = options.stop_at or (plan.steps if options.finish_within is None else sys.maxsize)
    at = progress.advance(step)
    for batch in batches:
        if step >= end or at >= 1.0:
            break
        if plan.is_last_phase(at) and not (options.run / "before_last_phase.safetensors").exists():
            save_weights(model, options.run / "before_last_phase.safetensors")
        loss = train_step(model, optimizers, batch.to(device), plan, at, teachers)
        step += 1
        at = progress.advance(step)
        if step % AVERAGE_EVERY == 0:
            average.update(model, AVERAGE_EVERY)
        if step % 100 == 0 or step == end:
            entry = {"step": step, "progress": at, "loss": loss.item(), "seconds": time.monotonic() - began}
            log(
                entry
                | (
                    evaluate()
                    if step == end or (options.evaluate_every and step % options.evaluate_every == 0)
                    else {}
                )
            )
        if time.monotonic() - saved > options.checkpoint_every:
            save(at)
            saved = time.monotonic()
    save(at)
    figures = {"last": evaluate()}
    average.swap(model)
    figures["average"] = evaluate()
    seen = "bits_per_byte_seen"
    last, averaged = (sum(v for name, v in one.items() if name != seen) for one in figures.values())
    if averaged < last:
        save_weights(model, options.run / "model.safetensors")
    (options.run / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    save_configs(shape, options.run)
    print(f"stopped at step {step} after {time.monotonic() - began:.0f} s: {figures}", flush=True)
    return step


def read_neighbours(folder: Path) -> dict[str, list[str]]:
    """Words of like meaning (see word_neighbours.py); none where the file is missing."""
    path = folder / NAME
    found: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def compile_parts(model: PackedLlama, optimizers: list[torch.optim.Optimizer]) -> None:
    """Compiles one layer's code for all layers, the loss, and Muon's iteration."""
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.recompile_limit = 32  # context lengths, dropout rates and evaluation each need one
    torch._dynamo.config.specialize_int = True
    for layer in model.layers:
        layer.compile()
    model.compile_losses()
    for optimizer in optimizers:
        if isinstance(optimizer, Muon):
            optimizer.compile()


def train_step(
    model: PackedLlama, optimizers: list[torch.optim.Optimizer], batch: Batch, plan: Plan, progress: float,
    teachers: Teachers | None = None,
) -> torch.Tensor:  # fmt: skip
    """One update; returns the loss (a tensor, so that nothing waits for it)."""
    model.train()
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * plan.lr_factor(progress)
    with torch.autocast("cuda", torch.bfloat16, enabled=batch.tokens.is_cuda):
        loss = weighted_loss(model, batch, plan.last_context, teachers)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.detach()


if __name__ == "__main__":
    main()
