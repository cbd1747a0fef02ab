"""Makes passages look like what a document index delivers: labels, headings, page furniture, table rows."""

from __future__ import annotations

import random
import re

_EXTENSIONS = ("pdf", "pdf", "pdf", "docx", "txt", "html", "md", "epub")
_UNITS = ("", "%", " km", " USD", " hours", " kg", " units")


def make_label(title: str, rng: random.Random) -> str:
    """A source label such as "voyage-of-the-beagle.pdf, page 12", from a document's title."""
    words = re.findall(r"[A-Za-z0-9]+", title.lower())[:4] or ["document"]
    name = rng.choice(("-", "_", " ")).join(words) + "." + rng.choice(_EXTENSIONS)
    form = rng.choice(("{n}, page {p}", "{n}, page {p}", "{n}, p. {p}", "{n}", "{t}", "{t}, page {p}"))
    return form.format(n=name, t=title[:60].strip(), p=rng.randint(1, 120))


def _furniture(rng: random.Random, title: str) -> str:
    """A line that is on the page but not in its prose."""
    kind = rng.randrange(6)
    if kind == 0:
        return f"{rng.randint(1, 400)} {title[:40].upper()}"
    if kind == 1:
        return f"{rng.randint(1, 12)}.{rng.randint(1, 9)} {title[:50]}"
    if kind == 2:
        return f"Page {rng.randint(1, 90)} of {rng.randint(90, 200)}"
    if kind == 3:
        cells = (f"{rng.randint(1, 99_999):,}{rng.choice(_UNITS)}" for _ in range(rng.randint(3, 8)))
        return " ".join(cells)
    if kind == 4:
        return f"Figure {rng.randint(1, 30)}: {title[:50]}"
    return f"Table {rng.randint(1, 9)} {rng.randint(1990, 2025)} {rng.randint(1990, 2025)} Total"


def as_page(text: str, title: str, keep: str, rng: random.Random) -> str:
    """`text` as if taken from a page: furniture between paragraphs, lines that break, bullets.

    Every occurrence of `keep` (the evidence) stays in one piece.
    """
    begin = text.find(keep)
    parts = [text] if begin < 0 else [text[:begin], keep, text[begin + len(keep) :]]
    wrap = rng.random() < 0.25
    bullets = rng.random() < 0.15
    rebuilt = []
    for part in parts:
        if part != keep:
            if wrap:
                part = re.sub(r"(.{50,90}?) ", lambda m: m.group(1) + "\n", part)
            if bullets:
                part = part.replace("\n", rng.choice(("\n• ", "\n- ", "\n▪ ")))
            if rng.random() < 0.3:
                part = part.replace("\n", f"\n{_furniture(rng, title)}\n", 1)
            if rng.random() < 0.15:
                part = part.replace("\n", " ")
        rebuilt.append(part)
    page = "".join(rebuilt)
    head = [_furniture(rng, title) for _ in range(rng.randint(0, 2))]
    foot = [_furniture(rng, title)] if rng.random() < 0.3 else []
    return "\n".join([*head, page, *foot])
