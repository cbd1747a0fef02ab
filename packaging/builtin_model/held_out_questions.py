"""Writes the questions that training never saw, for ``python -m inference bench evidence``.

``python packaging/builtin_model/held_out_questions.py --data FOLDER --output held_out.jsonl``
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from corpus import Corpus, Question, load_corpus, split_corpus


def answerable(held_out: Corpus) -> Iterator[Question]:
    """Questions whose answer is there, each pair of passage and question once."""
    seen: set[tuple[str, str]] = set()
    for question in held_out.questions:
        key = question.context, question.question
        if question.answer and key not in seen:
            seen.add(key)
            yield question


def main(arguments: list[str] | None = None) -> None:
    """One JSON object a line: source, context, question, answer, evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    _, held_out = split_corpus(load_corpus(options.data))
    rows = [json.dumps(dataclasses.asdict(each), ensure_ascii=False) for each in answerable(held_out)]
    options.output.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows)} questions")


if __name__ == "__main__":
    main()
