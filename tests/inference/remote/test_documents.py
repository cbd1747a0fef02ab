"""Questions to documents that a model on a server answers; the passages are searched on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inference.events import Answer, AskRequest, IndexRequest, SourcesChosen

TEXT = "The lighthouse of Westhaven was built by Ada Brown in 1871. A ferry leaves for the island at nine."


def test_a_library_is_asked_by_way_of_a_server(
    asking: Any, server: Any, said: Callable[..., bytes], tmp_path: Path
) -> None:
    server.streams("/v1/chat/completions", said("Ada Brown [1]"), said(end="stop"))
    (tmp_path / "harbour.txt").write_text(TEXT)
    library = str(tmp_path / "library")
    asking.load()
    asking.run(IndexRequest(run_id=1, library=library, add=(str(tmp_path / "harbour.txt"),)))
    events = asking.run(AskRequest(run_id=2, library=library, question="Who built the lighthouse?"))
    chosen = next(event for event in events if isinstance(event, SourcesChosen))
    answer = next(event for event in events if isinstance(event, Answer))
    assert [Path(source.file).name for source in chosen.sources] == ["harbour.txt"]
    assert 20 <= chosen.tokens <= 60  # 99 characters and a heading
    assert answer.text.startswith("Ada Brown")
    assert answer.sources[0].number == 1
    sent = server.bodies[-1]["messages"]
    assert "built by Ada Brown in 1871" in sent[-1]["content"]
