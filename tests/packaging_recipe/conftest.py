"""Puts the recipe's folder on the path, as running its scripts does, and makes a corpus of a few lines."""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = ROOT / "resources" / "models" / "builtin"
sys.path.insert(0, str(ROOT / "packaging" / "builtin_model"))

TOWNS = (
    "Alder",
    "Birch",
    "Cedar",
    "Dogwood",
    "Elm",
    "Fir",
    "Ginkgo",
    "Hazel",
    "Ivy",
    "Juniper",
    "Kapok",
    "Larch",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The sums here are small: a second thread only waits, and on a busy machine it waits long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def builtin() -> Path:
    """The folder of the built-in model; skips where the weights are not checked out."""
    if not (BUILTIN / "model.safetensors").exists():
        pytest.skip("the built-in model's weights are not here")
    return BUILTIN


@pytest.fixture
def corpus_folder(tmp_path: Path) -> Path:
    """A corpus in the real one's format: towns, when they were founded, and small talk."""
    prose, questions, chats = [], [], []
    for number, town in enumerate(TOWNS * 8):
        name, year = f"{town} {number}", 1700 + number
        fact = f"The town of {name} was founded in {year}."
        text = (
            f"{fact} It stands by a river, and its market is known for {town.lower()} wood. "
            f"In {year + 50}, the council built a bridge of stone in {town}. "
            "Many travellers crossed the bridge because the ford was deep. "
            f"The old mill was designed by {town} Miller. {number} boats lie there."
        )
        prose.append({"source": "towns", "title": name, "text": text})
        row = {"source": "towns", "context": f"{fact} Its market is large and old, and many come to see it."}
        questions.append(
            row | {"question": f"When was {name} founded?", "answer": str(year), "evidence": fact}
        )
        questions.append(row | {"question": f"Who rules {name}?", "answer": "", "evidence": ""})
        turns = [
            {"role": "user", "content": f"Hello from {name}"},
            {"role": "assistant", "content": "Hello!"},
        ]
        chats.append({"source": "talk", "messages": turns})
    folder = tmp_path / "corpus"
    folder.mkdir()
    for kind, rows in (("prose", prose), ("qa", questions), ("chat", chats)):
        with lzma.open(folder / f"{kind}-00.jsonl.xz", "wt", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)
    return folder
