"""The words that keyword search looks for: folded, stemmed, without stop words; pairs of letters where no
spaces are.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’.][^\W_]+)*", re.UNICODE)
#: A word, or an identifier such as ``CFE_ES_Main`` as a whole.
IDENTIFIER = re.compile(r"[^\W_]+(?:['’._]+[^\W_]+)*")
_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]+")
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_HEBREW = re.compile(r"^[\u05d0-\u05ea]+$")

_QUANTITY = re.compile(
    r"\bhow (many|much|big|long|old|often|large|small|far|fast|high|tall|soon|late|deep|heavy|wide)\b"
    r"|\b(what|which) (\w+ )?(amount|share|size|number|percentage|part|rate|price|year|day|date|edition)\b"
    r"|^(by |since |until )?when\b|\b(by|since|until|from) when\b|\b(from|up to) (what|which|how)\b"
    r"|\bwie (viele?|lange?|groß|oft|hoch|alt|weit|schwer|teuer|schnell)\b|^(bis |seit |ab )?wann\b"
    r"|\bcombien\b|\bcuánt[oa]s?\b|多少|几|何(人|個|年|回|日|時)|いくつ|いつ|כמה|מתי",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half|third|quarter|twice|once|hundred"
    r"|thousand|million|billion|zwei|drei|vier|fünf|sechs|sieben|acht|neun|zehn|hundert|tausend)\b"
    r"|[一二三四五六七八九十百千万]",
    re.IGNORECASE,
)
_STOP_WORD_LIST = """
a about after again all also am an and any are as at be because been before being between both but
by can could did do does doing down each few for from further had has have having he her here hers
him his how i if in into is it its itself just me more most my no nor not of off on once only or
other our out over own same she should so some such than that the their them then there these they
this those through to too under until up very was we were what when where which while who whom whose
why will with would you your der die das den dem des ein eine einer eines einem einen und oder nicht
ist sind war wird werden wie was wer wo wann welche welcher welches im in am an auf aus bei mit nach
von vor zu zum zur sich als auch für über durch le la les un une des du de et ou est sont que qui
dans pour par sur avec el los las una unos unas del y o es son que en por para con
"""
STOP_WORDS = frozenset(_STOP_WORD_LIST.split())


def terms(text: str) -> list[str]:
    """The index terms of a text, in order, with repeats.

    Words are folded (NFKC, lower case, no accents) and stemmed; identifiers such as ``CFE_ES_Main`` give
    their parts and then the whole, which is much rarer. Runs of Chinese, Japanese and Thai give every pair of
    neighbouring characters.
    """
    found: list[str] = []
    for match in IDENTIFIER.finditer(unicodedata.normalize("NFKC", text)):
        whole = match.group()
        for part in _WORD.findall(whole):
            if _SPACELESS.search(part):
                found.extend(_pairs(part))
            elif (term := _term(part)) is not None:
                found.append(term)
        if "_" in whole:
            found.append(_fold(whole))
    return found


def asks_for_a_number(question: str) -> bool:
    """Whether the answer to a question is most likely a number, a date or an amount."""
    return bool(_QUANTITY.search(question))


def holds_a_number(text: str) -> bool:
    """Whether a number stands in a text, in digits or in letters."""
    return bool(_NUMBER.search(text))


def _pairs(word: str) -> list[str]:
    """Pairs of characters of the spaceless parts of a word, and terms of its other parts."""
    found: list[str] = []
    at = 0
    for run in _SPACELESS.finditer(word):
        found.extend(term for part in [word[at : run.start()]] if part and (term := _term(part)))
        letters = run.group()
        found.extend(
            [letters] if len(letters) == 1 else [letters[k : k + 2] for k in range(len(letters) - 1)]
        )
        at = run.end()
    found.extend(term for part in [word[at:]] if part and (term := _term(part)))
    return found


@lru_cache(maxsize=65536)
def _term(word: str) -> str | None:
    folded = _fold(word).replace("’", "'")
    folded = folded.removesuffix("'s")
    if folded in STOP_WORDS and not (word.isupper() and len(word) > 1):  # US, IT and ES are names
        return None
    if _HEBREW.match(folded):
        return _strip_hebrew_prefix(folded)
    return stem(folded)


def _fold(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.casefold())
    return unicodedata.normalize(
        "NFC", "".join(letter for letter in plain if not unicodedata.combining(letter))
    )


def _strip_hebrew_prefix(word: str) -> str:
    """Hebrew writes "the", "in", "to", "that", "and", "from" as a letter before the word."""
    while len(word) > 3 and word[0] in "הבלכשומ":
        word = word[1:]
    return word


_ENDINGS = (
    ("ational", "ate"), ("ization", "ize"), ("fulness", "ful"), ("iveness", "ive"), ("ousness", "ous"),
    ("ionally", ""), ("ations", ""), ("ional", ""), ("ement", ""), ("ments", ""), ("ation", ""),
    ("ators", ""), ("ities", ""), ("ously", ""), ("ment", ""), ("ator", ""), ("ness", ""), ("ings", ""),
    ("edly", ""), ("ests", "est"), ("ions", ""), ("able", ""), ("ible", ""), ("ance", ""), ("ence", ""),
    ("ally", ""), ("ives", ""), ("less", ""), ("ity", ""), ("ing", ""), ("ies", "y"), ("ied", "y"),
    ("ers", ""), ("ors", ""), ("ion", ""), ("ive", ""), ("ous", ""), ("ful", ""), ("ly", ""), ("al", ""),
    ("or", ""), ("es", ""), ("ed", ""), ("er", ""), ("s", ""), ("e", ""),
)  # fmt: skip  # longest first


def stem(word: str) -> str:
    """Cut common English endings, so that forms of a word meet; light on purpose, numbers and names stay
    whole.
    """
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ss"):
        return word
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return (
        word[:-1] + "i"
        if word.endswith("y") and len(word) > 3
        else word.removesuffix("e")
        if len(word) > 4
        else word
    )
