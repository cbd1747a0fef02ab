"""A conversation as a file for others to read: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from app.history import Conversation, History, StoredMessage
from inference.events import to_json

_AUTHORS = {"user": "You", "assistant": "Model", "system": "System"}


def to_markdown(history: History, conversation: int) -> str:
    """The branch that is shown, one heading a turn, texts unchanged."""
    about = history.conversation(conversation)
    parts = [f"# {about.title}", f"*{_when(about.created)}*"]
    if about.system_prompt:
        parts += ["## System", about.system_prompt]
    for message in history.path(conversation):
        author = _AUTHORS[message.role] + (f" ({message.model})" if message.model else "")
        parts += [f"## {author}", message.text]
        if message.state in ("stopped", "failed", "streaming"):
            parts.append("*(not finished)*")
    return "\n\n".join(parts) + "\n"


def to_json_text(history: History, conversation: int, *, with_tokens: bool = False) -> str:
    """The whole tree with all branches, the controls, and (``with_tokens``) what is known of each token."""
    about = history.conversation(conversation)
    messages = [_message(history, message, with_tokens) for message in history.tree(conversation)]
    whole = {"format": "model-loupe-conversation", "version": 1, **_head(about), "messages": messages}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def file_name(title: str, suffix: str) -> str:
    """A name for the file that every platform takes."""
    kept = "".join(char if char.isalnum() or char in " -_" else " " for char in title)
    return (" ".join(kept.split())[:60].strip() or "conversation") + suffix


def _head(about: Conversation) -> dict[str, Any]:
    return {
        "title": about.title,
        "kind": about.kind,
        "created": _when(about.created),
        "updated": _when(about.updated),
        "system_prompt": about.system_prompt,
        "controls": to_json(about.controls),
    }


def _message(history: History, message: StoredMessage, with_tokens: bool) -> dict[str, Any]:
    values: dict[str, Any] = to_json(message)
    del values["conversation"]
    values["created"] = _when(message.created)
    if message.role == "assistant":
        reply = history.reply(message.id)
        values["controls_changed"] = [{"index": mark.index, "changes": mark.changes} for mark in reply.marks]
        if with_tokens:
            values["tokens"] = [to_json(token) for token in reply.tokens]
            for token in values["tokens"]:
                del token["event"], token["run_id"]
    return values


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
