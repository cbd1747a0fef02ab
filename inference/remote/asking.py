"""Requests of ours -> bodies of requests to a server: only fields that it is known to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.errors import EmptyPrompt, InvalidRequest, NotAvailable
from inference.events import GenerateRequest, Message, SamplingControls
from inference.remote.kinds import Traits

CHAT, RAW = "/chat/completions", "/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be continued: a chat or a raw text, and the beginning of the reply as text."""

    messages: tuple[Message, ...]
    prompt: str | None
    beginning: str = ""

    @property
    def path(self) -> str:
        """Where it is asked."""
        return CHAT if self.messages else RAW

    def without_oldest(self) -> Question | None:
        """The chat without its oldest turn; None if nothing can go.

        System messages stay, and what is left begins with a user's message, as templates want it.
        """
        system = tuple(message for message in self.messages if message.role == "system")
        turns = [message for message in self.messages if message.role != "system"]
        place = next((n for n, message in enumerate(turns) if n and message.role == "user"), None)
        if place is None:
            return None
        return Question(messages=(*system, *turns[place:]), prompt=None, beginning=self.beginning)


def question(request: GenerateRequest, beginning: str) -> Question:
    """What a request wants continued.

    Raises:
        EmptyPrompt: There is nothing to continue.
        InvalidRequest: Both or neither of prompt and messages are given.
    """
    if request.prompt is not None and request.messages:
        raise InvalidRequest("Both a prompt and messages are given.", hint="Give one of the two.")
    if request.messages:
        if not any(message.content.strip() for message in request.messages if message.role != "system"):
            raise EmptyPrompt("The message is empty.")
    elif not (request.prompt or beginning):
        raise EmptyPrompt("The prompt is empty.")
    return Question(messages=request.messages, prompt=request.prompt, beginning=beginning)


def asked(question: Question, model: str, traits: Traits) -> dict[str, Any]:
    """The part of a body that says what is continued.

    Raises:
        NotAvailable: The server can't go on with a given beginning.
    """
    if not question.messages:
        return {"model": model, "prompt": (question.prompt or "") + question.beginning}
    body: dict[str, Any] = {"model": model, "messages": _turns(question.messages)}
    if question.beginning:
        if traits.going_on is None:
            raise NotAvailable(
                continue_problem(traits), hint="Write the whole reply anew, or go on in raw mode."
            )
        body["messages"] += _turns([Message(role="assistant", content=question.beginning)])
        body |= traits.going_on
    return body


def continue_problem(traits: Traits) -> str:
    """Why a chat's reply can't be continued or branched; "" if it can."""
    if traits.going_on is not None:
        return ""
    return f"{traits.title} is not known to go on with a reply that was begun: it answers anew."


def sampling(controls: SamplingControls, traits: Traits, seed: int) -> dict[str, Any]:
    """The controls that the server takes, by its own names. Neutral values are sent, too: a server's own
    defaults may be others.
    """
    values: dict[str, Any] = {
        "temperature": controls.temperature,
        "top_p": controls.top_p,
        "top_k": controls.top_k or traits.all_tokens,
        "min_p": controls.min_p,
        "repetition_penalty": controls.repetition_penalty,
        "frequency_penalty": controls.frequency_penalty,
        "presence_penalty": controls.presence_penalty,
        "seed": seed,
        "max_new_tokens": controls.max_new_tokens,
        "stop": list(controls.stop) or None,
        "logit_bias": {str(token): bias for token, bias in controls.logit_bias if token >= 0} or None,
    }
    named = {their: values[name] for name, their in traits.controls.items()}
    return {name: value for name, value in named.items() if value is not None} | dict(traits.always)


def probabilities(question: Question, traits: Traits, candidates: int) -> dict[str, Any]:
    """The fields that ask for log-probabilities."""
    if traits.probabilities == "none":
        return {}
    if question.messages:
        return {"logprobs": True, "top_logprobs": max(1, min(candidates, traits.top))}
    return {"logprobs": max(1, min(candidates, traits.top_raw or traits.top))}


def streaming(traits: Traits) -> dict[str, Any]:
    """The fields that ask for a stream, and for token counts at its end."""
    return {"stream": True} | ({"stream_options": {"include_usage": True}} if traits.counts else {})


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
