"""Stories, their loops, teachers and the texts they write."""

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


def test_own_words_are_avoided_where_they_begin_to_repeat_and_only_there(builtin: Path) -> None:
    from loops import OwnSample
    from packing import encode_own
    from tokenizer import load_tokenizer

    tokenizer = load_tokenizer(builtin)

    def said(text: str) -> OwnSample:
        return OwnSample((1, 5), tuple(tokenizer.encode(text).ids))

    assert encode_own(said("Hi! What would you like to know?"), tokenizer) is None
    again = " He went to the old mill by the river."
    sample = said("It rained." + again * 3)
    piece = encode_own(sample, tokenizer)
    assert piece is not None
    assert piece.soft == 1.0
    assert piece.ids.tolist() == [1, 5, *sample.reply]
    avoided = [tokenizer.decode([int(piece.ids[at + 1])]) for at in (piece.weights < 0).nonzero()[0]]
    assert avoided
    assert all(word.startswith(" ") for word in avoided)
    first_telling = len(tokenizer.encode("It rained." + again).ids)
    assert (piece.weights[1 : first_telling + 1] >= 0).all()
    assert (piece.weights[first_telling + 4 :] <= 0).all()


def test_samples_are_read_again_when_the_file_changes(builtin: Path, tmp_path: Path) -> None:
    import os

    from packing import OwnLoops
    from tokenizer import load_tokenizer

    path = tmp_path / "own.jsonl"
    own = OwnLoops(path, load_tokenizer(builtin))
    assert own.pieces() == []
    row = {"prompt": [1], "reply": [700, 701, 702, 703, 704] * 6}
    for count, at in ((1, 100.0), (3, 200.0)):
        path.write_text((json.dumps(row) + "\n") * count, encoding="utf-8")
        os.utime(path, (at, at))
        assert len(own.pieces()) == count


def tiny_network(**changes: int) -> Any:
    from network import PackedLlama
    from shape import Shape

    sizes = {"width": 64, "layers": 1, "heads": 1, "kv_heads": 1, "ffn_width": 64} | changes
    return PackedLlama(Shape(vocab_size=32, context_length=32, **sizes)).eval()


def test_teachers_mean_prediction_is_what_is_learnt_from_but_for_what_is_to_be_avoided() -> None:
    from batches import Batch
    from teachers import Teachers

    torch.manual_seed(0)
    pupil, *networks = tiny_network(), tiny_network(), tiny_network(width=128, heads=2)
    tokens, positions = torch.randint(32, (12,)), torch.tensor([0, 1, 2, 3, *range(8)])
    starts = torch.tensor([0, 4, 12, 12], dtype=torch.int32)
    weights = torch.ones(12)
    weights[7] = -1.0
    batch = Batch(tokens, tokens.roll(-1), weights, positions, starts, torch.ones(12))
    never = torch.zeros(32, dtype=torch.bool)
    never[3] = True
    hidden = pupil(tokens, positions, starts, 8)
    soft = Teachers(networks, 8, [0.75, 0.25], never).losses(pupil, hidden, batch, 8)
    each = [one.logits(one(tokens, positions, starts, 8))[4:].softmax(-1) for one in networks]
    wanted = 0.75 * each[0] + 0.25 * each[1]
    wanted[3, [3, int(tokens[8])]] = 0.0
    wanted[3] /= wanted[3].sum()
    expected = torch.nn.functional.cross_entropy(pupil.logits(hidden)[4:], wanted, reduction="none")
    assert torch.allclose(soft, expected, atol=1e-5)


def test_imagined_texts_begin_as_given_and_are_drawn_from_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import imagine

    torch.manual_seed(0)
    network = tiny_network(layers=2, heads=4, kv_heads=2, width=256)
    for parameter in network.parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.15)
    monkeypatch.setattr(imagine, "LENGTH", 16)
    # Without noise each draw is the most likely token, which the network also says when it reads all at once.
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda noise: noise.fill_(1.0))
    prompts, given = torch.randint(32, (3, 16)), (5, 9, 1)
    texts = imagine.imagine(network, prompts, torch.tensor(given))
    for text, prompt, begun in zip(texts, prompts, given, strict=True):
        assert text[:begun].tolist() == prompt[:begun].tolist()
        hidden = network(text, torch.arange(16), torch.tensor([0, 16], dtype=torch.int32), 16)
        assert network.logits(hidden).argmax(-1)[begun - 1 : -1].tolist() == text[begun:].tolist()


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
