"""One run of the real window with a heartbeat: what it does is chosen by the first argument; prints one JSON
line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from app.bench.bare import PROMPT, controls, reply_rate
from app.bench.endless import Endless
from app.bench.heartbeat import Heartbeat
from app.bootstrap import App, Options
from app.driving import Driver
from app.profile import Profile
from app.running import make_application
from app.worker import SessionLike
from inference.events import (
    Candidate,
    Event,
    Finished,
    GenerateRequest,
    LoadRequest,
    MemoryUse,
    ModelInfo,
    ModelLoaded,
    Stage,
    Started,
    Token,
)
from inference.running import RunHandle


class Bench:
    """The window on an empty profile."""

    def __init__(self, profile: Path, launched: float, **options: Any) -> None:
        self.launched = launched
        self.figures: dict[str, Any] = {}
        qt = make_application()
        self.app = App(qt, Options(profile=Profile.under(profile), **options))
        self.driver = Driver(self.app)
        self.heart = Heartbeat()
        self.app.painted.connect(self._note_paint)

    def _note_paint(self) -> None:
        self.figures["painted_seconds"] = time.time() - self.launched
        self.figures["torch_at_paint"] = "torch" in sys.modules

    def start(self) -> None:
        """Paint the window and load the model."""
        self.heart.start()
        self.app.show()
        self.driver.wait(lambda: "painted_seconds" in self.figures, "the painted window")
        self.figures["window_memory"] = psutil.Process().memory_info().rss
        self.driver.wait_for_model()
        self.figures["loaded_seconds"] = time.time() - self.launched
        self.figures["start_and_load"] = asdict(self.heart.stop())

    def say(self, text: str, seconds: float = 300.0) -> None:
        """Send a message as a user does, and wait for the reply."""
        composer = self.app.widgets.chat.composer
        composer.set_text(text)
        composer.send()
        self.driver.wait(lambda: bool(self.app.models.transcript.messages), "the message")
        self.driver.wait_for_reply(seconds)

    def close(self) -> None:
        """Close the window and print what was found."""
        began = time.perf_counter()
        self.app.widgets.window.close()
        self.figures["close_seconds"] = time.perf_counter() - began
        print(json.dumps(self.figures))
        sys.stdout.flush()


def start(bench: Bench) -> None:
    """Time to the painted window, to the model, to the first token; memory of the idle app."""
    bench.start()
    bench.driver.nap(2.0)
    bench.figures["idle_memory"] = psutil.Process().memory_info().rss
    asked = time.time()
    first: list[float] = []
    bench.app.generation.tokens_came.connect(lambda count: first.append(time.time()))
    bench.app.models.controls.set_controls(controls(8))
    bench.say(PROMPT)
    bench.figures["first_token_after_send_seconds"] = first[0] - asked
    bench.figures["first_token_seconds"] = bench.figures["loaded_seconds"] + first[0] - asked


def decode(bench: Bench, session: Endless, tokens: int, repeats: int) -> None:
    """Decode speed in the worker with the window open and streaming, and of the same loop without a listener
    in turn with it; then, in other replies, the stalls meanwhile.

    The loop without a listener runs on this thread, on the same loaded model, while the window rests: two
    processes differ by up to 9 % in the loop's own speed, which is more than what is to be measured. The
    window gets a moment after it, for what has waited meanwhile. The speed is measured with nothing beside
    the app: a heartbeat of 200 ticks a second takes Python's lock more often than the window does.
    """
    bench.app.models.controls.set_controls(controls(tokens))
    bench.app.models.settings.update(score_prompt=False)
    bench.say(PROMPT)
    reply_rate(session, tokens)
    alone, rates, seconds, busy = [], [], 0.0, 0.0
    for _ in range(repeats):
        alone.append(reply_rate(session, tokens))
        began, worked = time.perf_counter(), time.thread_time()
        rates.append(_streamed(bench, tokens))
        seconds, busy = seconds + time.perf_counter() - began, busy + time.thread_time() - worked
    bench.figures |= {"rates_alone": alone, "rates": rates, "gui_cpu_share": busy / seconds}
    bench.heart.start()
    bench.figures["rates_with_heartbeat"] = [_streamed(bench, tokens) for _ in range(repeats)]
    bench.figures["generating"] = asdict(bench.heart.stop())


def _streamed(bench: Bench, tokens: int) -> float:
    """Tokens per second of one reply in a new conversation, which is on the screen before it begins."""
    bench.app.chat.new_chat()
    bench.app.models.controls.set_controls(controls(tokens))
    bench.driver.nap(0.3)
    composer = bench.app.widgets.chat.composer
    composer.set_text(PROMPT)
    bench.driver.wait_for_signal(bench.app.generation.ended, composer.send)
    record = bench.app.models.runs.records[0]
    if record.new_tokens != tokens:
        raise SystemExit(f"a reply ended after {record.new_tokens} of {tokens} tokens")
    return record.tokens_per_second


def long_transcript(bench: Bench, tokens: int) -> None:
    """Stalls while one reply grows to ``tokens`` tokens, written as fast as the window's thread lets it
    be.
    """
    bench.start()
    bench.heart.start()
    bench.say("Go on", seconds=1200.0)
    bench.figures["long_transcript"] = asdict(bench.heart.stop())
    bench.heart.start()
    bench.app.widgets.chat.show_view("tokens")
    bench.driver.nap(2.0)
    bench.app.widgets.chat.show_view("text")
    bench.driver.nap(2.0)
    bench.figures["long_transcript_switch"] = asdict(bench.heart.stop())


def reading(bench: Bench, folder: str) -> None:
    """Stalls while the documents of a folder are read and embedded, with the list of files in sight; a
    question is typed in the middle of it.
    """
    bench.start()
    bench.app.widgets.window.show_mode("documents")
    library = bench.app.models.library
    bench.driver.wait(lambda: library.state == "idle", "the open library", 120)
    bench.heart.start()
    bench.app.widgets.document_intents.add_requested.emit([folder])
    bench.driver.wait(lambda: library.searchable, "the first document", 600)
    for end in range(1, len(_QUESTION) + 1):
        bench.app.widgets.documents.question.field.setText(_QUESTION[:end])
        bench.driver.nap(0.05)
    bench.driver.wait(lambda: library.state == "idle", "the last document", 3000)
    bench.figures["reading"] = asdict(bench.heart.stop())
    bench.figures["documents"] = len(library.documents.entries)
    bench.figures["passages"] = library.passages


_QUESTION = "How are words hyphenated at the end of a line?"


class Chatterbox:
    """A session that writes a long text at a given speed; only for the window's own costs."""

    def __init__(self, tokens: int, per_second: float) -> None:
        self._tokens, self._pause = tokens, 1 / per_second

    def run(self, request: Any, handle: RunHandle) -> Iterator[Event]:
        """Answer loads and generations; nothing else is known."""
        run_id = request.run_id
        if isinstance(request, LoadRequest):
            yield ModelLoaded(
                run_id=run_id, info=_INFO, quantization="none", device="cpu", context_length=2**15,
                seconds=0.0, memory=MemoryUse(),
            )  # fmt: skip
        elif isinstance(request, GenerateRequest):
            yield Started(
                run_id=run_id, prompt_tokens=10, reused_tokens=0, context_length=2**15, seed=1, prompt_text=""
            )
            due = time.perf_counter()
            for index in range(self._tokens):
                handle.check()
                yield _token(run_id, index)
                due += self._pause
                time.sleep(max(0.0, due - time.perf_counter()))
        yield Finished(run_id=run_id, reason="done", new_tokens=self._tokens)


