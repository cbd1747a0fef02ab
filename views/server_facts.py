"""What there is to say of a model on a server, in the words of the panels."""

from __future__ import annotations

from inference.events import ModelInfo, Probabilities, RemoteModel, Token, TokenOrigin
from views.models.candidates import TokenPlace
from views.models.controls import SPEC_BY_NAME

_PROBABILITIES: dict[Probabilities, str] = {
    "raw": "the model's own (raw)",
    "sampled": "those it draws with",
    "unknown": "where told; raw or not is unknown",
    "none": "none",
}
_ORIGINS: dict[TokenOrigin, str] = {
    "server-raw": "the model's own (raw), before any control",
    "server-sampled": "those that it drew with, after every control",
    "server-unknown": "whether before or after the controls it does not say",
}
_OTHER_CONTROLS = {"seed": "Seed", "stop": "Stop strings", "logit_bias": "Logit bias"}


def server_facts(info: ModelInfo, remote: RemoteModel) -> list[tuple[str, str]]:
    """Titles and facts for the model's card."""
    facts = [
        ("Address", remote.address.partition("://")[2]),
        ("Runs on", "this machine" if remote.this_machine else "another machine"),
        ("Model", info.name),
        ("Program", remote.kind_title if remote.connected else "told when connected"),
    ]
    if not remote.connected:
        return facts
    explained = not (remote.score_chat_problem and remote.score_raw_problem)
    return [
        *facts,
        ("Context", f"{info.context_length:,} tokens" if info.context_length else "not told"),
        ("Probabilities", _PROBABILITIES[remote.probabilities]),
        ("Branching", "in chats and raw texts" if not remote.continue_problem else "raw texts only"),
        ("Explaining", "leave one out" if explained else "not available"),
    ]


def server_words(remote: RemoteModel) -> str:
    """Where prompts go, in a sentence."""
    if remote.this_machine:
        return f"Prompts go to {remote.address}: a server on this machine."
    how = "" if remote.address.startswith("https:") else ", unencrypted (http)"
    return (
        f"Prompts, and passages of documents that are asked about, leave this machine{how}: they go to "
        f"{remote.address}."
    )


def controls_note(remote: RemoteModel) -> str:
    """When controls act on a server, and which it does not take."""
    words = f"{remote.kind_title} gets the controls with each request: a change acts from the next reply on."
    titles = {name: spec.label for name, spec in SPEC_BY_NAME.items()} | _OTHER_CONTROLS
    missing = [title for name, title in titles.items() if name not in remote.controls]
    if missing:
        words += f" It is not known to take {', '.join(missing)}."
    return words


def branch_note(remote: RemoteModel | None) -> str:
    """What a click on a candidate does."""
    if remote is None or not remote.continue_problem:
        return "Click one to write the reply anew from there."
    return f"{remote.continue_problem} Branching works in raw mode."


def server_note(place: TokenPlace, remote: RemoteModel | None) -> str:
    """What the probabilities of a token from a server are."""
    if not place.candidates:
        return "The server gave no probabilities with this piece of text, which may be several tokens."
    return (
        f"The server's probabilities: {_ORIGINS[place.origin]}. It told {len(place.candidates)} candidates. "
        f"{branch_note(remote)}"
    )


def unknown_raw(place: TokenPlace) -> str:
    """What stands in place of a raw probability that is not known."""
    return "not told" if isinstance(place.token, Token) else "not predicted"
