"""What the README tells a newcomer to type does what it says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from resources import BUILTIN_MODEL

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

needs_builtin = pytest.mark.skipif(
    not (BUILTIN_MODEL / "model.safetensors").is_file(), reason="the built-in model is not there"
)


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def headless_commands() -> list[list[str]]:
    lines = "\n".join(snippets("bash")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("python -m inference")]


def test_the_two_commands_exist_in_the_makefile():
    targets = re.findall(r"^make (\w+)", "\n".join(snippets("bash")), re.MULTILINE)

    assert targets == ["run", "test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_every_picture_and_linked_file_is_in_the_repository():
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).is_file()] == []


@needs_builtin
@pytest.mark.builtin
@pytest.mark.parametrize(
    "command",
    [command for command in headless_commands() if "bench" not in command],
    ids=lambda command: command[3],
)
def test_headless_commands_answer_in_json(command):
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=150
    )

    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[-1] in {"finished", "models", "explanation"}


@needs_builtin
@pytest.mark.builtin
def test_the_library_snippet_prints_a_reply():
    (snippet,) = snippets("python")

    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True, timeout=150
    )

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 1