_INFO = ModelInfo(
    source="builtin", name="Chatterbox", architecture="none", parameters=0, context_length=2**15,
    vocabulary=8192, layers=0, hidden_size=0, kv_bytes_per_token=0, stored_bytes=0, stored_dtype="none",
    licence=None, has_chat_template=True,
)  # fmt: skip
_WORDS = ("the", "light", "of", "a", "distant", "ship", "turns", "slowly", "towards", "them.\n\n")


def _token(run_id: int, index: int) -> Token:
    text = " " + _WORDS[index % len(_WORDS)]
    candidates = tuple(
        Candidate(
            id=n, text=text if n == 0 else f" {_WORDS[n % 10]}", raw_logprob=-0.5 - n, sampled_prob=0.05
        )
        for n in range(20)
    )
    probs = (0.05,) * len(candidates)
    stages = tuple(Stage(name=name, probs=probs, removed=0.0) for name in ("raw", "temperature", "top-p"))
    return Token(
        run_id=run_id, index=index, id=0, text=text, data=text.encode(), special=False, raw_logprob=-0.5,
        sampled_prob=0.05, entropy=2.0, candidates=candidates, stages=stages, at=0.01 * index,
    )  # fmt: skip


def main() -> None:
    """Run one of the parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=("start", "decode", "long", "reading"))
    parser.add_argument("--documents", default="", help="folder of the part reading")
    parser.add_argument("--launched", type=float, default=time.time())
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--per-second", type=float, default=400.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.part == "long":
            chatterbox: SessionLike = Chatterbox(options.tokens, options.per_second)
            bench = Bench(
                Path(folder),
                options.launched,
                make_engine=lambda: chatterbox,
                make_librarian=lambda: chatterbox,
            )
            long_transcript(bench, options.tokens)
        else:
            endless: list[Endless] = []

            def make_engine() -> SessionLike:
                endless.append(Endless())
                return endless[0]

            made = {"make_engine": make_engine} if options.part == "decode" else {}
            bench = Bench(Path(folder), options.launched, **made)
            if options.part == "start":
                start(bench)
            elif options.part == "decode":
                bench.start()
                decode(bench, endless[0], options.tokens, options.repeats)
            else:
                reading(bench, options.documents)
        bench.close()


if __name__ == "__main__":
    main()
