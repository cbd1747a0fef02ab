"""An answer as rich text: citations are links, what no source supports and what was unsure is marked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtGui import QColor, QFont, QTextBlockFormat, QTextCharFormat, QTextCursor

from inference.events import AnswerQuality, CitationMark
from views.models.answers import Turn
from views.theme import BODY, CAPTION, GRID, READING, Theme, Tone

#: What each figure means, in one line.
FIGURES = (
    (
        "context_relevance",
        "Context relevance",
        "share of the sources' sentences that have to do with the question",
    ),
    ("answer_relevance", "Answer relevance", "how near the answer is to the question in meaning"),
    (
        "faithfulness",
        "Faithfulness",
        "how well the sources say what the answer says; not whether it is right",
    ),
)


class AnswerWriter:
    """Writes turns at a cursor."""

    def __init__(self, cursor: QTextCursor, theme: Theme) -> None:
        self._cursor, self._theme = cursor, theme
        self._begun = False

    def write(self, number: int, turn: Turn) -> None:
        """Write a turn; ``number`` goes into its links."""
        self._block(4 * GRID if self._begun else 0)
        self._begun = True
        self._say(turn.question, size=READING, bold=True)
        if turn.standalone:
            self._block(GRID)
            self._say("Searched for: ", tone="faint", size=CAPTION)
            self._say(turn.standalone, tone="muted", size=CAPTION)
        self._block(2 * GRID)
        if turn.fault is not None:
            self._say(f"{turn.fault.message} ", tone="danger")
            self._say(turn.fault.hint, tone="muted")
        elif turn.answer is not None and not turn.answer.found:
            self._not_found(number, turn)
        elif turn.text:
            self._answer(number, turn)
        else:
            self._say(_waiting_words(turn), tone="muted")
        if turn.state == "stopped":
            self._block(GRID)
            self._say("Stopped.", tone="muted", size=CAPTION)
        if turn.answer is not None and turn.answer.found:
            self._nearest(number, turn)
            self._notes(turn)

    def _not_found(self, number: int, turn: Turn) -> None:
        self._say("This is not in the documents.", bold=True, size=READING)
        self._block(GRID)
        if turn.sources:
            self._say("The model read the passages below and found no answer in them.", tone="muted")
            self._nearest(number, turn)
        else:
            words = "Nothing in this library is close enough to the question to answer from. "
            self._say(words + "The nearest passages are listed below. ", tone="muted")
            self._link("Answer from them anyway", "anyway:", size=BODY)

    def _nearest(self, number: int, turn: Turn) -> None:
        """What the search holds to be the best sentence, where the model has nothing that stands."""
        wanted = turn.answer.nearest if turn.answer is not None else 0
        nearest = next((source for source in turn.sources if source.number == wanted > 0), None)
        if nearest is not None:
            self._block(2 * GRID)
            self._say("The most relevant sentence is: ", tone="muted")
            self._say(f"“{' '.join((nearest.marked or nearest.text).split())}” ", size=READING)
            self._link(f"[{nearest.number}]", f"source:{number}:{nearest.number}")

    def _answer(self, number: int, turn: Turn) -> None:
        """The text in stretches of one format each."""
        answer = turn.answer
        citations = answer.citations if answer is not None else ()
        unsupported = [] if answer is None else [s for s in answer.sentences if not s.supported]
        edges = {0, len(turn.text)}
        for start, end in (
            *((mark.start, mark.end) for mark in citations),
            *((mark.start, mark.end) for mark in turn.unsure),
            *((mark.start, mark.end) for mark in unsupported),
        ):
            edges |= {min(start, len(turn.text)), min(end, len(turn.text))}
        for start, end in pairwise(sorted(edges)):
            text = turn.text[start:end]
            cited = next((c for c in citations if c.start <= start and end <= c.end), None)
            if cited is not None:
                self._link(text, f"source:{number}:{cited.number}", about=_about_mark(cited))
                continue
            style = self._format(size=READING)
            doubt = next((u for u in turn.unsure if u.start <= start and end <= u.end), None)
            if doubt is not None and answer is not None:
                style.setUnderlineStyle(QTextCharFormat.UnderlineStyle.DotLine)
                style.setUnderlineColor(self._theme.color("muted"))
                style.setToolTip(f"The model gave this {doubt.probability:.0%}.")
            bare = next((s for s in unsupported if s.start <= start and end <= s.end), None)
            if bare is not None:
                style.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
                style.setUnderlineColor(self._theme.color("warning"))
                style.setForeground(self._theme.color("warning"))
                style.setToolTip(f"No source supports this sentence (best match {bare.support:.2f}).")
            self._cursor.insertText(text, style)

    def _notes(self, turn: Turn) -> None:
        answer = turn.answer
        assert answer is not None
        legend = []
        if any(not sentence.supported for sentence in answer.sentences):
            legend.append("waved: no source supports this sentence")
        if any(mark.written for mark in answer.citations):
            legend.append("coloured [n]: led to the source that says it")
        if turn.unsure:
            legend.append("dotted: the model was less than half sure")
        if legend:
            self._block(2 * GRID)
            self._say("; ".join(legend).capitalize() + ".", tone="muted", size=CAPTION)
        self._block(2 * GRID)
        count = len(turn.sources)
        words = f"{count} passage{'' if count == 1 else 's'} read"
        words += f" ({turn.tokens:,} of at most {turn.token_budget:,} tokens)"
        if turn.left_out:
            words += f"; {len(turn.left_out)} more found and not read"
        self._say(words + ".", tone="muted", size=CAPTION)
        if answer.quality is not None:
            self._quality(answer.quality)

    def _quality(self, quality: AnswerQuality) -> None:
        for at, (name, title, meaning) in enumerate(FIGURES):
            self._block(2 * GRID if at == 0 else 2)
            self._say(f"{getattr(quality, name):.2f}", size=CAPTION, mono=True)
            self._say(f"  {title}: ", size=CAPTION)
            self._say(meaning, tone="muted", size=CAPTION)

    # --- the pen

    def _block(self, space: int) -> None:
        style = QTextBlockFormat()
        style.setTopMargin(space)
        style.setLineHeight(125, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
        if self._cursor.position() == 0:
            self._cursor.setBlockFormat(style)
        else:
            self._cursor.insertBlock(style)

    def _say(
        self, text: str, *, tone: Tone = "text", size: int = BODY, bold: bool = False, mono: bool = False
    ) -> None:
        self._cursor.insertText(text, self._format(tone=tone, size=size, bold=bold, mono=mono))

    def _link(self, text: str, address: str, *, size: int = READING, about: str = "") -> None:
        style = self._format(tone="warning" if about else "accent", size=size)
        style.setToolTip(about)
        style.setAnchor(True)
        style.setAnchorHref(address)
        self._cursor.insertText(text, style)

    def _format(
        self, *, tone: Tone = "text", size: int = BODY, bold: bool = False, mono: bool = False
    ) -> QTextCharFormat:
        font: QFont = self._theme.mono(size) if mono else self._theme.font(size, bold=bold)
        color: QColor = self._theme.color(tone)
        style = QTextCharFormat()
        style.setFont(font)
        style.setForeground(color)
        return style


def _about_mark(mark: CitationMark) -> str:
    """What has to be said of a citation that was not right; empty if it was."""
    if not mark.supported:
        return "No source says this: the citation shows only what the model claimed to have read."
    if mark.written:
        return f"The model wrote [{mark.written}], which does not say this; [{mark.number}] does."
    return ""


def write_turns(cursor: QTextCursor, turns: Sequence[Turn], theme: Theme) -> None:
    """Write all turns of a thread."""
    writer = AnswerWriter(cursor, theme)
    for number, turn in enumerate(turns):
        writer.write(number, turn)


def _waiting_words(turn: Turn) -> str:
    if turn.state == "waiting":
        return "Searching the library…"
    count = len(turn.sources)
    return f"Reading {count} passage{'' if count == 1 else 's'}…" if turn.running else ""
