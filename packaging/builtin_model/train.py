"""Trains the built-in model: ``python packaging/builtin_model/train.py --data FOLDER --run FOLDER``.

Stops after ``--stop-after`` seconds (or at any time) and goes on from the last checkpoint when started again
with the same ``--run``. Without a checkpoint, ``--from-weights`` starts from weights that exist already.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from batches import Batch, Rows, load_batches, weighted_loss
from checkpoint import load_checkpoint, save_checkpoint
from corpus import load_corpus, split_corpus
from dialogues import DialogueMaker
from export import load_weights, save_configs, save_weights
from network import PackedLlama, attention_by_document, attention_varlen
from optimizer import Muon, build_optimizers
from packing import TokenizedProse
from plan import Plan
from prose_loss import ProseLoss
from shape import SHAPES
from tokenizer import load_tokenizer, save_tokenizer, train_bpe


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line; every number of the plan can be set as ``--set name=value``."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--data", type=Path, required=True, help="folder of the corpus (*.jsonl.xz)")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints, log and weights")
    parser.add_argument("--size", choices=SHAPES, default="wide")
    parser.add_argument("--tokenizer", type=Path, help="model folder with a tokenizer (else trained)")
    parser.add_argument("--from-weights", type=Path, help="model.safetensors to start from")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the plan")
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="SECONDS")
    parser.add_argument("--stop-at", type=int, help="stop before this step")
    parser.add_argument("--checkpoint-every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--evaluate-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--workers", type=int, default=0)
    return parser.parse_args(arguments)


def make_plan(settings: list[str]) -> Plan:
    """The plan with ``name=value`` settings applied.

    Raises:
        ValueError: there is no such number in the plan.
    """
    known = {field.name: field.default for field in fields(Plan)}
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if not isinstance(known.get(name), int | float):
            raise ValueError(f"the plan has no number named {name!r}")
        changes[name] = int(value) if isinstance(known[name], int) else float(value)
    return replace(Plan(), **changes)


def main(arguments: list[str] | None = None) -> int:
    """Runs the training; returns the step it stopped at."""
    options = parse_arguments(arguments)
    began = time.monotonic()
    plan, shape = make_plan(options.set), SHAPES[options.size]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)

    corpus, held_out = split_corpus(load_corpus(options.data))
    tokenizer_folder = options.tokenizer or options.run
    if not (tokenizer_folder / "tokenizer.json").exists():
        texts = (document.text for document in corpus.prose)
        save_tokenizer(train_bpe(texts, shape.vocab_size), tokenizer_folder, shape.context_length)
    tokenizer = load_tokenizer(tokenizer_folder)
    prose = TokenizedProse.encode([document.text for document in corpus.prose], tokenizer)
    print(f"{len(prose.ids):,} tokens of prose, {shape.parameters:,} weights, {device.type}", flush=True)

    on_gpu = device.type == "cuda"
    model = PackedLlama(shape, attention_varlen if on_gpu else attention_by_document, plan.dropout).to(device)
    optimizers = build_optimizers(
        model, matrix_lr=plan.matrix_lr, embedding_lr=plan.embedding_lr, weight_decay=plan.weight_decay
    )
    step = load_checkpoint(options.run, model, optimizers)
    if step == 0 and options.from_weights:
        load_weights(model, options.from_weights)
    if on_gpu:
        compile_parts(model, optimizers)
    prose_loss = ProseLoss(
        {"held_out": [d.text for d in held_out.prose], "seen": [d.text for d in corpus.prose[::97]]},
        tokenizer, shape.context_length, device, plan.batch_tokens,
    )  # fmt: skip
    rows = Rows(prose, DialogueMaker(corpus), tokenizer, plan, step)

    saved = time.monotonic()
    end = min(plan.steps, options.stop_at or plan.steps)
    for batch in load_batches(rows, options.workers, pin=on_gpu):
        if step >= end or time.monotonic() - began > options.stop_after:
            break
        if plan.is_last_phase(step) and (step == 0 or not plan.is_last_phase(step - 1)):
            save_weights(model, options.run / "before_last_phase.safetensors")
        loss = train_step(model, optimizers, batch.to(device), plan, step)
        step += 1
        if step % 50 == 0 or step == end:
            entry: dict[str, float] = {"step": step, "loss": loss.item(), "seconds": time.monotonic() - began}
            if step % options.evaluate_every == 0 or step == end:
                entry |= prose_loss.measure(model)
            line = json.dumps({name: round(value, 4) for name, value in entry.items()})
            with (options.run / "log.jsonl").open("a", encoding="utf-8") as log:
                print(line, file=log)
            if step % 250 == 0 or step == end:
                print(line, flush=True)
        if time.monotonic() - saved > options.checkpoint_every:
            save_checkpoint(options.run, model, optimizers, step)
            saved = time.monotonic()
    save_checkpoint(options.run, model, optimizers, step)
    save_weights(model, options.run / "model.safetensors")
    save_configs(shape, options.run)
    print(f"stopped at step {step} of {plan.steps} after {time.monotonic() - began:.0f} s", flush=True)
    return step


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
    model: PackedLlama, optimizers: list[torch.optim.Optimizer], batch: Batch, plan: Plan, step: int
) -> torch.Tensor:
    """One update; returns the loss (a tensor, so that nothing waits for it)."""
    model.train()
    dropout = plan.last_dropout if plan.is_last_phase(step) else plan.dropout
    model.set_dropout(dropout)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * plan.lr_factor(step)
    with torch.autocast("cuda", torch.bfloat16, enabled=batch.tokens.is_cuda):
        loss = weighted_loss(model, batch, plan.context(step))
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.detach()


if __name__ == "__main__":
    main()
