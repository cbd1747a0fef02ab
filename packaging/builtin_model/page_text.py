"""Makes text look like a page of a PDF as a reader delivers it: broken lines, headings, tables, references.

The pieces of a page are blocks of text in reading order. One of them holds the answer; it stays in one piece,
white space aside, and everything else around it is fair game.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

from sentences import split_sentences
from toy_facts import code, made_up_name, number, person

_UNIT_LIST = "%|km|USD|hours|kg|units|mm|MB|GHz|ms|days|people|kWh|cm|°C|Hz|pages|years|V|mg"
_FIELD_LIST = (
    "Name|Date|Signature|Address|Phone|Total|Amount|Version|Edition|Status|Form|Part|Line|Serial No.|"
    "OMB No.|File|ISBN|Category|Code|Department|Contact|E-mail|Approved by|Prepared by|Revision|"
    "Page count|Location|Fax"
)
_VENUE_LIST = (
    "Proc.|Journal of|IEEE Trans.|Annals of|Tech. Rep.|In: Proceedings of|Bulletin of|arXiv preprint"
)
_UNITS, _FIELDS, _VENUES = _UNIT_LIST.split("|"), _FIELD_LIST.split("|"), _VENUE_LIST.split("|")
_BULLETS = ("• ", "- ", "▪ ", "– ", "* ", "o ", "□ ", "➢ ", "")


def title_of(text: str, rng: random.Random) -> str:
    """A few words of `text` in the manner of a heading."""
    words = re.findall(r"[A-Za-z][\w'’-]*", text)
    if not words:
        return made_up_name(rng)
    at = rng.randrange(max(1, len(words) - 5))
    title = " ".join(words[at : at + rng.randint(1, 6)])
    return rng.choice((title.title(), title.upper(), title[0].upper() + title[1:]))


def furniture(about: str, rng: random.Random) -> str:
    """What is on pages but is no prose: a running head, a heading, a row of figures, a reference, ..."""
    title, kind = title_of(about, rng), rng.randrange(13)
    if kind == 0:
        return f"{rng.randint(1, 900)} {title}"
    if kind == 1:
        return f"{rng.randint(1, 14)}.{rng.randint(1, 30)} {title}"
    if kind == 2:
        return f"Page {rng.randint(1, 90)} of {rng.randint(90, 200)}"
    if kind == 3:
        unit = rng.choice(_UNITS) if rng.random() < 0.4 else ""
        return " ".join(f"{number(rng)}{unit}" for _ in range(rng.randint(3, 12)))
    if kind == 4:
        caption = rng.choice(("Figure", "Fig.", "Table", "Exhibit"))
        return f"{caption} {rng.randint(1, 30)}{rng.choice(':. ')} {title}"
    if kind == 5:
        row = f"{title_of(about, rng)} " + " ".join(number(rng) for _ in range(rng.randint(1, 6)))
        return "\n".join(
            [row, f"{title_of(about, rng)} {number(rng)} {rng.choice(_UNITS)}"][: rng.randint(1, 2)]
        )
    if kind == 6:
        fields = rng.sample(_FIELDS, rng.randint(1, 5))
        return " ".join(rng.choice((f"{f}: {code(rng)}", f, f"{f} ______", f"{f}:")) for f in fields)
    if kind == 7:
        where = f"{rng.choice(_VENUES)} {made_up_name(rng)}, {rng.randint(1950, 2025)}"
        pages = f"pp. {rng.randint(1, 99)}-{rng.randint(100, 400)}."
        return f"[{rng.randint(1, 99)}] {person(rng)}, {person(rng)} et al., {title}, {where}, {pages}"
    if kind == 8:
        return " ".join(code(rng) for _ in range(rng.randint(1, 8)))
    if kind == 9:
        date = f"{rng.randint(1, 12)}/{rng.randint(1, 28)}/{rng.randint(1990, 2025)}"
        return f"{title} | {made_up_name(rng)} {rng.randint(1, 9)}.{rng.randint(0, 9)} | {date}"
    if kind == 10:
        return f"{title} " + "." * rng.randint(3, 20) + f" {rng.randint(1, 300)}"
    if kind == 11:
        name = "_".join(re.findall(r"[A-Z]{2,}", title_of(about, rng).upper())[:3]) or "VALUE"
        return rng.choice(
            (
                f"#define {name} {rng.randint(0, 4096)}",
                f"{name} = {number(rng)}",
                f"{name.lower()}() → {title}",
            )
        )
    return rng.choice(_BULLETS) + title


def wear(text: str, rng: random.Random) -> str:
    """Small damage as extraction leaves it: note and reference marks, words cut at a line's end."""
    if rng.random() < 0.06:
        text = re.sub(r"([a-z]{4,})([.,]) ", lambda m: f"{m[1]}{m[2]}{rng.randint(1, 60)} ", text, count=1)
    if rng.random() < 0.08:
        words = text.split(" ")
        # A reference; small numbers would read as citations.
        words.insert(rng.randrange(len(words) + 1), f"[{rng.randint(13, 80)}]")
        text = " ".join(words)
    if rng.random() < 0.05:
        text = re.sub(r" ([a-z]{4})([a-z]{3,}) ", r" \1- \2 ", text, count=1)
    if rng.random() < 0.04:
        text = re.sub(r"([a-z]) ([a-z])", r"\1\2", text, count=1)
    return text


def wrap(text: str, width: int) -> str:
    """Breaks lines at about `width` characters."""
    return re.sub(rf"(.{{{width - 14},{width}}}?) ", lambda m: m[1] + "\n", text)


def lay_out(blocks: Sequence[str], kept: Collection[str], rng: random.Random) -> str:
    """`blocks` as one page's text; those among `kept` stay whole but for their line breaks."""
    noise = rng.choice((0.0, 0.05, 0.15, 0.35, 0.7))
    about = blocks[rng.randrange(len(blocks))]
    parts = [furniture(about, rng) for _ in range(rng.choice((0, 0, 1, 2, 3)) if noise else 0)]
    bullet = rng.choice(_BULLETS) if rng.random() < 0.12 else None
    columns = noise > 0.1 and rng.random() < 0.15
    for block in blocks:
        if block not in kept:
            block = wear(block, rng) if noise else block
            if columns and len(block) > 160:
                # Neighbouring columns read across: halves of the block change places.
                lines = wrap(block, 60).split("\n")
                pairs = zip(lines[::2], lines[1::2][::-1], strict=False)
                block = " ".join(line for pair in pairs for line in pair)
        if rng.random() < noise:
            parts.append(furniture(block, rng))
        parts.append((bullet + block) if bullet is not None and rng.random() < 0.8 else block)
    if noise and rng.random() < 0.4:
        parts.append(furniture(about, rng))
    layout = rng.random()
    if layout < 0.45:
        return " ".join(" ".join(parts).split())
    if layout < 0.8:
        width = rng.randint(40, 110)
        joined = "".join(part + rng.choice((" ", " ", " ", "\n")) for part in parts)
        return "\n".join(wrap(line, width) for line in joined.split("\n")).strip()
    return "".join(part + rng.choice((" ", " ", "\n")) for part in parts).strip()


def sentences_of(text: str, rng: random.Random, words: int) -> list[str]:
    """Consecutive sentences of `text` from a random place, about `words` words in all."""
    length = len(text)
    room = words * 7
    begin = rng.randrange(max(1, length - room)) if length > room else 0
    piece = text[begin : begin + room]
    found = split_sentences(piece)
    # The first and the last may be cut in the middle of a word.
    found = found[1 if begin else 0 : -1 if begin + room < length and len(found) > 2 else None]
    return found or split_sentences(text)[:3]
