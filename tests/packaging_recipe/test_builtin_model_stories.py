"""Stories, their loops and the teachers: what the fourth training added to the recipe."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch


def tale(source: str, number: int) -> Any:
    from corpus import Document

    sentences = " ".join(f"The fox was hungry on day {day}." for day in range(number, number + 30))
    return Document(source, "The Fox", f"The Fox and the Crow\n{sentences}")


def test_a_story_that_was_asked_for_is_the_beginning_of_a_tale_and_goes_on_where_it_stopped() -> None:
    from story_chats import StoryMaker

    tales = [tale("global-asp/asp-source", number) for number in (0, 40)]
    maker, rng = StoryMaker.of(tales), random.Random(2)
    for _ in range(40):
        turns = maker.draw(rng)
        assert [role for role, _ in turns] == ["user", "assistant"] * (len(turns) // 2)
        told = " ".join(text for role, text in turns if role == "assistant")
        assert any(told in each.text for each in tales)
        assert "fox" in turns[0][1] or "story" in turns[0][1]


def test_the_tokens_that_end_a_run_said_before_are_found() -> None:
    from loops import first_of_each_loop, repeated_positions

    marks = repeated_positions([1, 2, 3, 4, 9, 1, 2, 3, 4, 5], run=4)
    assert [at for at, mark in enumerate(marks) if mark] == [8]
    assert first_of_each_loop([True, True, True, False, True], most=2) == [True, True, False, False, True]


def test_own_words_weigh_negatively_where_they_repeat_and_only_there(builtin: Path) -> None:
    from loops import OwnSample
    from packing import encode_own
    from tokenizer import load_tokenizer

    tokenizer = load_tokenizer(builtin)
    assert encode_own(OwnSample("Hello!", "", "Hi! What would you like to know?"), tokenizer) is None
    again = " He went to the old mill by the river."
    piece = encode_own(OwnSample("Tell me a story.", "", "It rained." + again * 3), tokenizer)
    assert piece is not None
    avoided = [tokenizer.decode([int(piece.ids[at + 1])]) for at in (piece.weights < 0).nonzero()[0]]
    assert set(avoided) <= {tokenizer.decode([token]) for token in tokenizer.encode(again * 2).ids}
    assert avoided
    assert all(word.startswith(" ") for word in avoided)
    assert (piece.weights <= 0).all()


def test_samples_are_read_again_when_the_file_changes(builtin: Path, tmp_path: Path) -> None:
    import os

    from packing import OwnLoops
    from tokenizer import load_tokenizer

    path = tmp_path / "own.jsonl"
    own = OwnLoops(path, load_tokenizer(builtin))
    assert own.pieces() == []
    row = {"request": "Go on.", "begin": "", "reply": "And then it rained again and again. " * 6}
    for count, at in ((1, 100.0), (3, 200.0)):
        path.write_text((json.dumps(row) + "\n") * count, encoding="utf-8")
        os.utime(path, (at, at))
        assert len(own.pieces()) == count


def test_teachers_mean_prediction_is_what_is_learnt_from() -> None:
    from network import PackedLlama
    from shape import Shape
    from teachers import Teachers

    torch.manual_seed(0)
    shape = Shape(vocab_size=32, width=64, layers=1, heads=1, kv_heads=1, ffn_width=64, context_length=32)
    pupil, *networks = (PackedLlama(shape).eval() for _ in range(3))
    tokens, positions = torch.randint(32, (12,)), torch.tensor([0, 1, 2, 3, *range(8)])
    starts = torch.tensor([0, 4, 12, 12], dtype=torch.int32)
    teachers = Teachers(networks, 8, 0.5)
    hidden = pupil(tokens, positions, starts, 8)
    soft = teachers.losses(pupil, hidden, tokens, positions, starts, 8)
    wanted = torch.stack(
        [each.logits(each(tokens, positions, starts, 8))[4:].softmax(-1) for each in networks]
    ).mean(0)
    expected = torch.nn.functional.cross_entropy(pupil.logits(hidden)[4:], wanted, reduction="none")
    assert torch.allclose(soft, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "share"), [("one two three four five", 0.0), ("a b c d a b c d", 0.2), ("", 0.0)]
)
def test_share_of_repeated_runs(text: str, share: float) -> None:
    from stories import repeated_share

    assert repeated_share(text) == pytest.approx(share)


def test_frequency_penalty_counts_what_was_drawn_and_not_the_prompt() -> None:
    from stories import FrequencyPenalty

    scores = FrequencyPenalty(0.5, 2)(torch.tensor([[3, 3, 1, 1, 2]]), torch.zeros(1, 4))
    assert scores.tolist() == [[0.0, -1.0, -0.5, 0.0]]


@pytest.mark.parametrize("length", [2, 7, 8, 9, 12, 13, 40])
def test_windows_over_a_long_document_count_every_token_once_and_with_half_a_context_before(
    length: int,
) -> None:
    import numpy as np
    from prose_loss import windows

    context, counts = 8, np.zeros(length)
    for piece in windows(np.arange(length, dtype=np.uint16), context):
        assert len(piece.ids) <= context
        for at, weight in zip(piece.ids, piece.weights, strict=True):
            if weight:
                counts[at + 1] += weight
                assert at - piece.ids[0] + 1 >= min(at + 1, context // 2)
    assert counts.tolist() == [0] + [1] * (length - 1)
