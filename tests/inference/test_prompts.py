"""What the model reads: exact text, exact ids, and where each message's words are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.detokenizing import TokenTable
from inference.errors import ContextFull, EmptyPrompt, InvalidRequest, TemplateError
from inference.events import AttentionControl, GenerateRequest, Message, SamplingControls, ScoreRequest
from inference.models.loaded_model import LoadedModel
from inference.prompts import Prompt, build_prompt

USER, ASSISTANT = "user", "assistant"


def chat(*contents: str, system: str = "") -> tuple[Message, ...]:
    """A system prompt, then user and assistant in turn."""
    first = (Message(role="system", content=system),) if system else ()
    roles = [USER, ASSISTANT] * len(contents)
    return (*first, *(Message(role=role, content=text) for role, text in zip(roles, contents, strict=False)))  # type: ignore[arg-type]


def built(loaded: LoadedModel, *, room: int | None = 0, **arguments: Any) -> Prompt:
    request = GenerateRequest(run_id=1, **arguments)
    return build_prompt(loaded, TokenTable(loaded.tokenizer), request, room=room)


class TestText:
    def test_a_chat_is_what_the_template_makes_of_it(self, llama: LoadedModel) -> None:
        prompt = built(llama, messages=chat("Hello", "Hi!", "How?", system="Be kind."))
        assert prompt.text == (
            "<|bos|><|system|>Be kind.<|end|><|user|>Hello<|end|><|assistant|>Hi!<|end|><|user|>How?<|end|>"
            "<|assistant|>"
        )
        turns = [
            {"role": m.role, "content": m.content} for m in chat("Hello", "Hi!", "How?", system="Be kind.")
        ]
        expected: Any = llama.tokenizer.apply_chat_template(turns, add_generation_prompt=True)
        assert list(prompt.ids) == list(expected["input_ids"])
        assert "".join(prompt.spans) == prompt.text

    def test_a_raw_prompt_is_read_as_it_is(self, llama: LoadedModel) -> None:
        prompt = built(llama, prompt="  two spaces \n")
        assert prompt.text == "  two spaces \n"
        assert list(prompt.ids) == llama.tokenizer.encode("  two spaces \n")

    def test_the_rendered_text_reads_the_same_in_raw_mode(self, llama: LoadedModel) -> None:
        rendered = built(llama, messages=chat("Hello", "Hi!", "How?"))
        assert built(llama, prompt=rendered.text).ids == rendered.ids

    def test_given_ids_of_a_reply_are_kept_as_they_are(self, llama: LoadedModel) -> None:
        ids = tuple(llama.tokenizer.encode("🦊 fox", add_special_tokens=False))
        prompt = built(llama, messages=chat("Hello"), reply_ids=ids)
        assert prompt.ids[prompt.reply_start :] == ids
        assert prompt.text.endswith("<|assistant|>🦊 fox")
        assert "".join(prompt.spans) == prompt.text

    def test_a_given_reply_text_follows_the_prompt(self, llama: LoadedModel) -> None:
        prompt = built(llama, messages=chat("Hello"), reply_text="The river")
        assert prompt.text.endswith("<|assistant|>The river")
        assert llama.tokenizer.decode(list(prompt.ids[prompt.reply_start :])) == "The river"

    @pytest.mark.parametrize("kind", ["byte_tokenizer", "sentencepiece_tokenizer"])
    def test_spans_add_up_to_the_text(
        self, kind: str, families: Any, as_loaded: Callable[..., LoadedModel], request: pytest.FixtureRequest
    ) -> None:
        loaded = as_loaded(families["llama"], tokenizer=request.getfixturevalue(kind))

        @settings(max_examples=80, deadline=None)
        @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
        def check(text: str) -> None:
            prompt = built(loaded, prompt=text)
            assert prompt.text == text
            assert "".join(prompt.spans) == text
            assert len(prompt.spans) == len(prompt.ids) == len(prompt.offsets)

        check()


class TestControlsOfMessages:
    def words(self, prompt: Prompt, control: AttentionControl) -> str:
        (found,) = prompt.absolute([control])
        return prompt.text[found.start : found.end]

    def test_offsets_into_a_message_become_offsets_into_the_text(self, llama: LoadedModel) -> None:
        prompt = built(llama, messages=chat("same", "same", "same words", system="same"))
        control = AttentionControl(start=5, end=10, factor=0.0, message=3)
        assert self.words(prompt, control) == "words"
        assert prompt.absolute([control])[0].start > prompt.text.rindex("<|user|>")

    def test_white_space_that_the_template_strips_is_accounted_for(self, llama: LoadedModel) -> None:
        prompt = built(llama, messages=chat("  \n Hello there  "))
        assert self.words(prompt, AttentionControl(start=4, end=9, factor=0.0, message=0)) == "Hello"
        everything = AttentionControl(start=0, end=17, factor=0.0, message=0)
        assert self.words(prompt, everything) == "Hello there"

    def test_a_control_on_nothing_is_left_out(self, llama: LoadedModel) -> None:
        prompt = built(llama, messages=chat("   Hello"))
        assert prompt.absolute([AttentionControl(start=0, end=2, factor=0.0, message=0)]) == ()

    def test_a_message_that_does_not_exist(self, llama: LoadedModel) -> None:
        prompt = built(llama, messages=chat("Hello"))
        with pytest.raises(InvalidRequest, match="message 1"):
            prompt.absolute([AttentionControl(start=0, end=2, factor=0.0, message=1)])

    def test_a_template_that_rewrites_a_message_does_not_mislead(
        self, llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        template = "{% for message in messages %}<{{ message['content'] | upper }}>{% endfor %}"
        monkeypatch.setattr(llama.tokenizer, "chat_template", template)
        prompt = built(llama, messages=chat("Hello"))
        assert prompt.text == "<HELLO>"
        assert prompt.absolute([AttentionControl(start=0, end=2, factor=0.0, message=0)]) == ()


class TestOverflow:
    TURNS = ("One two three four.", "Five six seven.", "Eight nine ten.", "Eleven twelve.", "And now?")

    def test_a_prompt_that_does_not_fit_is_refused(
        self, families: Any, as_loaded: Callable[..., LoadedModel]
    ) -> None:
        loaded = as_loaded(families["llama"], context_length=30)
        length = len(built(loaded, room=None, messages=chat(*self.TURNS)).ids)
        with pytest.raises(ContextFull, match=f"{length} tokens.*30"):
            built(loaded, room=1, messages=chat(*self.TURNS))

    @pytest.mark.parametrize("context", [12, 40, 55, 70, 100, 400])
    def test_only_as_many_of_the_oldest_turns_are_dropped_as_needed(
        self, context: int, families: Any, as_loaded: Callable[..., LoadedModel]
    ) -> None:
        loaded = as_loaded(families["llama"], context_length=context)
        messages = chat(*self.TURNS, system="S.")
        arguments: Any = {
            "messages": messages,
            "overflow": "drop-oldest",
            "controls": SamplingControls(max_new_tokens=8),
        }
        lengths = {}
        for dropped in (0, 2, 4):
            kept = (messages[0], *messages[1 + dropped :])
            lengths[dropped] = len(built(loaded, room=None, messages=kept).ids)
        wanted = min(8, context // 4)
        fitting = [dropped for dropped, length in lengths.items() if length + wanted <= context]
        if not fitting and lengths[4] + 1 > context:
            with pytest.raises(ContextFull):
                built(loaded, room=1, **arguments)
            return
        prompt = built(loaded, room=1, **arguments)
        assert prompt.dropped_messages == (fitting[0] if fitting else 4)
        assert prompt.text.startswith("<|bos|><|system|>S.<|end|><|user|>")
        assert prompt.text.endswith("<|user|>And now?<|end|><|assistant|>")
        last = AttentionControl(start=4, end=7, factor=0.0, message=5)
        (found,) = prompt.absolute([last])
        assert prompt.text[found.start : found.end] == "now"
        first = AttentionControl(start=0, end=3, factor=0.0, message=1)
        assert bool(prompt.absolute([first])) == (prompt.dropped_messages == 0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({}, EmptyPrompt),
            ({"prompt": ""}, EmptyPrompt),
            ({"messages": chat("  \n")}, EmptyPrompt),
            ({"prompt": "a", "messages": chat("b")}, InvalidRequest),
            ({"prompt": "a", "reply_ids": (9,), "reply_text": "b"}, InvalidRequest),
            ({"prompt": "a", "reply_ids": (9, 10_000_000)}, InvalidRequest),
            ({"prompt": "a", "reply_ids": (-1,)}, InvalidRequest),
        ],
    )
    def test_requests_without_sense(
        self, llama: LoadedModel, arguments: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            built(llama, **arguments)

    def test_a_model_without_a_template(self, llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(llama.tokenizer, "chat_template", None)
        with pytest.raises(TemplateError) as caught:
            built(llama, messages=chat("Hello"))
        assert "raw mode" in caught.value.hint

    @pytest.mark.parametrize(
        "template", ["{{ raise_exception('no system prompts') }}", "{% for %}", "{{ messages[7].content.x }}"]
    )
    def test_a_template_that_fails(
        self, template: str, llama: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(llama.tokenizer, "chat_template", template)
        with pytest.raises(TemplateError):
            built(llama, messages=chat("Hello"))

    def test_a_text_to_score_may_fill_the_context(
        self, families: Any, as_loaded: Callable[..., LoadedModel]
    ) -> None:
        whole = as_loaded(families["llama"])
        length = len(built(whole, prompt="one two three").ids)
        loaded = as_loaded(families["llama"], context_length=length)
        request = ScoreRequest(run_id=1, prompt="one two three")
        assert len(build_prompt(loaded, TokenTable(loaded.tokenizer), request).ids) == length
        with pytest.raises(ContextFull):
            built(loaded, room=1, prompt="one two three")
