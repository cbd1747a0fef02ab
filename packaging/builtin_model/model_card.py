"""Writes the model card from card.md and the figures in results/: ``python model_card.py --out FILE``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Figures = dict[str, Any]

_COLUMNS = ("exact", "f1", "contains", "literal", "cited_right", "refused_right", "false_refusals")
_FORMS = (
    ("app", "the app's form"),
    ("numbered, question last", "numbered sources, no system prompt"),
    ("plain context", '"Context: ... Question: ..."'),
    ("whole sentence", "the app's form, whole sentence asked for"),
)


def _row(name: str, scores: dict[str, float], uncited: bool = False) -> str:
    cells = [
        "-" if column == "cited_right" and uncited else f"{100 * scores[column]:.1f}" for column in _COLUMNS
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def question_table(final: Figures, second: Figures, first: Figures, before: Figures) -> str:
    """Scores by number of passages and prompt form, with the baselines; per cent, where measured."""
    head = "| passages, form | " + " | ".join(name.replace("_", " ") for name in _COLUMNS) + " |"
    lines = [head, "| --- |" + " ---: |" * len(_COLUMNS)]
    rows = [(form, label, final) for form, label in _FORMS]
    rows += [(form, f"{label}, second training", second) for form, label in _FORMS]
    rows += [
        ("app", "first training", first),
        ("app", "first training without its last phase", before),
        ("bm25 sentence", "BM25 sentence", second),
    ]
    for count in (1, 3, 5):
        for form, label, figures in rows:
            scores = figures["questions"]["scores"].get(f"{form}, {count}")
            if scores is not None:
                lines.append(_row(f"{count}, {label}", scores, uncited=form == "plain context"))
    return "\n".join(lines)


def prose_table(final: Figures, second: Figures, first: Figures) -> str:
    """Bits per byte by collection."""
    lines = ["| collection | now | second training | first |", "| --- | ---: | ---: | ---: |"]
    for name, value in final["prose"].items():
        label = name.removeprefix("bits_per_byte_")
        lines.append(f"| {label} | {value:.3f} | {second['prose'][name]:.3f} | {first['prose'][name]:.3f} |")
    return "\n".join(lines)


def page_table(final: Figures, second: Figures, first: Figures) -> str:
    """Real pages and page-like text: replies that contain the answer, refusals, quotes; per cent."""
    lines = ["| pages, reply | contains | refused | literal |", "| --- | ---: | ---: | ---: |"]
    for figures, when in ((final, ""), (second, ", second training"), (first, ", first training")):
        for key, what in (("pages", "real"), ("page-like", "made up")):
            for name, scores in figures.get(key, {}).get("scores", {}).items():
                cells = (scores["contains"], scores["false_refusals"], scores["literal"])
                label = f"{what}, {name}{'' if name.startswith('bm25') else when}"
                if not (when and name.startswith("bm25")):
                    lines.append(f"| {label} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |")
    return "\n".join(lines)


def _quote(text: str) -> str:
    return " ".join(text.split())


def sample_list(final: Figures) -> str:
    """Twenty samples: questions at fixed steps through the sets, continuations and chats."""
    lines = []
    samples = final["questions"]["samples"]
    for sample in samples[:: max(1, len(samples) // 11)][:11]:
        wanted = sample["expected"]["answer"] or "(not in the sources)"
        count = len(sample["expected"]["sources"])
        lines.append(
            f"1. Question over {count} passage(s): {_quote(sample['question'])}\\\n"
            f"   expected: {_quote(wanted)}\\\n   reply: {_quote(sample['reply'])}"
        )
    continued, chats = final["samples"]["continuations"], final["samples"]["chats"]
    lines += [f"1. *{_quote(sample['prompt'])}* {_quote(sample['text'])}" for sample in continued]
    lines += [
        f"1. User: {_quote(sample['prompt'])}\\\n   Model: {_quote(sample['text'])}" for sample in chats
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Fills the template."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    final, second, first, before = (
        json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("final", "second_training", "first_training", "before_last_phase")
    )
    card = (HERE / "card.md").read_text(encoding="utf-8")
    parts = {
        "QUESTIONS": question_table(final, second, first, before),
        "PROSE": prose_table(final, second, first),
        "PAGES": page_table(final, second, first),
        "SAMPLES": sample_list(final),
    }
    for name, text in parts.items():
        card = card.replace(f"<!-- {name} -->", text)
    options.out.write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
