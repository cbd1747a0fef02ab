"""Writes questions about the prose: ``python question_writer.py --data CORPUS --model FOLDER --out FILE``.

Only 6,000 questions of the corpus were asked by people about running text. A copy of the model learns from
them to ask about a sentence, and then asks about sentences of all the training prose. Its questions read like
a person's and often miss the point, but they share words with their sentence; those that do not are dropped.
See written_questions.py for the file.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from asking import FUNCTION_WORDS
from corpus import DICTIONARY, FILMS, Corpus, Document, load_corpus, split_corpus
from dialogues import GROUP_WEIGHTS
from reader import Reader
from sentences import split_sentences
from torch import Tensor
from written_questions import document_key

EPOCHS, BATCH, RATE = 5, 160, 5e-4
NEW_TOKENS, TEMPERATURE, TOP_P = 26, 0.85, 0.95
_TALES = "uci-soe/FairytaleQAData"
# How likely a sentence of a collection is asked about: what resembles reports and manuals most.
_SHARES = {"wikipedia": 0.24, "GSA/digitalgov.gov": 1.0, "18F/18f.gsa.gov": 1.0, FILMS: 0.06, DICTIONARY: 0.0}
_BOOKS, _OTHERS = 0.06, 0.6
_WORD = re.compile(r"[A-Za-z0-9]{3,}")

Place = tuple[Document, int, str]  # a document, where the sentence begins, the sentence


def is_story(source: str) -> bool:
    """Whether a collection tells stories; the writer asks differently about them."""
    return source.startswith(("standardebooks/", "global-asp/")) or source == _TALES


def human_pairs(corpus: Corpus) -> list[tuple[str, str, str]]:
    """(instruction, sentence, question by a person); those on reports count four times, being few."""
    pairs = []
    for row in corpus.questions:
        if row.source not in GROUP_WEIGHTS and row.answer and 3 <= row.evidence.count(" ") < 70:
            story = is_story(row.source)
            pair = (_instruction(story), " ".join(row.evidence.split()), row.question)
            pairs += [pair] * (1 if story else 4)
    return pairs


def _instruction(story: bool) -> str:
    return f"Ask about this {'story' if story else 'report'}."


def choose_sentences(corpus: Corpus, rng: random.Random) -> Iterator[Place]:
    """Whole sentences of 7 to 45 words."""
    for document in corpus.prose:
        book = document.source.startswith("standardebooks/")
        share = _BOOKS if book else _SHARES.get(document.source, _OTHERS)
        at = 0
        for sentence in split_sentences(document.text):
            at = document.text.find(sentence, at)
            if 6 <= sentence.count(" ") < 45 and sentence[-1] in ".!?”)" and rng.random() < share:
                yield document, at, sentence
            at += len(sentence)


class Writer:
    """A model in training to ask; `model` is a transformers Llama, changed in place."""

    def __init__(self, reader: Reader) -> None:
        self.reader, self.tokenizer = reader, reader.tokenizer
        self.model: Any = reader.model.float()
        self.end = self.tokenizer.convert_tokens_to_ids("<|end|>")

    def _prompt(self, instruction: str, sentence: str) -> list[int]:
        chat = [{"role": "system", "content": instruction}, {"role": "user", "content": sentence}]
        text = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def learn(self, pairs: Sequence[tuple[str, str, str]], epochs: int, rng: random.Random) -> float:
        """AdamW on the questions' tokens; returns the last batch's loss in nats."""
        items = []
        for instruction, sentence, question in pairs:
            asked = self.tokenizer(question, add_special_tokens=False)["input_ids"]
            items.append((self._prompt(instruction, sentence), [*asked, self.end]))
        size = min(BATCH, len(items))
        steps = epochs * len(items) // size
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.1)
        self.model.train()
        loss = torch.tensor(0.0)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, (step + 1) / 20) * (1 - step / steps)
            loss = self._loss(rng.sample(items, size))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
        return float(loss)

    def _loss(self, items: list[tuple[list[int], list[int]]]) -> Tensor:
        length = max(len(prompt) + len(asked) for prompt, asked in items)
        tokens = torch.full((len(items), length), self.end)
        targets = torch.full((len(items), length), -100)
        for row, (prompt, asked) in enumerate(items):
            end = len(prompt) + len(asked)
            tokens[row, :end] = torch.tensor(prompt + asked)
            targets[row, len(prompt) : end] = torch.tensor(asked)
        device = self.reader.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = self.model(input_ids=tokens.to(device)).logits
        return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), targets[:, 1:].flatten().to(device))

    @torch.inference_mode()
    def ask(self, places: Sequence[Place]) -> list[str]:
        """A sampled question for each sentence; empty where it did not come to an end."""
        self.model.eval()
        prompts = [self._prompt(_instruction(is_story(document.source)), s) for document, _, s in places]
        inputs = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(self.reader.device)
        output = self.model.generate(
            **inputs, max_new_tokens=NEW_TOKENS, do_sample=True, temperature=TEMPERATURE, top_p=TOP_P,
            eos_token_id=self.end,
        )  # fmt: skip
        fresh = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self.tokenizer.decode(ids[: ids.index(self.end)]) if self.end in ids else "" for ids in fresh]


def is_usable(question: str, sentence: str) -> bool:
    """Whether a question is one, and speaks of the sentence more than of other things."""
    asked, said = (
        {word.lower()[:5] for word in _WORD.findall(text) if word.lower() not in FUNCTION_WORDS}
        for text in (question, sentence)
    )
    shared, strange = len(asked & said), len(asked - said)
    whole = 3 <= question.count(" ") < 22 and question.endswith("?")
    return whole and shared > 0 and strange <= max(2, shared)


def main(arguments: list[str] | None = None) -> None:
    """Trains the writer, then writes questions until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="for writing, after the training")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--batch", type=int, default=4096)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    rng = random.Random(0)
    corpus, _ = split_corpus(load_corpus(options.data))
    writer = Writer(Reader(options.model))
    print(f"last loss {writer.learn(human_pairs(corpus), options.epochs, rng):.2f}", flush=True)
    places = list(choose_sentences(corpus, rng))
    rng.shuffle(places)
    asked: dict[str, list[tuple[int, int, str]]] = {}
    began, count = time.monotonic(), 0
    for begin in range(0, len(places), options.batch):
        if time.monotonic() - began > options.seconds:
            break
        chosen = places[begin : begin + options.batch]
        for (document, at, sentence), question in zip(chosen, writer.ask(chosen), strict=True):
            if is_usable(question, sentence):
                asked.setdefault(document_key(document), []).append((at, len(sentence), question))
                count += 1
    with lzma.open(options.out, "wt", encoding="utf-8") as file:
        for key, rows in asked.items():
            file.write(json.dumps({"document": key, "asked": rows}, ensure_ascii=False) + "\n")
    print(f"{count} questions on {len(asked)} documents")


if __name__ == "__main__":
    main()
