"""The files that ship: size, tokenizer, chat template, and that the model answers from sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from inference.documents.prompting import REFUSAL, Source, build_messages, parse_reply

BUILTIN = Path(__file__).resolve().parents[2] / "resources" / "models" / "builtin"
TOKENIZER = Tokenizer.from_file(str(BUILTIN / "tokenizer.json"))


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_tokenizer_gives_any_text_back(text: str) -> None:
    if "<|" not in text:
        assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


def test_fast_tokenizer_of_transformers_gives_text_back() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    for text in (" a  b\n\n\tc ", "don’t , stop !", "\x00 Ünïcødé \U0001f600 日本語", "1234567.89"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_chat_template_renders_what_training_saw() -> None:
    from dialogues import Dialogue
    from packing import encode_dialogue
    from plan import LAST
    from transformers import AutoTokenizer

    turns = [("system", "Be short."), ("user", "Hi\n there "), ("assistant", "Hello! [1]"), ("user", "Bye")]
    messages = [{"role": role, "content": text} for role, text in turns]
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN)
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == (
        "<|bos|><|system|>Be short.<|end|><|user|>Hi\n there <|end|><|assistant|>Hello! [1]<|end|>"
        "<|user|>Bye<|end|><|assistant|>"
    )
    ids = tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"]
    assert ids == encode_dialogue(Dialogue(turns, 1), TOKENIZER, LAST).ids.tolist()


def test_chat_template_refuses_unknown_roles() -> None:
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    with pytest.raises(TemplateError, match="tool"):
        AutoTokenizer.from_pretrained(BUILTIN).apply_chat_template([{"role": "tool", "content": ""}])


def test_special_tokens_and_stops_agree(builtin: Path) -> None:
    config = json.loads((builtin / "config.json").read_text())
    generation = json.loads((builtin / "generation_config.json").read_text())
    assert config["vocab_size"] == TOKENIZER.get_vocab_size()
    assert config["bos_token_id"] == TOKENIZER.token_to_id("<|bos|>")
    assert generation["eos_token_id"] == [TOKENIZER.token_to_id("<|eos|>"), TOKENIZER.token_to_id("<|end|>")]
    assert config["max_position_embeddings"] >= 2048


@pytest.mark.builtin
def test_model_is_small_and_quotes_the_right_source(builtin: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert (builtin / "model.safetensors").stat().st_size <= 48_000_000
    model = AutoModelForCausalLM.from_pretrained(builtin, dtype=torch.float32)
    assert 20e6 <= model.num_parameters() <= 24e6
    tokenizer = AutoTokenizer.from_pretrained(builtin)

    def ask(question: str, sources: list[Source]) -> str:
        inputs = tokenizer.apply_chat_template(
            build_messages(question, sources),
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        output = model.generate(**inputs, max_new_tokens=24)
        return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    # Two films made up for this test, in the manner of the corpus.
    sources = [
        Source(text="The Silent Harbour is a 1951 American drama film directed by Paul Marston."),
        Source(text="Winter Road is a 1974 British comedy film directed by Anne Whitfield."),
    ]
    reply = parse_reply(ask("Who directed Winter Road?", sources), len(sources))
    assert reply.quote == "Anne Whitfield"
    assert reply.citations == (2,)
    assert ask("What is the capital of Mongolia?", sources) == REFUSAL
