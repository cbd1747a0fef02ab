"""Writes which words mean nearly the same: ``python word_neighbours.py --data CORPUS --out neighbours.json``.

Frequent words of the training prose are embedded one by one by the app's own embedder (all-MiniLM-L6-v2,
Apache-2.0). Training rewords questions with the result, since people seldom ask in the words of the page.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from corpus import Corpus, load_corpus, split_corpus

sys.path.append(str(Path(__file__).resolve().parents[2]))

NAME = "neighbours.json"
_WORD = re.compile(r"\b[a-z]{3,}\b")


def frequent_words(corpus: Corpus, count: int) -> list[str]:
    """The most frequent lower-case words of every third document, without the fifty most frequent."""
    words: Counter[str] = Counter()
    for document in corpus.prose[::3]:
        words.update(_WORD.findall(document.text))
    return [word for word, _ in words.most_common(count + 50)[50:]]


def nearest(words: list[str], vectors: np.ndarray, most: int, least: float) -> dict[str, list[str]]:
    """Up to `most` other words with a cosine of at least `least`, that are no forms of the same word."""
    found: dict[str, list[str]] = {}
    for begin in range(0, len(words), 1000):
        scores = vectors[begin : begin + 1000] @ vectors.T
        for row, scored in enumerate(scores):
            word = words[begin + row]
            order = np.argsort(-scored)[1:25]
            near = [words[i] for i in order if scored[i] >= least and words[i][:4] != word[:4]][:most]
            if near:
                found[word] = near
    return found


def main(arguments: list[str] | None = None) -> None:
    """Embeds the words and writes {word: [others, nearest first]}."""
    from inference.documents.embedding import Embedder

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16_000)
    parser.add_argument("--least", type=float, default=0.62)
    options = parser.parse_args(arguments)
    corpus, _ = split_corpus(load_corpus(options.data))
    words = frequent_words(corpus, options.count)
    vectors = np.concatenate([Embedder().embed(words[at : at + 2000]) for at in range(0, len(words), 2000)])
    neighbours = nearest(words, vectors, 4, options.least)
    options.out.write_text(json.dumps(neighbours, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{len(neighbours):,} of {len(words):,} words have neighbours")


if __name__ == "__main__":
    main()
