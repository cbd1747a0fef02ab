"""Just enough English verb forms to turn a statement into a question."""

from __future__ import annotations

_AUXILIARY_LIST = "is are was were has had can could will would must may might should"
AUXILIARIES = frozenset(_AUXILIARY_LIST.split())

_IRREGULAR_LIST = (
    "became:become began:begin bought:buy broke:break brought:bring built:build came:come caught:catch "
    "chose:choose did:do drew:draw drank:drink drove:drive ate:eat fell:fall felt:feel fought:fight "
    "found:find flew:fly forgot:forget gave:give went:go grew:grow heard:hear held:hold kept:keep "
    "knew:know laid:lay led:lead left:leave lent:lend lost:lose made:make meant:mean met:meet paid:pay "
    "put:put read:read rode:ride rose:rise ran:run said:say saw:see sold:sell sent:send set:set "
    "shook:shake shot:shoot showed:show sang:sing sank:sink sat:sit slept:sleep spoke:speak spent:spend "
    "stood:stand stole:steal struck:strike swam:swim swore:swear took:take taught:teach tore:tear "
    "told:tell thought:think threw:throw understood:understand woke:wake wore:wear won:win wrote:write"
)
_IRREGULAR = dict(pair.split(":") for pair in _IRREGULAR_LIST.split())
# Endings of stems that lost a silent e: "locat-ed", "believ-ed".
_STEM_ENDINGS = "at as iv ov uc is os in ir ur ag ng rg dg iz us ut ok id ar"
_KEEPS_E = tuple(_STEM_ENDINGS.split())


def is_past_verb(word: str) -> bool:
    """Whether a lower-case word is surely a past tense: a known irregular form, or a word in -ed."""
    return word in _IRREGULAR or (word.endswith("ed") and len(word) > 4 and word.islower())


def base_form(verb: str) -> str:
    """The infinitive of a past tense; a good guess for regular verbs."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if not verb.endswith("ed"):
        return verb
    if verb.endswith("ied"):
        return verb[:-3] + "y"
    stem = verb[:-2]
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz":
        return stem[:-1]
    return stem + "e" if stem.endswith(_KEEPS_E) and not stem.endswith(("ain", "oin", "ear", "eat")) else stem
