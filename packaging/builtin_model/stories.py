"""Measures how a model tells stories: how often it goes round in circles, greedily and as the app draws.

``python packaging/builtin_model/stories.py --model FOLDER --out FILE``

A reply loops where more than 30 % of its runs of four words stood in it before. "preset" draws as the app's
preset for small models does: temperature 0.7, top-p 0.95, frequency penalty 0.3.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from reader import Reader
from torch import Tensor
from transformers import LogitsProcessor

SUBJECTS = (
    "a fox", "a lost key", "two brothers", "the sea", "a king", "a robot", "a village", "the moon", "a dog",
    "an old house", "a ship", "a teacher", "a bear", "a rainy day", "a garden", "a train", "a bird", "winter",
    "a wizard", "a lighthouse keeper and a storm",
)  # fmt: skip
LOOPS_FROM = 0.3
NEW_TOKENS = 200


class FrequencyPenalty(LogitsProcessor):  # type: ignore[misc]
    """Takes `penalty` from a token's logit for each time it was drawn; the prompt does not count."""

    def __init__(self, penalty: float, prompt_length: int) -> None:
        self._penalty, self._prompt_length = penalty, prompt_length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = input_ids[:, self._prompt_length :]
        counts = torch.zeros_like(scores).scatter_add_(1, drawn, torch.ones_like(drawn, dtype=scores.dtype))
        return scores - self._penalty * counts


def repeated_share(text: str, run: int = 4) -> float:
    """Share of the runs of `run` words that stood in `text` before."""
    words = text.split()
    runs = [tuple(words[at : at + run]) for at in range(len(words) - run + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def distinct(texts: list[str], run: int) -> float:
    """Different runs of `run` words over all runs in all texts (Li et al. 2016)."""
    told = [text.split() for text in texts]
    runs = [tuple(words[at : at + run]) for words in told for at in range(len(words) - run + 1)]
    return len(set(runs)) / max(1, len(runs))


@torch.inference_mode()
def tell(reader: Reader, preset: bool) -> list[str]:
    """One story per subject."""
    chats = [[{"role": "user", "content": f"Tell me a story about {subject}."}] for subject in SUBJECTS]
    prompts = [
        reader.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        for chat in chats
    ]
    ids = [reader.tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    inputs = reader.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(reader.device)
    length = inputs["input_ids"].shape[1]
    settings: dict[str, Any] = {"do_sample": False}
    if preset:
        penalty = FrequencyPenalty(0.3, length)
        settings = {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "top_k": 0}
        settings["logits_processor"] = [penalty]
    output = reader.model.generate(**inputs, max_new_tokens=NEW_TOKENS, **settings)
    texts: list[str] = reader.tokenizer.batch_decode(output[:, length:], skip_special_tokens=True)
    return texts


def measure_stories(reader: Reader) -> dict[str, Any]:
    """{"greedy": {...}, "preset": {...}}: looping replies, distinct runs, words a reply, the stories."""
    torch.manual_seed(0)
    result: dict[str, Any] = {}
    for name in ("greedy", "preset"):
        texts = tell(reader, name == "preset")
        result[name] = {
            "looping": sum(repeated_share(text) > LOOPS_FROM for text in texts),
            "of": len(texts),
            "repeated_share": sum(map(repeated_share, texts)) / len(texts),
            "distinct_2": distinct(texts, 2),
            "distinct_4": distinct(texts, 4),
            "words": sum(len(text.split()) for text in texts) / len(texts),
            "texts": texts,
        }
    return result


def main(arguments: list[str] | None = None) -> None:
    """Measures and writes; prints the figures without the texts and two of the stories."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    result = measure_stories(Reader(options.model))
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, figures in result.items():
        print(name, {key: value for key, value in figures.items() if key != "texts"})
        print("   ", figures["texts"][0][:400].replace("\n", " / "))


if __name__ == "__main__":
    main()
