"""Fits one temperature on held-out prose and folds it into the weights of a model folder.

A network that has seen its text many times is too sure of itself on new text. Dividing its logits by a
constant mends that (Guo et al. 2017); since the last norm is followed by the output layer only, its gain
divided by the constant does the same for every program that loads the model. Greedy replies stay as they are.

``python packaging/builtin_model/calibrate.py --model FOLDER --data FOLDER``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from corpus import load_corpus, split_corpus
from export import load_model, save_weights
from network import PackedLlama
from prose_loss import ProseLoss
from tokenizer import load_tokenizer

TEMPERATURES = (1.0, 1.05, 1.1, 1.15, 1.2)


def fold_temperature(model: PackedLlama, temperature: float) -> None:
    """Divides all logits of `model` by `temperature`."""
    with torch.no_grad():
        model.norm.weight.div_(temperature)


def best_temperature(model: PackedLlama, prose: ProseLoss, name: str) -> float:
    """The temperature of the grid with the lowest bits per byte on `prose`; `model` ends up unchanged."""
    losses = {}
    for temperature in TEMPERATURES:
        fold_temperature(model, temperature)
        losses[temperature] = prose.measure(model)[f"bits_per_byte_{name}"]
        fold_temperature(model, 1 / temperature)
    print(losses)
    return min(losses, key=losses.__getitem__)


def main(arguments: list[str] | None = None) -> None:
    """Fits on every fourteenth held-out document, so that the rest stays untouched for the evaluation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(options.model).to(device)
    _, held_out = split_corpus(load_corpus(options.data))
    texts = {"fit": [document.text for document in held_out.prose[5::14]]}
    tokenizer = load_tokenizer(options.model)
    prose = ProseLoss(texts, tokenizer, model.shape.context_length, device, 131_072)
    fold_temperature(model, best_temperature(model, prose, "fit"))
    save_weights(model, options.model / "model.safetensors")


if __name__ == "__main__":
    main()
