"""``python -m inference ask``: index, ask and answer from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference.__main__ import main
from resources import BUILTIN_MODEL

_TEXT = "The bridge at Velm was built in 1912. Its keeper is Tomas Arlt."


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.builtin
@pytest.mark.skipif(not (BUILTIN_MODEL / "model.safetensors").exists(), reason="no built-in model here")
def test_a_file_is_added_and_its_answer_quotes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "velm.txt"
    file.write_text(_TEXT)
    library = ["ask", "--library", str(tmp_path / "library")]
    question = ["--question", "When was the bridge at Velm built?", "--json"]
    assert main([*library, "--add", str(file), *question]) == 0
    events = lines(capsys.readouterr().out)
    kinds = [event["event"] for event in events]
    assert kinds.index("document") < kinds.index("token") < kinds.index("answer")
    (answer,) = (event for event in events if event["event"] == "answer")
    assert "1912" in answer["text"]
    assert answer["seconds"]
    (source,) = answer["sources"]
    assert (source["file"], source["page"], source["text"]) == (str(file), 1, _TEXT)
    assert {"score", "boxes"} <= source.keys()
    assert main([*library, *question[:2]]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written[0] == answer["text"]
    assert written[1].startswith(f"[1]* {file}")
    assert written[2].strip() == "“The bridge at Velm was built in 1912.”", "what is marked on the page"


def test_a_library_that_is_not_there_is_told_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "--library", str(tmp_path / "typo"), "--question", "When?", "--json"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (failed,) = lines(captured.err)
    assert (failed["event"], failed["kind"]) == ("failed", "unreadable-file")
    assert not (tmp_path / "typo").exists()


@pytest.mark.builtin
@pytest.mark.skipif(not (BUILTIN_MODEL / "model.safetensors").exists(), reason="no built-in model here")
def test_an_empty_question_is_an_error_and_no_question_only_indexes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = ["ask", "--library", str(tmp_path / "library"), "--json"]
    assert main([*library, "--add", str(tmp_path / "nothing.txt")]) == 0
    assert "answer" not in {event["event"] for event in lines(capsys.readouterr().out)}
    assert main([*library, "--question", " "]) == 1
    (failed,) = lines(capsys.readouterr().err)
    assert failed["kind"] == "empty-prompt"
