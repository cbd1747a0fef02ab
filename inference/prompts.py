"""Requests -> the exact text and ids that the model reads, and where each message's words are in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inference.detokenizing import Detokenizer, TokenTable, spans_of_text
from inference.errors import ContextFull, EmptyPrompt, InvalidRequest, TemplateError
from inference.events import AttentionControl, GenerateRequest, Message, ScoreRequest
from inference.events.sections import answer_of, thinking_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inference.models.loaded_model import LoadedModel

#: Stands for message number i while it is looked up where a template puts it.
_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000(\\d+)\ue001")

#: Where a tokenizer keeps what is passed to its template beside the messages.
SWITCHES = "_template_switches"

#: Of the context, what is kept free for the reply when old turns are dropped.
_REPLY_SHARE = 4


@dataclass(frozen=True, slots=True)
class Content:
    """Where a message's content is in the prompt: ``text[start:end]`` is ``content[skipped:...]``.

    Templates may strip the white space around a content; ``skipped`` is how much of its beginning.
    """

    start: int
    end: int
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the model reads.

    Attributes:
        text: The exact text, the beginning of the reply included.
        ids: Its tokens.
        offsets: For each token, the characters of ``text`` that it covers; empty for a token that is not in
            the text.
        spans: For each token the text that it completes; they add up to ``text``.
        reply_start: Index of the first token of the reply (``len(ids)`` if nothing of it is given).
        contents: For each message of the request where its content is, None if it was dropped or was
            changed by the template.
        dropped_messages: How many of the oldest messages were left out.
    """

    text: str
    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    spans: tuple[str, ...]
    reply_start: int
    contents: tuple[Content | None, ...] = ()
    dropped_messages: int = 0

    def absolute(self, controls: Sequence[AttentionControl]) -> tuple[AttentionControl, ...]:
        """The controls with offsets into ``text``; those on messages that were dropped are left out.

        Raises:
            InvalidRequest: A control names a message that does not exist.
        """
        return tuple(found for control in controls if (found := self._absolute(control)) is not None)

    def _absolute(self, control: AttentionControl) -> AttentionControl | None:
        if control.message is None:
            return control
        if not 0 <= control.message < len(self.contents):
            raise InvalidRequest(
                f"An attention control names message {control.message}, which does not exist."
            )
        content = self.contents[control.message]
        if content is None:
            return None
        start = max(content.start, content.start + control.start - content.skipped)
        end = min(content.end, content.start + control.end - content.skipped)
        return replace(control, start=start, end=end, message=None) if start < end else None


