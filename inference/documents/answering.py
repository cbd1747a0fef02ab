"""Ask a library: passages that fit a token budget, an answer that streams, citations that lead to a place."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.documents import prompting
from inference.documents.checking import check_answer
from inference.documents.retrieval import retrieve
from inference.documents.rewriting import standalone_question
from inference.errors import EmptyPrompt
from inference.events import (
    ENDINGS,
    Answer,
    AskRequest,
    AskSeconds,
    Event,
    Finished,
    GenerateRequest,
    Message,
    QuestionRewritten,
    Source,
    SourcesChosen,
    Token,
)
from inference.remote.counting import UNKNOWN_CONTEXT, Estimate
from inference.running import RunHandle

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inference.documents.libraries import Library
    from inference.session import Session

_SPARE = 3  # times as many hits as sources are looked at, to show what did not fit
#: Passages with less than this share of the best one's score are not read: small models are distracted by
#: them, and of the passages that held the answer in ``bench index --quality`` 1 % had less.
_WORTH_READING = 0.8
_SOURCES = 5  # that a model reads
#: Models of fewer parameters read the best passage only: what they gain from a second one that holds the
#: answer they lose by quoting from one that does not (``bench index --quality --answers --sources N``).
_SMALL_MODEL = 200_000_000
_BUDGET_SHARE = 0.5  # of the context, for all sources together


def ask(session: Session, library: Library, request: AskRequest, handle: RunHandle) -> Iterator[Event]:
    """Do what an :class:`AskRequest` asks for.

    Raises:
        EmptyPrompt: There is no question.
        NoModelLoaded: There is no model to answer.
    """
    if not request.question.strip():
        raise EmptyPrompt("The question is empty.")
    tokenizer, context_length = _measures(session)
    limit = request.limit or sources_to_read(session)
    began = time.perf_counter()
    question = standalone_question(session, request, handle)
    if question != request.question:
        yield QuestionRewritten(run_id=request.run_id, asked=request.question, question=question)
    handle.check()
    retrieved = retrieve(
        library, question, limit=_SPARE * max(limit, _SOURCES), rerank=True, files=request.files
    )
    budget = request.token_budget or round(_BUDGET_SHARE * context_length)
    if retrieved.found or request.answer_anyway:
        near = [hit for hit in retrieved.hits if hit.score >= _WORTH_READING * retrieved.hits[0].score]
        far = [hit for hit in retrieved.hits if hit not in near]
        sources, left_out, tokens = pack(near, tokenizer, limit=limit, budget=budget)
        left_out = (*left_out, *far)
    else:
        sources, left_out, tokens = (), retrieved.hits, 0
    generation = generate_request(request, question, sources)
    yield SourcesChosen(
        run_id=request.run_id,
        question=question,
        sources=sources,
        left_out=left_out,
        tokens=tokens,
        token_budget=budget,
        messages=generation.messages if sources else (),
    )
    searched = time.perf_counter()
    if not sources:
        seconds = AskSeconds(search=searched - began)
        yield Answer(run_id=request.run_id, text=prompting.REFUSAL, sources=(), found=False, seconds=seconds)
        return
    text, ending = "", None
    for event in session.run(generation, handle):
        if isinstance(event, ENDINGS):
            ending = event
            break
        if isinstance(event, Token):
            text += event.text
        yield event
    if not isinstance(ending, Finished):
        if ending is not None:
            yield ending
        return
    text = ending.text or text
    generated = time.perf_counter()
    answer = check_answer(library, request.run_id, question, text, sources)
    seconds = AskSeconds(
        search=searched - began, generate=generated - searched, check=time.perf_counter() - generated
    )
    yield replace(answer, seconds=seconds)
    yield ending


def _measures(session: Session) -> tuple[PreTrainedTokenizerBase | Estimate, int]:
    """What counts the model's tokens, and how many its context holds; a server keeps its tokenizer to itself.

    Raises:
        NoModelLoaded: There is no model.
    """
    if session.remote is not None:
        return Estimate(), session.remote.context_length or UNKNOWN_CONTEXT
    loaded = session.require_engine().loaded
    return loaded.tokenizer, loaded.context_length


def sources_to_read(session: Session) -> int:
    """How many passages suit the model that is loaded, or that a server runs."""
    if session.remote is not None:
        return _SOURCES
    return 1 if session.require_engine().loaded.info.parameters < _SMALL_MODEL else _SOURCES


def pack(
    hits: Sequence[Source], tokenizer: PreTrainedTokenizerBase | Estimate, *, limit: int, budget: int
) -> tuple[tuple[Source, ...], tuple[Source, ...], int]:
    """Number the best hits that fit.

    Args:
        hits: Best first.
        tokenizer: The model's, to count.
        limit: Most sources.
        budget: Most tokens for all of them; the first source always goes in.

    Returns:
        The numbered sources, those left out, and the tokens that the sources take.
    """
    chosen: list[Source] = []
    left_out: list[Source] = []
    used = 0
    for hit in hits:
        written = prompting.format_source(len(chosen) + 1, prompt_source(hit))
        tokens = len(tokenizer(written, add_special_tokens=False)["input_ids"])
        if len(chosen) < limit and (used + tokens <= budget or not chosen):
            chosen.append(replace(hit, number=len(chosen) + 1))
            used += tokens
        else:
            left_out.append(hit)
    return tuple(chosen), tuple(left_out), used


def prompt_source(source: Source) -> prompting.Source:
    """A source as the prompt names it."""
    return prompting.Source(text=source.text, label=f"{Path(source.file).name}, {source.unit} {source.page}")


def generate_request(request: AskRequest, question: str, sources: Sequence[Source]) -> GenerateRequest:
    """What the model is asked, in the format that the built-in one is trained on."""
    style = prompting.AnswerStyle.SENTENCE if request.whole_sentences else prompting.AnswerStyle.SPAN
    messages = prompting.build_messages(question, [prompt_source(source) for source in sources], style=style)
    return GenerateRequest(
        run_id=request.run_id,
        messages=tuple(Message(role=one["role"], content=one["content"]) for one in messages),  # type: ignore[arg-type]
        controls=request.controls,
        candidates=request.candidates,
        prompt_lookup=True,
    )
