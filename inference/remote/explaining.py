"""Leave-one-out by a server: the target's probability is asked for again without each part of the prompt.

The same question as the method of that name asks on this machine, with one difference that its name tells:
the characters of a part are removed and the rest is tokenized anew by the server, so tokens beside the gap
may be cut in another way.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inference.attribution.passage import Passage, Region
from inference.attribution.segments import cut
from inference.errors import EmptyPrompt, InvalidRequest, NotAvailable, RunCancelled
from inference.events import (
    Event,
    ExplainRequest,
    Explanation,
    ExplanationCost,
    ExplanationPart,
    ExplanationStarted,
    ListMethodsRequest,
    Message,
    MethodsListed,
    MethodSpec,
    MethodStatus,
    SegmentSpan,
    TargetSpan,
    TextSpan,
)
from inference.remote import scoring
from inference.remote.asking import Question
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.remote.connection import Wire
    from inference.remote.engine import RemoteEngine
    from inference.session import Session

SPEC = MethodSpec(
    name="server-leave-one-out",
    title="Leave one out, on the server",
    summary="Removes each part from the prompt and asks the server how much worse the target is predicted. "
    "The rest is tokenized anew each time.",
    signed=True,
    exact=True,
)
_INSIDE = "This method works inside the model, which is on a server."
#: What stands for tokens when parts are cut: words, and single characters where no spaces are written.
_WORDS = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)


def list_methods(session: Session, request: ListMethodsRequest, handle: RunHandle) -> Iterator[Event]:
    """The one method that may work, and why the others do not -> MethodsListed."""
    from inference.attribution.methods import METHODS

    assert session.remote is not None
    chat, raw = (scoring.problem(session.remote, chat=chat) for chat in (True, False))
    own = MethodStatus(spec=SPEC, problem=chat if chat and raw else "")
    others = [MethodStatus(spec=method.SPEC, problem=_INSIDE) for method in METHODS.values()]
    yield MethodsListed(run_id=request.run_id, methods=(own, *others))


def explain(session: Session, request: ExplainRequest, handle: RunHandle) -> Iterator[Event]:
    """Score the parts of a prompt -> ExplanationStarted, ExplanationPart ..., Explanation.

    Raises:
        NotAvailable: Another method, a contrast or steering is asked for, or the server tells no
            probabilities of given text.
        InvalidRequest: The target is empty.
    """
    assert session.remote is not None
    if request.method != SPEC.name:
        raise NotAvailable(_INSIDE, hint=f"Choose “{SPEC.title}”, or a model on this machine.")
    if request.contrast_id is not None or request.attention:
        raise NotAvailable(
            "On a server, only what carried a text can be explained: no contrast, no steering.",
            hint="Ask without it, or choose a model on this machine.",
        )
    yield from _Run(session.remote, request, handle).events()


@dataclass(frozen=True, slots=True)
class Context:
    """What stands before the target: its parts (messages' contents or a raw prompt, then the reply so far),
    and where each is in ``text``.

    ``text`` puts the parts below each other; the server's template, which is not known here, puts them
    together in its own way.
    """

    text: str
    parts: tuple[Region, ...]
    messages: tuple[Message, ...]
    target: str

    @property
    def chat(self) -> bool:
        """Whether it is a chat."""
        return bool(self.messages)

    def question(self, without: tuple[int, int] | None = None) -> Question:
        """What the server reads, without some characters of ``text``."""
        texts = [self._kept(part, without) for part in self.parts]
        reply = texts.pop() if self.parts and self.parts[-1].label == "reply" else ""
        if not self.chat:
            return Question(messages=(), prompt=texts[0] if texts else "", beginning=reply + self.target)
        messages = tuple(
            replace(message, content=text) for message, text in zip(self.messages, texts, strict=True)
        )
        return Question(messages=messages, prompt=None, beginning=reply + self.target)

    def _kept(self, part: Region, without: tuple[int, int] | None) -> str:
        if without is None or not part.start <= without[0] < part.end:
            return self.text[part.start : part.end]
        start, end = without
        before, after = self.text[part.start : start], self.text[end : part.end]
        if before.endswith(" ") and (not after or after[0].isspace()):
            before = before[:-1]  # one space between two words stays one
        elif not before or before.endswith("\n"):
            after = after.removeprefix(" ")
        return before + after


def context(request: ExplainRequest, beginning: str) -> Context:
    """What a request wants explained.

    Raises:
        InvalidRequest: The target is empty.
        EmptyPrompt: Nothing stands before it.
    """
    if request.target is not None:
        before, target = beginning, request.target
    else:
        start, end = max(0, request.target_start), request.target_end
        before, target = beginning[:start], beginning[start:end]
    if not target:
        raise InvalidRequest("The target is empty.", hint="Select a part of the reply, or type a target.")
    text, parts = "", []
    if request.messages:
        for message in request.messages:
            text += f"{message.role}:\n"
            parts.append(Region(start=len(text), end=len(text) + len(message.content), label=message.role))
            text += f"{message.content}\n\n"
        text += "assistant:\n"
    elif request.prompt:
        text = request.prompt
        parts.append(Region(start=0, end=len(text), label="prompt"))
    if before:
        parts.append(Region(start=len(text), end=len(text) + len(before), label="reply"))
        text += before
    if not parts:
        raise EmptyPrompt("There is no text before the target, so nothing can have carried it.")
    return Context(text=text, parts=tuple(parts), messages=request.messages, target=target)


class _Run:
    """One explanation."""

    def __init__(self, engine: RemoteEngine, request: ExplainRequest, handle: RunHandle) -> None:
        self.began = time.perf_counter()
        self.engine, self.request = engine, request
        self.handle = handle
        self.context = context(request, engine.beginning_of(request))
        self.segments, self.granularity = _segments(self.context, request)
        self.scores: dict[int, float] = {}
        self.asked = self.tokens = 0

    def events(self) -> Iterator[Event]:
        with self.engine.wire(self.handle) as wire:
            base = self._value(wire, None)
            seconds = time.perf_counter() - self.began
            target = self.context.target
            targets = (TargetSpan(text=target, start=0, end=len(target), ids=(), logprob=base),)
            count = len(self.segments)
            yield ExplanationStarted(
                run_id=self.request.run_id,
                method=SPEC.name,
                context=self.context.text,
                segments=self.segments,
                targets=targets,
                granularity=self.granularity,
                cost=ExplanationCost(
                    forward_passes=count + 1,
                    token_forwards=(count + 1) * self.tokens,
                    naive_token_forwards=(count + 1) * self.tokens,
                    seconds=(count + 1) * seconds,
                    memory=0,
                ),
            )
            if self.request.estimate_only:
                return
            stopped: RunCancelled | None = None
            try:
                yield from self._parts(wire, base)
            except RunCancelled as error:
                stopped = error
            yield self._explanation(targets, complete=stopped is None)
            if stopped is not None:
                raise stopped

    def _parts(self, wire: Wire, base: float) -> Iterator[ExplanationPart]:
        for index, segment in enumerate(self.segments):
            score = self._processed(base - self._value(wire, (segment.start, segment.end)))
            self.scores[index] = score
            yield ExplanationPart(
                run_id=self.request.run_id,
                method=SPEC.name,
                indices=(index,),
                scores=((score,),),
                done=len(self.scores),
                total=len(self.segments),
            )

    def _value(self, wire: Wire, without: tuple[int, int] | None) -> float:
        """The target's log-probability, nats."""
        question = self.context.question(without)
        found = scoring.read(self.engine, wire, question)
        self.asked += 1
        self.tokens = max(self.tokens, len(found))
        text = question.beginning if self.context.chat else (question.prompt or "") + question.beginning
        entries = scoring.tail(found, text, len(self.context.target))
        known = [entry.logprob for entry in entries if entry.logprob is not None]
        if not known:
            raise NotAvailable(
                "The server tells no probability of the target.",
                hint="Choose a target that something stands before.",
            )
        return sum(known)

    def _processed(self, score: float) -> float:
        if self.request.postprocessing == "absolute":
            return abs(score)
        return score * score if self.request.postprocessing == "square" else score

    def _explanation(self, targets: tuple[TargetSpan, ...], *, complete: bool) -> Explanation:
        return Explanation(
            run_id=self.request.run_id,
            method=SPEC.name,
            segments=self.segments,
            targets=targets,
            scores=(tuple(self.scores.get(index) for index in range(len(self.segments))),),
            forward_passes=self.asked,
            token_forwards=self.asked * self.tokens,
            seconds=time.perf_counter() - self.began,
            complete=complete,
            note=f"Probabilities by {self.engine.traits.title}.",
        )


def _segments(context: Context, request: ExplainRequest) -> tuple[tuple[SegmentSpan, ...], str]:
    """The parts whose weight is asked for; words stand for tokens, which only the server knows."""
    spans = [
        (match.start(), match.end())
        for part in context.parts
        for match in _WORDS.finditer(context.text, part.start, part.end)
    ]
    passage = Passage(
        text=context.text,
        ids=tuple(range(len(spans))),
        spans=tuple(spans),
        special=(False,) * len(spans),
        target_text=context.target,
        target_ids=(),
        target_spans=(),
        regions=context.parts,
    )
    given = [_placed(context, span) for span in request.given]
    return cut(passage, request.granularity, given=given)


def _placed(context: Context, span: TextSpan) -> tuple[int, int]:
    """A given span as characters of the context."""
    number = len(context.parts) - 1 if span.message == -1 else span.message or 0
    if not 0 <= number < len(context.parts) or not 0 <= span.start < span.end:
        raise InvalidRequest(f"The segment {span.start}:{span.end} is not in what the model reads.")
    part = context.parts[number]
    return part.start + span.start, min(part.end, part.start + span.end)
