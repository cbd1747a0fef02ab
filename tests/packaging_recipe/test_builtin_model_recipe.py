"""The recipe trains, stops, goes on and exports what transformers loads; its data holds what it promises."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

SMALL = ["--size", "test", "--set", "batch_tokens=1024", "--set", "warmup=0.3", "--set", "steps=6"]


def test_training_stops_and_goes_on_from_its_checkpoint(corpus_folder: Path, tmp_path: Path) -> None:
    import train

    arguments = ["--data", str(corpus_folder), "--run", str(tmp_path / "run"), *SMALL]
    assert train.main([*arguments, "--stop-at", "3"]) == 3
    assert train.main(arguments) == 6
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [3, 6]
    assert log[1]["bits_per_byte_seen"] < log[0]["bits_per_byte_seen"]
    assert (tmp_path / "run" / "before_last_phase.safetensors").exists()


def test_exported_model_equals_transformers_llama(corpus_folder: Path, tmp_path: Path) -> None:
    import train
    from export import load_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = tmp_path / "run"
    train.main(["--data", str(corpus_folder), "--run", str(run), *SMALL, "--stop-at", "1"])
    packed = load_model(run).eval()
    theirs = AutoModelForCausalLM.from_pretrained(run, dtype=torch.float32).eval()
    assert AutoTokenizer.from_pretrained(run).eos_token == "<|eos|>"
    first, second = torch.randint(7, 500, (37,)), torch.randint(7, 500, (20,))
    positions = torch.cat((torch.arange(37), torch.arange(20)))
    starts = torch.tensor([0, 37, 57, 57], dtype=torch.int32)
    with torch.no_grad():
        ours = packed.logits(packed(torch.cat((first, second)), positions, starts, 37))
        torch.testing.assert_close(ours[:37], theirs(first[None]).logits[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours[37:], theirs(second[None]).logits[0], atol=1e-5, rtol=1e-4)


def test_plan_refuses_unknown_numbers_and_decays_to_zero() -> None:
    from train import make_plan

    plan = make_plan(["steps=100", "warmup=0.1", "decay_from=0.5"])
    assert plan.lr_factor(0.01) == pytest.approx(0.1)
    assert plan.lr_factor(0.3) == 1.0
    assert plan.lr_factor(1.0) == 0.0
    assert plan.last.prompt_weight == 0.0
    with pytest.raises(ValueError, match="stepz"):
        make_plan(["stepz=1"])


def test_no_held_out_document_or_question_is_trained_on(corpus_folder: Path) -> None:
    from corpus import load_corpus, split_corpus

    train, held_out = split_corpus(load_corpus(corpus_folder), share=0.2)
    assert held_out.prose
    assert held_out.questions
    assert not {d.text for d in train.prose} & {d.text for d in held_out.prose}
    assert not {q.context for q in train.questions} & {q.context for q in held_out.questions}
    again, _ = split_corpus(load_corpus(corpus_folder), share=0.2)
    assert again.prose == train.prose


def test_answers_are_literal_and_cited(corpus_folder: Path) -> None:
    from corpus import load_corpus
    from dialogues import DialogueMaker

    from inference.documents.prompting import parse_reply

    maker, rng = DialogueMaker(load_corpus(corpus_folder)), random.Random(3)
    refusals = 0
    for _ in range(200):
        dialogue = maker.draw_question(rng)
        user = " ".join(" ".join(text for role, text in dialogue.turns if role == "user").split())
        for role, text in dialogue.turns:
            if role == "assistant":
                reply = parse_reply(text, dialogue.sources)
                refusals += reply.refused
                assert reply.refused or " ".join(reply.quote.split()) in user
    assert 20 < refusals < 200


def test_packed_rows_are_full_and_weigh_answers_only(corpus_folder: Path) -> None:
    from corpus import load_corpus
    from dialogues import DialogueMaker
    from packing import CHOOSING, RowPacker, TokenizedProse, encode_dialogue
    from plan import LAST
    from tokenizer import ASSISTANT, END, SPECIAL_TOKENS, train_bpe

    corpus = load_corpus(corpus_folder)
    tokenizer = train_bpe((d.text for d in corpus.prose), 512)
    maker = DialogueMaker(corpus)
    prose = TokenizedProse.encode([d.text for d in corpus.prose], tokenizer)
    packer = RowPacker(prose, maker, tokenizer, batch_tokens=4096, seed=1)
    row = packer.row(LAST, 512)
    lengths = np.diff(row.starts)
    assert len(row.tokens) == len(row.weights) == lengths.sum() == 4096
    assert lengths.max() <= 512
    assert all(row.positions[start] == 0 for start in row.starts[:-1] if start < 4096)

    piece = encode_dialogue(maker.draw_question(random.Random(1)), tokenizer, LAST)
    assistant, end = SPECIAL_TOKENS.index(ASSISTANT), SPECIAL_TOKENS.index(END)
    first = list(piece.ids).index(assistant)
    assert not piece.weights[:first].any()
    last = first + list(piece.ids[first:]).index(end)
    assert (piece.weights[first : first + CHOOSING] == LAST.answer_weight * LAST.choice_weight).all()
    assert (piece.weights[first + CHOOSING : last] == LAST.answer_weight).all()
    assert piece.weights[last] == 0


def test_a_negative_weight_punishes_a_likely_target() -> None:
    from batches import Batch, weighted_loss
    from network import PackedLlama
    from shape import SHAPES

    model = PackedLlama(SHAPES["test"]).eval()
    tokens, starts = torch.arange(8, dtype=torch.int32), torch.tensor([0, 8], dtype=torch.int32)
    weights = torch.tensor([0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    batch = Batch(tokens, tokens.roll(-1), weights, tokens, starts, torch.zeros(8))
    with torch.no_grad():
        hidden = model(tokens, tokens, starts, 8)
        p = model.logits(hidden)[2].softmax(-1)[3]
        loss = weighted_loss(model, batch, 8)
    torch.testing.assert_close(loss, -torch.log1p(-p), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        ("The old bridge was built in 1862 by soldiers.", "When was the old bridge built?", "1862"),
        ("The army crossed the river in 1870.", "When did the army cross the river?", "1870"),
        ("The house was designed by John Smith.", "Who designed the house?", "John Smith"),
        (
            "The farmer sold the horse because it was lame.",
            "Why did the farmer sell the horse?",
            "it was lame",
        ),
    ],
)
def test_rules_ask_in_english(sentence: str, question: str, answer: str) -> None:
    from question_rules import ask

    asked = {(a.question, a.answer) for seed in range(300) if (a := ask(sentence, random.Random(seed)))}
    assert (question, answer) in asked
    assert all(found in sentence for _, found in asked)


def test_muon_makes_matrices_nearly_orthogonal() -> None:
    from optimizer import orthogonalise

    values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 16, 40)))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_scores() -> None:
    from metrics import Expected, score

    sources = ("The Nile is 6,650 kilometres long.", "The Amazon is wide.")
    wanted = Expected(answer="6,650 kilometres", sources=sources, gold=1)
    absent = Expected(answer="", sources=sources, gold=1)
    refusal = "The sources do not contain the answer."
    result = score(["6,650 kilometres [1]", "kilometres [2]", refusal], [wanted, wanted, absent])
    assert result["exact"] == result["contains"] == result["cited_right"] == 0.5
    assert result["literal"] == result["refused_right"] == 1.0
    assert result["f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_baseline_finds_the_sentence_that_shares_words() -> None:
    from baseline import best_sentence

    sources = ["Rivers are wet. The Amazon is wide.", "The Nile is long. It flows north."]
    assert best_sentence("How long is the Nile?", sources) == "The Nile is long. [2]"


def test_folding_a_temperature_divides_the_logits() -> None:
    from calibrate import fold_temperature
    from network import PackedLlama
    from shape import SHAPES

    model = PackedLlama(SHAPES["test"]).eval()
    tokens, starts = torch.arange(9), torch.tensor([0, 9], dtype=torch.int32)
    with torch.no_grad():
        before = model.logits(model(tokens, tokens, starts, 9))
        fold_temperature(model, 1.25)
        after = model.logits(model(tokens, tokens, starts, 9))
    torch.testing.assert_close(after * 1.25, before)