def build_prompt(
    loaded: LoadedModel, table: TokenTable, request: GenerateRequest | ScoreRequest, *, room: int | None = 0
) -> Prompt:
    """Render and tokenize a request.

    Args:
        loaded: The model, for its tokenizer and context length.
        table: Of the same tokenizer.
        request: What to continue or score.
        room: Tokens of the context that must stay free; None: the prompt may be longer than the context.

    Raises:
        EmptyPrompt: There is nothing to read.
        InvalidRequest: Both or neither of prompt and messages, or both kinds of reply, are given.
        TemplateError: The chat template is missing or refuses the messages.
        ContextFull: The prompt does not fit.
    """
    _check(request)
    _check_ids(request.reply_ids, loaded.info.vocabulary)
    prompt = _assemble(loaded.tokenizer, table, request, request.messages)
    if getattr(request, "overflow", "stop") == "drop-oldest" and request.messages:
        wanted = max(room or 0, min(_wanted(request), loaded.context_length // _REPLY_SHARE))
        if len(prompt.ids) + wanted > loaded.context_length:
            prompt = _shortened(loaded, table, request, wanted) or prompt
    if not prompt.ids:
        raise EmptyPrompt("The prompt is empty.")
    if room is not None and len(prompt.ids) + room > loaded.context_length:
        raise ContextFull(
            f"The prompt has {len(prompt.ids):,} tokens, but the context holds {loaded.context_length:,}."
        )
    return prompt


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """The exact text that the chat template makes of messages, up to where the reply begins.

    Some templates know no system role: they refuse it, or leave its text out. A system message is then put
    before the first question.

    Raises:
        TemplateError: There is no template, or it refuses the messages.
    """
    if len(messages) > 1 and messages[0].role == "system" and not takes_system(tokenizer):
        messages = _without_system(messages)
    return _render(tokenizer, messages)


def takes_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template writes a system message at the beginning of a chat."""
    mark = _MARK.format(0)
    trial = (Message(role="system", content=mark), Message(role="user", content="?"))
    try:
        return mark in _render(tokenizer, trial)
    except TemplateError:
        return False


def _without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages with the system's text before the first of a user."""
    system, rest = messages[0], list(messages[1:])
    first = next((place for place, message in enumerate(rest) if message.role == "user"), None)
    if first is None:
        return tuple(messages)
    joined = f"{system.content}\n\n{rest[first].content}" if system.content.strip() else rest[first].content
    rest[first] = replace(rest[first], content=joined)
    return tuple(rest)


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """What the template makes of messages as they are."""
    if not getattr(tokenizer, "chat_template", None):
        raise TemplateError("This model has no chat template; it may not be made for chats.")
    turns = [_turn(tokenizer, message) for message in messages]
    switches: dict[str, Any] = getattr(tokenizer, SWITCHES, {})
    try:
        return str(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **switches)
        )
    except Exception as error:  # templates are programs and can fail in any way
        raise TemplateError(
            f"The model's chat template refuses these messages: {error}",
            details=f"{type(error).__name__}: {error}",
        ) from error


def _turn(tokenizer: PreTrainedTokenizerBase, message: Message) -> dict[str, str]:
    """A message as a template takes it. Most take a reply as the model wrote it; one that has a field for
    thinking and looks for none in the content gets both apart.
    """
    turn: dict[str, str] = {"role": message.role, "content": message.content}
    template = str(getattr(tokenizer, "chat_template", ""))
    apart = "thinking" in template and "<|channel|>" in template
    if apart and message.role == "assistant" and (thinking := thinking_of(message.content)):
        turn |= {"content": answer_of(message.content), "thinking": thinking}
    return turn


def _check(request: GenerateRequest | ScoreRequest) -> None:
    if request.prompt is not None and request.messages:
        raise InvalidRequest("Both a prompt and messages are given.", hint="Give one of the two.")
    if request.reply_ids and request.reply_text:
        raise InvalidRequest("The beginning of the reply is given both as text and as tokens.")
    if request.messages:
        if not any(message.content.strip() for message in request.messages if message.role != "system"):
            raise EmptyPrompt("The message is empty.")
    elif not (request.prompt or request.reply_text or request.reply_ids):
        raise EmptyPrompt("The prompt is empty.")


def _check_ids(ids: Sequence[int], vocabulary: int) -> None:
    unknown = [token for token in ids if token < 0 or token >= vocabulary > 0]
    if unknown:
        raise InvalidRequest(
            f"The beginning of the reply has a token {unknown[0]}, which the model does not have.",
            hint="It was written by another model: give it as text.",
        )


def _wanted(request: GenerateRequest | ScoreRequest) -> int:
    return request.controls.max_new_tokens if isinstance(request, GenerateRequest) else 0


def _assemble(
    tokenizer: PreTrainedTokenizerBase,
    table: TokenTable,
    request: GenerateRequest | ScoreRequest,
    messages: Sequence[Message],
    kept: Sequence[int] | None = None,
) -> Prompt:
    """The prompt of some of a request's messages; ``kept`` are their numbers in the request."""
    numbers = range(len(messages)) if kept is None else kept
    if request.messages:
        base = render(tokenizer, messages)
        found = _find_contents(tokenizer, base, messages)
    else:
        base, found = request.prompt or "", []
    contents: list[Content | None] = [None] * len(request.messages)
    for number, content in zip(numbers, found, strict=False):
        contents[number] = content
    text = base + request.reply_text
    ids, offsets = _tokenize(tokenizer, text, chat=bool(request.messages))
    spans = spans_of_text(text, offsets)
    ends = [end for _, end in offsets]
    reply_start = next((i for i, end in enumerate(ends) if end > len(base)), len(ids))
    for token, span in zip(request.reply_ids, _reply_spans(table, ids, request.reply_ids), strict=True):
        ids.append(token)
        offsets.append((len(text), len(text) + len(span)))
        spans.append(span)
        text += span
    return Prompt(
        text=text,
        ids=tuple(ids),
        offsets=tuple(offsets),
        spans=tuple(spans),
        reply_start=reply_start,
        contents=tuple(contents),
        dropped_messages=len(request.messages) - len(messages),
    )


def _tokenize(
    tokenizer: PreTrainedTokenizerBase, text: str, *, chat: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and offsets. A chat template writes its own special tokens, a raw prompt gets the tokenizer's (a
    raw text that begins with the begin-of-text token, as the raw view of a chat does, gets no second one).
    """
    if not text:
        return [], []
    bos = tokenizer.bos_token
    special = not chat and not (bos and text.startswith(str(bos)))
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded: Any = tokenizer(
        text,
        add_special_tokens=special,
        return_offsets_mapping=fast,
        return_attention_mask=False,
        verbose=False,
    )
    ids = [int(token) for token in encoded["input_ids"]]
    offsets = (
        [(int(s), int(e)) for s, e in encoded["offset_mapping"]] if fast else _aligned(tokenizer, text, ids)
    )
    # Some tokenizers end every text; a text that is to be continued has no end.
    while special and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id and offsets[-1][0] == offsets[-1][1]:
        ids.pop()
        offsets.pop()
    return ids, offsets


def _aligned(tokenizer: PreTrainedTokenizerBase, text: str, ids: list[int]) -> list[tuple[int, int]]:
    """Offsets from a tokenizer that gives none: each token's text is looked for where the last one ended."""
    decoder, place = Detokenizer(TokenTable(tokenizer)), 0
    offsets: list[tuple[int, int]] = []
    for token in ids:
        piece = decoder.push(token)
        start = text.find(piece, place, place + len(piece) + 8) if piece else -1
        if start < 0 and (piece := piece.strip()):
            start = text.find(piece, place, place + len(piece) + 8)
        if start < 0:
            offsets.append((place, place))
            continue
        offsets.append((start, start + len(piece)))
        place = start + len(piece)
    return offsets


def _reply_spans(table: TokenTable, before: Sequence[int], reply: Sequence[int]) -> list[str]:
    """The text that each given token of a reply completes, special ones spelled out."""
    decoder = Detokenizer(table, before)
    spans = []
    for token in reply:
        text = decoder.push(token)
        spelled = table.is_special(token) and not table.is_mark(token)
        spans.append(text + table.text(token) if spelled else text)
    return spans


def _find_contents(
    tokenizer: PreTrainedTokenizerBase, text: str, messages: Sequence[Message]
) -> list[Content | None]:
    """Where a template put each message's content.

    The template is rendered once more with a mark in place of each content; what stands between the marks
    must be found in the text as it is, and what stands in their place is the content, stripped or not.
    """
    marked = [
        replace(message, content=_MARK.format(number)) if message.content.strip() else message
        for number, message in enumerate(messages)
    ]
    found: list[Content | None] = [None] * len(messages)
    try:
        parts = _MARKS.split(render(tokenizer, marked))
    except TemplateError:
        return found
    place = len(parts[0])
    if text[:place] != parts[0]:
        return found
    for number, literal in zip(map(int, parts[1::2]), parts[2::2], strict=True):
        content = messages[number].content
        answer = answer_of(content)  # many templates leave earlier thinking out
        for candidate in dict.fromkeys(
            shape(one) for one in (content, answer) for shape in (str, str.strip, str.lstrip, str.rstrip)
        ):
            if text.startswith(candidate + literal, place):
                break
        else:
            return found  # the template rewrites this content; what follows can't be told either
        found[number] = Content(place, place + len(candidate), content.find(candidate))
        place += len(candidate) + len(literal)
    return found


def _shortened(
    loaded: LoadedModel, table: TokenTable, request: GenerateRequest | ScoreRequest, room: int
) -> Prompt | None:
    """The prompt without as few of the oldest turns as are needed to keep ``room`` free.

    System messages stay, the last user message stays, and what is left begins with a user's message, as
    templates want it. None if there is nothing to drop.
    """
    numbered = list(enumerate(request.messages))
    system = [number for number, message in numbered if message.role == "system"]
    turns = [number for number, message in numbered if message.role != "system"]
    starts = [place for place in range(1, len(turns)) if request.messages[turns[place]].role == "user"]

    def prompt_from(place: int) -> Prompt:
        kept = sorted([*system, *turns[place:]])
        return _assemble(loaded.tokenizer, table, request, [request.messages[n] for n in kept], kept)

    lowest, highest = 0, len(starts) - 1
    while lowest < highest:
        middle = (lowest + highest) // 2
        if len(prompt_from(starts[middle]).ids) + room <= loaded.context_length:
            highest = middle
        else:
            lowest = middle + 1
    return prompt_from(starts[lowest]) if starts else None
