"""Measures a model folder on data that training never saw and writes the figures as JSON.

``python packaging/builtin_model/evaluate.py --model FOLDER --data FOLDER --out FILE [--pdfs FOLDER]``
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from baseline import best_sentence
from corpus import Corpus, load_corpus, split_corpus
from export import load_model
from metrics import score
from prose_loss import ProseLoss
from question_sets import Item, make_page_set, make_set, page_questions
from reader import Messages, Reader
from tokenizer import load_tokenizer

sys.path.append(str(Path(__file__).resolve().parents[2]))
from inference.documents.prompting import AnswerStyle, Source, build_messages

PASSAGES = (1, 5, 3)
NEW_TOKENS = {AnswerStyle.SPAN: 64, AnswerStyle.SENTENCE: 128}
PAGE_TOKENS = 128


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder of the corpus; its held-out part is used")
    parser.add_argument("--pdfs", type=Path, help="folder with questions.jsonl and real/*.pdf")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=1000, help="answerable ones; half as many without")
    parser.add_argument("--pages", type=int, default=300, help="questions on page-like text")
    parser.add_argument("--skip-prose", action="store_true")
    parser.add_argument("--brief", action="store_true", help="only the app's own prompt form")
    return parser.parse_args(arguments)


def app_chat(item: Item, style: AnswerStyle = AnswerStyle.SPAN) -> Messages:
    """The app's own form."""
    return build_messages(item.question, [Source(text=text) for text in item.expected.sources], style=style)


def plain_chat(item: Item) -> Messages:
    """What someone would type who does not know the app's form: unnumbered context, then the question."""
    context = "\n\n".join(item.expected.sources)
    return [{"role": "user", "content": f"Context: {context}\n\nQuestion: {item.question}"}]


def numbered_chat(item: Item) -> Messages:
    """Numbered sources in a plain user turn without system prompt, the question only at the end."""
    sources = "\n\n".join(f"[{n}] {text}" for n, text in enumerate(item.expected.sources, 1))
    return [{"role": "user", "content": f"Sources:\n{sources}\n\nQuestion: {item.question}"}]


def measure_prose(folder: Path, held_out: Corpus) -> dict[str, float]:
    """Bits per byte on the held-out documents, overall and by collection."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = load_model(folder).to(device)
    groups: dict[str, list[str]] = {"all": [document.text for document in held_out.prose]}
    for document in held_out.prose:
        collection = "books" if document.source.startswith("standardebooks/") else document.source
        groups.setdefault(collection, []).append(document.text)
    large = {name: texts for name, texts in groups.items() if sum(map(len, texts)) > 20_000}
    tokens = 131_072 if device.type == "cuda" else 8_192
    return ProseLoss(large, load_tokenizer(folder), model.shape.context_length, device, tokens).measure(model)


def measure_questions(reader: Reader, held_out: Corpus, count: int, brief: bool) -> Iterator[dict[str, Any]]:
    """Scores by prompt form and number of passages; the lexical baseline on the same questions.

    Yields the growing result after each number of passages.
    """
    results: dict[str, Any] = {}
    samples: list[dict[str, Any]] = []
    for passages in PASSAGES:
        items = make_set(held_out, passages, count, count // 2)
        expected = [item.expected for item in items]
        forms = {"app": [app_chat(item) for item in items]}
        if not brief:
            forms["plain context"] = [plain_chat(item) for item in items]
            forms["numbered, question last"] = [numbered_chat(item) for item in items]
            forms["whole sentence"] = [app_chat(item, AnswerStyle.SENTENCE) for item in items]
        for form, chats in forms.items():
            limit = NEW_TOKENS[AnswerStyle.SENTENCE if form == "whole sentence" else AnswerStyle.SPAN]
            replies = reader.reply(chats, max_new_tokens=limit)
            results[f"{form}, {passages}"] = score(replies, expected)
            if form == "app":
                samples += [
                    {"question": item.question, "expected": asdict(item.expected), "reply": reply}
                    for item, reply in list(zip(items, replies, strict=True))[:: max(1, len(items) // 12)]
                ]
        if not brief:
            lexical = [best_sentence(item.question, item.expected.sources) for item in items]
            results[f"bm25 sentence, {passages}"] = score(lexical, expected)
        yield {"scores": results, "samples": samples}


def measure_pages(reader: Reader, items: list[Item]) -> dict[str, Any]:
    """Scores on pages, in both styles and by the lexical baseline."""
    if not items:
        return {}
    expected = [item.expected for item in items]
    result: dict[str, Any] = {"scores": {}, "replies": {}}
    for style in AnswerStyle:
        replies = reader.reply([app_chat(item, style) for item in items], max_new_tokens=PAGE_TOKENS)
        result["scores"][style.value] = score(replies, expected)
        result["replies"][style.value] = [
            {"question": i.question, "answer": i.expected.answer, "reply": r}
            for i, r in zip(items, replies, strict=True)
        ]
    lexical = [best_sentence(item.question, item.expected.sources) for item in items]
    result["scores"]["bm25 sentence"] = score(lexical, expected)
    return result


CHATS = (
    "Hello! Who are you?",
    "What is the capital of France?",
    "Give me a synonym of happy.",
    "Tell me a joke.",
)


def draw_samples(reader: Reader, held_out: Corpus) -> dict[str, Any]:
    """Chats and continuations of held-out prose, not picked: every n-th document, sampled at 0.7."""
    torch.manual_seed(0)
    documents = held_out.prose[:: max(1, len(held_out.prose) // 5)][:5]
    starts = [" ".join(document.text.split()[:24]) for document in documents]
    bos = str(reader.tokenizer.bos_token)
    prompts = [bos + start for start in starts]
    continued = reader.complete(prompts, max_new_tokens=80, temperature=0.7)
    replies = reader.reply([[{"role": "user", "content": text}] for text in CHATS], max_new_tokens=60)
    return {
        "continuations": [{"prompt": p, "text": t} for p, t in zip(starts, continued, strict=True)],
        "chats": [{"prompt": p, "text": t} for p, t in zip(CHATS, replies, strict=True)],
    }


def main(arguments: list[str] | None = None) -> None:
    """Measures what the arguments ask for and writes it; parts without data are left out.

    What is measured is written after each part, so that a stop in between loses little.
    """
    options = parse_arguments(arguments)
    reader = Reader(options.model)
    results: dict[str, Any] = {"load_seconds": reader.load_seconds, "device": reader.device.type}
    began = time.monotonic()

    def write() -> None:
        results["seconds"] = time.monotonic() - began
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    if options.pdfs:
        results["pages"] = measure_pages(reader, page_questions(options.pdfs))
        write()
    if options.data:
        _, held_out = split_corpus(load_corpus(options.data))
        results["page-like"] = measure_pages(reader, make_page_set(held_out, options.pages))
        write()
        results["samples"] = draw_samples(reader, held_out)
        if not options.skip_prose:
            results["prose"] = measure_prose(options.model, held_out)
        write()
        for measured in measure_questions(reader, held_out, options.questions, options.brief):
            results["questions"] = measured
            write()
    summary = {
        "prose": results.get("prose"),
        "scores": results.get("questions", {}).get("scores"),
        "pages": results.get("pages", {}).get("scores"),
        "page-like": results.get("page-like", {}).get("scores"),
        "seconds": results["seconds"],
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
