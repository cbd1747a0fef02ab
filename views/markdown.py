"""Markdown as QTextDocuments, one block at a time.

Replies come from a model: HTML in them is shown as text, and images are not loaded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from PySide6.QtGui import (
    QColor,
    QFont,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextOption,
)

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

from views.theme import BODY, READING, Colors, Theme

#: Space between the lines of running text, in px.
LINE_GAP = 6

_LEXER_ALIASES = {"": "text", "jsonc": "json", "sh": "bash", "shell": "bash", "zsh": "bash", "py": "python"}


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # late: it takes longer to import than the window to paint

    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False})
    parser.enable(["table", "strikethrough"])
    return parser.disable(["image", "html_block", "html_inline"])


def warm_up() -> None:
    """Import what rendering needs, so that the first reply does not wait for it."""
    _parser()
    _formats(False)


def render_html(source: str, colors: Colors) -> str:
    """A block of Markdown as the subset of HTML that QTextDocument shows."""
    html: str = _parser().render(source)
    html = html.replace("<pre>", f'<pre style="background-color:{colors.code}">')
    html = html.replace(
        "<blockquote>", f'<blockquote style="color:{colors.muted}; margin-left:16px; margin-right:0px">'
    )
    html = html.replace("<table>", '<table cellspacing="0" cellpadding="0" border="1">')
    return html.replace("<hr />", "<hr>").strip()


def _sheet(colors: Colors, mono: str) -> str:
    return (
        f"a {{ color: {colors.accent}; text-decoration: underline }}"
        f"code, pre {{ font-family: '{mono}'; font-size: {BODY}px; background-color: {colors.code} }}"
        f"h1 {{ font-size: 20px; font-weight: 600; margin-top: 8px; margin-bottom: 4px }}"
        f"h2 {{ font-size: 20px; font-weight: 600; margin-top: 8px; margin-bottom: 4px }}"
        f"h3, h4, h5, h6 {{ font-size: 15px; font-weight: 600; margin-top: 4px; margin-bottom: 4px }}"
        f"p {{ margin-top: 0px; margin-bottom: 0px }}"
        f"li {{ margin-bottom: 2px }}"
        f"ul, ol {{ margin-top: 0px; margin-bottom: 0px; margin-left: 0px; -qt-list-indent: 1 }}"
        f"th {{ font-weight: 600; text-align: left }}"
        f"td, th {{ padding: 5px 8px 0px 8px }}"
        f"table {{ border-color: {colors.border}; border-style: solid; border-collapse: collapse }}"
    )


def new_document(theme: Theme, *, mono: bool = False) -> QTextDocument:
    """An empty document in the theme's type."""
    document = QTextDocument()
    document.setUndoRedoEnabled(False)
    document.setDocumentMargin(0)
    document.setIndentWidth(24)
    document.setDefaultFont(theme.mono(BODY) if mono else theme.font(READING))
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    document.setDefaultTextOption(option)
    return document


def prose_document(source: str, theme: Theme) -> QTextDocument:
    """A finished block of Markdown, rendered."""
    document = new_document(theme)
    document.setDefaultStyleSheet(_sheet(theme.colors, theme.mono().family()))
    document.setHtml(render_html(source, theme.colors))
    _space_lines(document)
    return document


def plain_document(source: str, theme: Theme) -> QTextDocument:
    """Text as it is: what the user typed, and the end of a reply that is still being written."""
    document = new_document(theme)
    document.setPlainText(source)
    _space_lines(document)
    return document


def _space_lines(document: QTextDocument) -> None:
    """Let lines of text stand further apart; the space goes below each line, where list marks do not mind."""
    look = QTextBlockFormat()
    look.setLineHeight(LINE_GAP, int(QTextBlockFormat.LineHeightTypes.LineDistanceHeight.value))
    cursor = QTextCursor(document)
    cursor.select(QTextCursor.SelectionType.Document)
    cursor.mergeBlockFormat(look)


def append_plain(document: QTextDocument, text: str) -> None:
    """Let a plain document grow at its end."""
    cursor = QTextCursor(document)
    cursor.movePosition(QTextCursor.MoveOperation.End)
    cursor.insertText(text)


def code_document(source: str, language: str, theme: Theme) -> QTextDocument:
    """Code with Pygments' colours for the theme that holds now."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    document = new_document(theme, mono=True)
    document.setPlainText(source.removesuffix("\n"))
    formats = _formats(theme.dark)
    cursor = QTextCursor(document)
    try:
        lexer = get_lexer_by_name(_LEXER_ALIASES.get(language.lower(), language.lower()), stripnl=False)
    except ClassNotFound:
        return document
    cursor.beginEditBlock()
    for start, kind, value in lexer.get_tokens_unprocessed(document.toPlainText()):
        look = _look(kind, formats)
        if look is not None and value.strip():
            cursor.setPosition(start)
            cursor.setPosition(start + len(value), QTextCursor.MoveMode.KeepAnchor)
            cursor.mergeCharFormat(look)
    cursor.endEditBlock()
    return document


def _look(kind: object, formats: dict[object, QTextCharFormat]) -> QTextCharFormat | None:
    while kind is not None and kind not in formats:
        kind = getattr(kind, "parent", None)
    return formats.get(kind)


@lru_cache(maxsize=2)
def _formats(dark: bool) -> dict[object, QTextCharFormat]:
    """Pygments' styles as text formats: "github-dark" on dark, "friendly" on light."""
    from pygments.styles import get_style_by_name

    formats: dict[object, QTextCharFormat] = {}
    for kind, style in get_style_by_name("github-dark" if dark else "xcode"):
        look = QTextCharFormat()
        if style["color"]:
            look.setForeground(QColor(f"#{style['color']}"))
        if style["bold"]:
            look.setFontWeight(QFont.Weight.DemiBold)
        if style["italic"]:
            look.setFontItalic(True)
        formats[kind] = look
    return formats


def align(source: str, shown: str) -> list[int]:
    """For each character that is shown, its offset in the Markdown source, plus one entry for the end.

    What is shown is nearly a subsequence of the source; a character that cannot be found there (a list's
    bullet, say) takes the place of the one before it.
    """
    places: list[int] = []
    position = 0
    for char in shown:
        if char in "\u2028\u2029\n \xa0":
            found = next(
                (at for at in range(position, min(position + 64, len(source))) if source[at].isspace()), -1
            )
        else:
            found = source.find(char, position, position + 512)
        if found < 0:
            places.append(min(position, len(source)))
        else:
            places.append(found)
            position = found + 1
    places.append(len(source))
    return places
