"""Follow-up questions made to stand alone, so that a search can understand them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.documents.terms import terms
from inference.events import AskRequest, Failed, GenerateRequest, Message, SamplingControls, Token
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.session import Session

_POINTS_BACK = re.compile(
    r"\b(it|its|they|them|their|he|him|his|she|her|this|that|these|those|then|one|ones|same|other|another|"
    r"former|latter)\b|^(and|but|so|or|what about|how about|why)\b"
    r"|(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )(?<!\bbe )\bthere\b",  # "were there" points nowhere
    re.IGNORECASE,
)
_FEW_WORDS = 3
_INSTRUCTION = (
    "Rewrite the last question so that it can be understood without the conversation. "
    "Replace words like it, they and that by what they stand for. Reply with the question only."
)


def standalone_question(session: Session, request: AskRequest, handle: RunHandle) -> str:
    """The question as it can be searched for; as it was asked where it stands alone already.

    The model rewrites it. What a small model makes of that is checked: it must keep the words of the
    question and bring in a word of the conversation; otherwise the question before is put in front instead.
    """
    asked = request.question.strip()
    earlier = [message.content for message in request.history if message.role == "user"]
    if not earlier or not needs_rewriting(asked):
        return asked
    written = _rewrite(session, request, handle)
    if is_faithful(written, asked, " ".join(message.content for message in request.history)):
        return written
    return f"{earlier[-1].strip()} {asked}"


def needs_rewriting(question: str) -> bool:
    """Whether a question leans on what was said before."""
    return bool(_POINTS_BACK.search(question)) or len(set(terms(question))) < _FEW_WORDS


def is_faithful(written: str, asked: str, conversation: str) -> bool:
    """Whether a rewritten question says what was asked, and what it was about, and nothing else."""
    new, old, said = set(terms(written)), set(terms(asked)), set(terms(conversation))
    if not written or "\n" in written or len(written) > 300:
        return False
    return old <= new and bool((new - old) & said) and new <= old | said


def _rewrite(session: Session, request: AskRequest, handle: RunHandle) -> str:
    turns = [f"{message.role}: {message.content}" for message in request.history[-4:]]
    content = "\n".join([*turns, f"last question: {request.question}"])
    controls = SamplingControls(temperature=0.0, max_new_tokens=60, stop=("\n",))
    generate = GenerateRequest(
        run_id=request.run_id,
        messages=(Message(role="system", content=_INSTRUCTION), Message(role="user", content=content)),
        controls=controls,
        candidates=1,
        overflow="drop-oldest",
    )
    text = ""
    for event in session.run(generate, _Within(handle, controls)):
        if isinstance(event, Token):
            text += event.text
        elif isinstance(event, Failed):
            return ""
    handle.check()
    return text.strip().strip('"')


class _Within(RunHandle):
    """A handle with controls of its own that is cancelled when another one is."""

    def __init__(self, outer: RunHandle, controls: SamplingControls) -> None:
        super().__init__(outer.run_id, replace(controls))
        self._outer = outer

    @property
    def cancelled(self) -> bool:
        return self._outer.cancelled

    def check(self) -> None:
        self._outer.check()
