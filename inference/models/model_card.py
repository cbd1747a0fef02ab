"""What comes beside the weights: the licence and the chat template, read as text."""

from __future__ import annotations

import re
from pathlib import Path

from inference.errors import InferenceError
from inference.models.checkpoints import read_json

#: Words by which a licence text is recognised, and its SPDX name or common name.
_TEXTS = (
    ("apache license", "apache-2.0"),
    ("mit license", "mit"),
    ("permission is hereby granted, free of charge", "mit"),
    ("redistribution and use in source and binary forms", "bsd"),
    ("gnu affero general public license", "agpl-3.0"),
    ("gnu general public license", "gpl"),
    ("creative commons", "cc"),
)
_HEAD = 20_000


def licence(folder: Path) -> str | None:
    """The licence that README.md's front matter names, else what a LICENSE file looks like; or None."""
    if named := _front_matter_licence(_head(folder / "README.md")):
        return named
    for path in sorted(folder.glob("LICEN[CS]E*")):
        text = _head(path)
        folded = " ".join(text.lower().split())
        for words, name in _TEXTS:
            if words in folded:
                return name
        if lines := [line.strip(" #*=-") for line in text.splitlines() if line.strip(" #*=-")]:
            return lines[0][:60]
    return None


def _front_matter_licence(text: str) -> str | None:
    matter = re.match(r"\ufeff?---\s*\n(.*?)\n---", text, re.DOTALL)
    if matter is None:
        return None
    values = {}
    for name in ("license", "license_name"):
        found = re.search(rf"^{name}:[ \t]*(?:\n[ \t]*-[ \t]*)?(.+)$", matter[1], re.MULTILINE)
        values[name] = found[1].strip(" \t\"'[]") if found else ""
    if values["license"] in ("", "other"):
        return values["license_name"] or values["license"] or None
    return values["license"]


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer's files bring a chat template."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    file = folder / "tokenizer_config.json"
    try:
        return file.is_file() and bool(read_json(file).get("chat_template"))
    except InferenceError:
        return False  # loading will say what is wrong with it


def _head(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_HEAD)
    except OSError:
        return ""
