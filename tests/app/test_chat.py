"""The chat from intents to the transcript and the disk, with a scripted session."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.controllers.chat import ChatController
from app.controllers.conversations import ConversationsController
from app.controllers.generation import Generation
from app.controllers.tracks import TracksController
from app.desk import Desk
from app.faults import FaultReporter
from app.history import History
from app.worker import Worker
from inference.errors import OutOfMemory
from inference.events import (
    Event,
    Failed,
    GenerateRequest,
    Message,
    ModelLoaded,
    SamplingControls,
    ScoredToken,
    ScoreRequest,
    Started,
    Token,
)
from inference.running import RunHandle
from views.models.controls import ControlsModel
from views.models.conversations import ConversationsModel
from views.models.faults import FaultsModel
from views.models.model_choice import ModelChoiceModel
from views.models.runs import RunsModel
from views.models.settings import Settings, SettingsModel
from views.models.transcript import TranscriptModel


@dataclass
class App:
    """The parts below the window, put together."""

    session: Any
    history: History
    transcript: TranscriptModel
    controls: ControlsModel
    settings: SettingsModel
    models: ModelChoiceModel
    runs: RunsModel
    faults: FaultsModel
    conversations: ConversationsModel
    generation: Generation
    chat: ChatController
    listing: ConversationsController
    tracks: TracksController
    qtbot: Any

    def done(self) -> None:
        self.qtbot.waitUntil(lambda: not self.generation.running)

    def say(self, text: str) -> None:
        self.chat.send(text)
        self.done()

    @property
    def shown(self) -> list[tuple[str, str]]:
        return [(message.role, message.text) for message in self.transcript.messages]

    @property
    def reply(self) -> Any:
        return self.transcript.messages[-1]

    @property
    def asked(self) -> GenerateRequest:
        return self.session.of(GenerateRequest)[-1]


@pytest.fixture
def app(fake_session: Any, history: History, qtbot: Any) -> Iterator[App]:
    worker = Worker(lambda: fake_session)
    desk = Desk(worker)
    transcript, controls = TranscriptModel(), ControlsModel()
    settings, models, runs = SettingsModel(Settings(score_prompt=False)), ModelChoiceModel(), RunsModel()
    faults = FaultsModel()
    reporter = FaultReporter(faults)
    generation = Generation(
        desk=desk,
        history=history,
        transcript=transcript,
        controls=controls,
        settings=settings,
        models=models,
        runs=runs,
        faults=reporter,
    )
    chat = ChatController(
        history=history, transcript=transcript, generation=generation, controls=controls, models=models
    )
    conversations = ConversationsModel()
    listing = ConversationsController(
        history=history, model=conversations, chat=chat, generation=generation, faults=reporter
    )
    tracks = TracksController(
        desk=desk,
        history=history,
        transcript=transcript,
        generation=generation,
        models=models,
        settings=settings,
        faults=reporter,
    )
    models.set_loaded(loaded(fake_session))
    parts = App(
        fake_session, history, transcript, controls, settings, models, runs, faults, conversations,
        generation, chat, listing, tracks, qtbot,
    )  # fmt: skip
    yield parts
    assert worker.shut_down()


def loaded(session: Any) -> ModelLoaded:
    from inference.events import LoadRequest

    events = session._plain(LoadRequest(run_id=0, model="builtin"), RunHandle(0))
    return next(event for event in events if isinstance(event, ModelLoaded))


def test_a_question_is_answered_shown_and_kept(app: App) -> None:
    app.say("Which river is the longest?")
    assert app.shown == [("user", "Which river is the longest?"), ("assistant", "It is the Nile.")]
    assert app.reply.state == "complete"
    assert app.reply.author == "fake"
    assert len(app.reply.track) == 5
    (conversation,) = app.history.conversations()
    assert conversation.title == "Which river is the longest?"
    stored = app.history.path(conversation.id)
    assert [message.text for message in stored] == [text for _, text in app.shown]
    assert stored[1].ending.reason == "stop"
    assert stored[1].ending.seed == 1234
    assert [t.text for t in app.history.reply(stored[1].id).tokens] == ["It", " is", " the", " Nile", "."]
    assert app.controls.last_seed == 1234


def test_a_follow_up_reads_the_whole_conversation_with_its_system_prompt(app: App) -> None:
    app.chat.set_system_prompt("Be brief.")
    app.say("One?")
    app.say("Two?")
    assert app.asked.messages == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="One?"),
        Message(role="assistant", content="It is the Nile."),
        Message(role="user", content="Two?"),
    )


def test_a_message_is_on_disk_when_it_is_shown_as_sent(app: App, open_history: Any) -> None:
    app.session.stepwise = True
    app.chat.send("Is this kept?")
    assert app.shown[0] == ("user", "Is this kept?")
    second = open_history(read_only=True)
    (conversation,) = second.conversations()
    assert [m.text for m in second.path(conversation.id)] == ["Is this kept?", ""]
    app.chat.stop()
    app.done()


def test_a_reply_that_is_being_written_is_on_disk_within_a_second(app: App, open_history: Any) -> None:
    app.session.stepwise = True
    app.chat.send("Slow?")
    app.session.step(2)
    app.qtbot.waitUntil(lambda: app.reply.text == "It is")
    began = time.monotonic()

    def kept() -> bool:
        other = open_history(read_only=True)
        return other.path(other.conversations()[0].id)[-1].text == "It is"

    app.qtbot.waitUntil(kept, timeout=20_000)
    assert [m.state for m in open_history(read_only=True).unfinished()] == ["streaming"]
    assert time.monotonic() - began < 15
    app.chat.stop()
    app.done()


def test_stopping_keeps_what_was_written_and_continue_goes_on_from_the_exact_tokens(app: App) -> None:
    app.session.stepwise = True
    app.chat.send("Long?")
    app.session.step(2)
    app.qtbot.waitUntil(lambda: app.reply.text == "It is")
    app.chat.stop()
    app.done()
    assert (app.reply.state, app.reply.text) == ("stopped", "It is")
    app.session.stepwise = False
    app.session.reply_pieces = (" long", ".")
    app.chat.continue_reply(app.reply.id)
    app.done()
    assert app.asked.reply_ids == (100, 101)
    assert app.asked.reply_text == ""
    assert app.reply.text == "It is long."
    assert [token.index for token in app.reply.track.tokens] == [0, 1, 2, 3]
    assert "".join(t.text for t in app.history.reply(app.reply.id).tokens) == "It is long."
    assert len(app.history.siblings(app.reply.id)) == 1


def test_continuing_an_ended_reply_leaves_its_end_token_out(app: App) -> None:
    def with_end(request: Any, handle: RunHandle) -> Iterator[Event]:
        yield app.session.token(request.run_id, 0, "Yes", 0.5)
        yield replace(app.session.token(request.run_id, 1, "", 0.5), special=True, id=2)

    app.session.script[GenerateRequest] = with_end
    app.say("Really?")
    app.chat.continue_reply(app.reply.id)
    app.done()
    assert app.asked.reply_ids == (100,)
    assert app.reply.text == "YesYes"
    assert [t.index for t in app.history.reply(app.reply.id).tokens] == [0, 1, 2]


def test_another_models_reply_is_continued_and_branched_as_text(app: App) -> None:
    app.say("Which?")
    known = loaded(app.session)
    app.models.set_loaded(replace(known, info=replace(known.info, name="another")))
    app.chat.continue_reply(app.reply.id)
    app.done()
    assert (app.asked.reply_ids, app.asked.reply_text) == ((), "It is the Nile.")
    app.models.set_loaded(known)
    app.say("And then?")
    app.models.set_loaded(replace(known, info=replace(known.info, name="another")))
    candidate = app.reply.track[1].candidates[0]
    app.chat.branch_from_candidate(app.reply.id, 1, candidate.id)
    app.done()
    assert app.asked.reply_ids == ()
    assert app.asked.reply_text == "It" + candidate.text


def test_an_edited_reply_is_continued_from_its_text(app: App) -> None:
    app.say("Where?")
    app.chat.edit(app.reply.id, "In Egypt,")
    assert app.shown[-1] == ("assistant", "In Egypt,")
    app.chat.continue_reply(app.reply.id)
    app.done()
    assert (app.asked.reply_ids, app.asked.reply_text) == ((), "In Egypt,")
    assert app.reply.text == "In Egypt,It is the Nile."
    assert app.reply.track.origin == len("In Egypt,")


def test_regenerating_makes_a_branch_and_branches_can_be_walked(app: App) -> None:
    app.say("Which?")
    first = app.reply.id
    app.session.reply_pieces = ("The", " Amazon")
    app.chat.regenerate(first)
    app.done()
    assert app.shown == [("user", "Which?"), ("assistant", "The Amazon")]
    assert (app.reply.branch_index, app.reply.branch_count) == (1, 2)
    assert app.asked.messages == (Message(role="user", content="Which?"),)
    app.chat.step_branch(app.reply.id, -1)
    assert app.shown[-1] == ("assistant", "It is the Nile.")
    app.chat.step_branch(app.reply.id, -1)
    assert app.reply.id == first
    app.qtbot.waitUntil(lambda: len(app.reply.track) == 5)


def test_editing_a_question_branches_and_the_old_branch_comes_back_whole(app: App) -> None:
    app.say("One?")
    app.say("Two?")
    question = app.transcript.messages[0].id
    app.chat.edit(question, "Other?")
    app.done()
    assert app.shown == [("user", "Other?"), ("assistant", "It is the Nile.")]
    assert app.transcript.messages[0].branch_count == 2
    app.chat.step_branch(app.transcript.messages[0].id, -1)
    assert [text for _, text in app.shown] == ["One?", "It is the Nile.", "Two?", "It is the Nile."]


def test_branching_from_a_candidate_keeps_the_tokens_before_it_and_begins_with_it(app: App) -> None:
    app.say("Which?")
    app.session.reply_pieces = (" Volga",)
    app.chat.branch_from_candidate(app.reply.id, 3, 303)
    app.done()
    assert app.asked.reply_ids == (100, 101, 102, 303)
    assert app.reply.text == "It is the rival Volga"
    assert [token.id for token in app.reply.track.tokens] == [100, 101, 102, 303, 104]
    assert app.reply.branch_count == 2
    stored = app.history.reply(app.reply.id).tokens
    assert [(t.index, t.text) for t in stored][3:] == [(3, " rival"), (4, " Volga")]
    assert stored[3].raw_logprob == -1.5


def test_branching_while_the_reply_is_written_stops_it(app: App) -> None:
    app.session.stepwise = True
    app.chat.send("Which?")
    app.session.step(2)
    app.qtbot.waitUntil(lambda: app.reply.text == "It is")
    old = app.reply.id
    app.session.stepwise = False
    app.chat.branch_from_row(old, 1, 1)
    app.done()
    assert app.history.message(old).state == "stopped"
    assert app.history.message(old).text == "It is"
    assert app.reply.text.startswith("It rival")


def test_a_control_moved_in_mid_reply_acts_on_the_next_token_and_is_marked(app: App) -> None:
    app.session.stepwise = True
    app.controls.set_controls(SamplingControls(temperature=0.25))
    app.chat.send("Hot?")
    app.session.step(2)
    app.qtbot.waitUntil(lambda: app.reply.text == "It is")
    app.controls.set_value("temperature", 0.75)
    app.session.step(3)
    app.done()
    assert [token.sampled_prob for token in app.reply.track.tokens] == [0.25, 0.25, 0.75, 0.75, 0.75]
    (mark,) = app.reply.marks
    assert (mark.token_index, mark.text) == (2, "temperature 0.25 → 0.75")
    assert [(m.index, m.changes) for m in app.history.marks(app.reply.id)] == [
        (2, (("temperature", "0.25", "0.75"),))
    ]


def test_in_a_continued_reply_a_change_is_marked_where_it_acts(app: App) -> None:
    app.say("Hot?")
    app.session.stepwise = True
    app.chat.continue_reply(app.reply.id)
    app.session.step(1)
    app.qtbot.waitUntil(lambda: len(app.reply.track) == 6)
    app.controls.set_value("temperature", 0.75)
    app.session.step(4)
    app.done()
    assert [mark.token_index for mark in app.reply.marks] == [6]
    assert [token.index for token in app.history.reply(app.reply.id).tokens] == list(range(10))


def test_another_conversation_can_be_read_while_a_reply_is_written(app: App) -> None:
    app.say("First?")
    other = app.chat.conversation
    app.chat.new_chat()
    app.session.stepwise = True
    app.chat.send("Second?")
    writing = app.chat.conversation
    app.session.step(2)
    app.qtbot.waitUntil(lambda: app.reply.text == "It is")
    assert other is not None
    app.chat.open(other)
    with app.qtbot.waitSignal(app.generation.tokens_came):
        app.session.step(1)
    assert app.shown == [("user", "First?"), ("assistant", "It is the Nile.")]
    assert writing is not None
    app.chat.open(writing)
    assert app.shown[-1] == ("assistant", "It is the")
    app.session.step(2)
    app.done()
    assert app.shown[-1] == ("assistant", "It is the Nile.")
    assert len(app.reply.track) == 5
    assert app.reply.track.text == app.reply.text


def test_each_conversation_has_its_controls_and_a_reply_keeps_those_of_its_own(app: App) -> None:
    app.controls.set_controls(SamplingControls(temperature=0.5))
    app.say("First?")
    first = app.chat.conversation
    app.chat.new_chat()
    app.controls.set_controls(SamplingControls(temperature=0.25))
    app.session.stepwise = True
    app.chat.send("Second?")
    second = app.chat.conversation
    assert first is not None
    assert second is not None
    app.session.step(2)
    app.qtbot.waitUntil(lambda: app.reply.text == "It is")
    app.chat.open(first)
    assert app.controls.controls.temperature == 0.5
    app.session.step(3)
    app.done()
    app.chat.open(second)
    assert app.controls.controls.temperature == 0.25
    stored = app.history.reply(app.reply.id)
    assert [token.sampled_prob for token in stored.tokens] == [0.25] * 5
    assert stored.marks == ()


def test_a_run_that_breaks_off_says_why_under_the_reply_and_in_the_list_of_faults(app: App) -> None:
    def out_of_memory(request: Any, handle: RunHandle) -> Iterator[Event]:
        yield app.session.token(request.run_id, 0, "It", 0.5)
        raise OutOfMemory("The GPU is full.")

    app.session.script[GenerateRequest] = out_of_memory
    app.say("Big?")
    assert (app.reply.state, app.reply.text, app.reply.problem) == ("failed", "It", "The GPU is full.")
    assert [fault.kind for fault in app.faults.faults] == ["out-of-memory"]
    del app.session.script[GenerateRequest]
    app.chat.regenerate(app.reply.id)
    app.done()
    assert app.reply.text == "It is the Nile."
    assert [record.reason for record in app.runs.records] == ["stop", "failed"]


def test_without_a_model_the_text_goes_back(app: App) -> None:
    app.models.set_loaded(None)
    with app.qtbot.waitSignal(app.chat.returned) as returned:
        app.chat.send("Anyone?")
    assert returned.args == ["Anyone?"]
    assert app.shown == []
    assert app.history.conversations() == ()


def test_a_raw_text_is_continued_as_it_is_in_a_conversation_of_its_own(app: App) -> None:
    app.say("Chat?")
    app.chat.send_raw("Once upon a time")
    app.done()
    assert (app.asked.prompt, app.asked.messages) == ("Once upon a time", ())
    assert app.shown == [("user", "Once upon a time"), ("assistant", "It is the Nile.")]
    app.chat.send_raw("Once upon a mattress")
    app.done()
    assert app.shown[0] == ("user", "Once upon a mattress")
    assert app.transcript.messages[0].branch_count == 2
    assert len(app.history.conversations()) == 2
    app.chat.regenerate(app.reply.id)
    app.done()
    assert app.asked.prompt == "Once upon a mattress"


def test_an_interrupted_reply_is_offered_to_be_continued_after_a_start(app: App) -> None:
    conversation = app.history.create("cut")
    ask = app.history.add_message(conversation.id, None, "user", "Long?")
    reply = app.history.add_message(
        conversation.id, ask.id, "assistant", "It is", state="streaming", model="fake"
    )
    tokens = tuple(app.session.token(0, i, piece, 0.5) for i, piece in enumerate(("It", " is")))
    app.history.save_reply(reply.id, "It is", tokens)
    app.listing.load()
    entry = app.conversations.entry(conversation.id)
    assert entry is not None
    assert entry.interrupted
    app.chat.open(conversation.id)
    assert app.reply.state == "interrupted"
    app.session.reply_pieces = (" long.",)
    app.chat.continue_reply(reply.id)
    app.done()
    assert app.asked.reply_ids == (100, 101)
    assert app.reply.text == "It is long."


def test_who_only_looks_at_a_text_that_is_too_long_sees_no_error(app: App) -> None:
    def too_long(request: ScoreRequest, handle: RunHandle) -> Iterator[Event]:
        yield Failed(run_id=request.run_id, kind="context-full", message="Too long.", hint="Cut it.")

    app.say("Which one?")
    app.session.script[ScoreRequest] = too_long
    with app.qtbot.waitSignal(app.tracks.told):
        app.tracks.wanted(app.transcript.messages[0].id)
    assert not app.faults.faults


def test_old_messages_get_their_tokens_from_the_history_and_from_the_model(app: App) -> None:
    app.say("Which one?")
    conversation = app.chat.conversation
    assert conversation is not None
    app.chat.open(conversation)
    assert len(app.reply.track) == 0
    app.qtbot.waitUntil(lambda: len(app.reply.track) == 5)
    assert all(isinstance(token, Token) for token in app.reply.track.tokens)
    assert app.session.of(ScoreRequest) == []
    question = app.transcript.messages[0]
    app.tracks.wanted(question.id)
    app.qtbot.waitUntil(lambda: len(question.track) == 2)
    assert all(isinstance(token, ScoredToken) for token in question.track.tokens)
    assert question.track.text == "Which one?"


def test_the_prompts_tokens_come_with_the_reply_when_they_are_wanted(app: App) -> None:
    app.settings.update(score_prompt=True)
    app.say("Which one is it?")
    texts = [token.text for token in app.transcript.messages[0].track.tokens]
    assert texts == ["Which", " one", " is", " it?"]


def test_the_oldest_turns_are_never_dropped_silently(app: App) -> None:
    def dropping(request: Any, handle: RunHandle) -> Iterator[Event]:
        yield Started(
            run_id=request.run_id,
            prompt_tokens=1000,
            reused_tokens=0,
            context_length=1024,
            seed=1,
            prompt_text="",
            dropped_messages=4,
        )

    app.session.script[GenerateRequest] = dropping
    told: list[str] = []
    fill: list[tuple[int, int]] = []
    app.generation.told.connect(told.append)
    app.generation.context_changed.connect(lambda used, total: fill.append((used, total)))
    app.say("Full?")
    assert "oldest messages (4)" in told[0]
    assert fill[0] == (1000, 1024)


def test_deleting_the_open_conversation_stops_its_reply_and_can_be_undone(app: App) -> None:
    app.session.stepwise = True
    app.chat.send("Gone?")
    conversation = app.chat.conversation
    app.listing.delete(conversation)
    app.done()
    assert app.shown == []
    assert app.conversations.rowCount() == 0
    app.listing.undo_delete(conversation)
    assert app.conversations.entry(conversation) is not None


def test_search_looks_into_messages(app: App) -> None:
    app.say("About zebras?")
    app.listing.rename(app.chat.conversation, "Animals")
    app.listing.load()
    app.conversations.set_filter("zebras")
    assert app.conversations.rowCount() == 0
    app.listing.search("zebras")
    assert app.conversations.row_of(app.chat.conversation) >= 0


def test_an_export_that_cannot_be_written_is_a_fault(app: App, tmp_path: Any) -> None:
    app.say("Export me?")
    assert app.listing.export(app.chat.conversation, "markdown", tmp_path / "chat.md")
    assert "## You\n\nExport me?" in (tmp_path / "chat.md").read_text()
    assert not app.listing.export(app.chat.conversation, "json", tmp_path / "chat.md" / "inside.json")
    assert [fault.kind for fault in app.faults.faults] == ["export-failed"]
