"""The model picker: choosing, the card with its memory bar, loading, downloads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from inference.events import (
    DraftLoaded,
    MemoryEstimate,
    MemoryUse,
    ModelEntry,
    ModelInfo,
    ModelInspected,
    ModelLoaded,
    Progress,
    SingleTokens,
)
from views.model_picker import ModelPicker
from views.models.faults import Fault
from views.models.model_choice import Download, LoadChoice, ModelChoiceModel
from views.panel_parts import Ink, ScrollPage
from views.theme import Theme

BUILTIN = ModelEntry(source="builtin", name="Small", origin="builtin", size=54_000_000)
CACHED = ModelEntry(source="/cache/llama", name="Llama", origin="cache", size=16_000_000_000)
BROKEN = ModelEntry(source="/m/broken", name="Broken", origin="folder", size=1, problem="A shard is missing.")
INFO = ModelInfo(
    source="/cache/llama", name="Llama", architecture="LlamaForCausalLM", parameters=8_030_261_248,
    context_length=8192, vocabulary=128_256, layers=32, hidden_size=4096, kv_bytes_per_token=131_072,
    stored_bytes=16_000_000_000, stored_dtype="bfloat16", licence="llama3.1", has_chat_template=True,
)  # fmt: skip
FITS = MemoryEstimate(
    device="cpu", weights=5_600_000_000, kv_cache=1_100_000_000, overhead=600_000_000, free=11_800_000_000
)


@pytest.fixture
def model() -> ModelChoiceModel:
    model = ModelChoiceModel()
    model.set_entries((BROKEN, CACHED, BUILTIN))
    return model


@pytest.fixture
def picker(qtbot: QtBot, theme: Theme, model: ModelChoiceModel) -> Iterator[ModelPicker]:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(1000, 660)
    picker = ModelPicker(model, theme, window)
    window.show()
    picker.open_sheet()
    yield picker
    window.close()


def inspected(estimate: MemoryEstimate = FITS) -> ModelInspected:
    return ModelInspected(run_id=1, info=INFO, estimate=estimate)


def loaded(info: ModelInfo = INFO) -> ModelLoaded:
    memory = MemoryUse(weights=5_500_000_000)
    return ModelLoaded(
        run_id=1,
        info=info,
        quantization="nf4",
        device="cpu",
        context_length=4096,
        seconds=12.3,
        memory=memory,
    )


def words(picker: ModelPicker) -> str:
    return "\n".join(label.text() for label in picker.card.findChildren(QLabel) if label.isVisible())


def test_models_are_listed_built_in_first(model: ModelChoiceModel) -> None:
    assert [entry.name for entry in model.entries] == ["Small", "Llama", "Broken"]


def test_choosing_asks_for_an_inspection(picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(model.choice_changed) as chosen:
        picker.list.view.setCurrentIndex(model.index(1))
    assert chosen.args == [LoadChoice(model="/cache/llama")]
    assert "Reading the model's description" in words(picker)
    model.set_inspection(inspected())
    for fact in ("LlamaForCausalLM", "8.0 B", "8,192 tokens", "llama3.1", "16.0 GB"):
        qtbot.waitUntil(lambda fact=fact: fact in words(picker))


def test_the_bar_says_whether_it_fits(picker: ModelPicker, model: ModelChoiceModel) -> None:
    model.set_choice(LoadChoice(model="/cache/llama"))
    model.set_inspection(inspected())
    assert picker.card.fit.verdict == "Fits: needs 7.3 GB of 11.8 GB free in memory"
    model.set_inspection(inspected(replace(FITS, free=4_000_000_000, device="cuda:0")))
    assert picker.card.fit.verdict == "Does not fit: needs 7.3 GB of 4.0 GB free on the GPU"
    assert picker.card.load.isEnabled()


def test_the_whole_bar_is_as_long_as_the_larger_of_needed_and_free(
    picker: ModelPicker, model: ModelChoiceModel, theme: Theme
) -> None:
    model.set_choice(LoadChoice(model="/cache/llama"))
    half = replace(FITS, weights=5_000_000_000, kv_cache=0, overhead=0, free=10_000_000_000)
    model.set_inspection(inspected(half))
    bar = picker.card.fit
    image = bar.grab().toImage()
    middle = bar.height() // 2
    assert image.pixelColor(bar.width() // 4, middle) == theme.color("accent")
    assert image.pixelColor(bar.width() * 3 // 4, middle) == theme.color("hover")


def test_other_bits_or_context_ask_again(picker: ModelPicker, model: ModelChoiceModel) -> None:
    model.set_choice(LoadChoice(model="/cache/llama"))
    model.set_inspection(inspected())
    box = picker.findChild(QComboBox, "quantization")
    box.setCurrentIndex(box.findData("nf4"))
    box.activated.emit(box.currentIndex())
    picker.findChild(QSpinBox, "contextLength").setValue(4096)
    assert model.choice == LoadChoice(model="/cache/llama", quantization="nf4", context_length=4096)
    assert picker.card.fit.isVisible()


def test_another_model_keeps_the_bits_but_not_the_context(
    picker: ModelPicker, model: ModelChoiceModel
) -> None:
    model.set_choice(LoadChoice(model="/cache/llama", quantization="nf4", context_length=4096))
    picker.list.view.setCurrentIndex(model.index(0))
    assert model.choice == LoadChoice(model="builtin", quantization="nf4")


def test_a_model_that_cannot_be_used_says_why_and_what_to_do(
    picker: ModelPicker, model: ModelChoiceModel
) -> None:
    model.set_choice(LoadChoice(model="/m/broken"))
    model.set_inspection_fault(
        Fault(kind="model-damaged", message="A shard is missing.", hint="Copy it again.")
    )
    assert "A shard is missing." in words(picker)
    assert "Copy it again." in words(picker)
    assert not picker.card.load.isEnabled()


def test_loading_shows_progress_and_can_be_cancelled(
    picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot
) -> None:
    model.set_choice(LoadChoice(model="/cache/llama"))
    model.set_inspection(inspected())
    with qtbot.waitSignal(picker.load_requested) as asked:
        qtbot.mouseClick(picker.card.load, Qt.MouseButton.LeftButton)
    assert asked.args == [LoadChoice(model="/cache/llama")]
    model.set_loading(Progress(run_id=1, stage="Reading weights", done=4, total=16, unit="bytes"))
    bar = picker.findChild(QProgressBar, "loadProgress")
    assert bar.value() / bar.maximum() == 0.25
    assert not picker.card.load.isVisible()
    with qtbot.waitSignal(picker.cancel_load_requested):
        qtbot.mouseClick(picker.card.cancel, Qt.MouseButton.LeftButton)
    model.set_loading(None)
    assert picker.card.load.isVisible()


def test_enter_in_the_list_loads(picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot) -> None:
    picker.list.view.setCurrentIndex(model.index(1))
    with qtbot.waitSignal(picker.load_requested):
        qtbot.keyClick(picker.list.view, Qt.Key.Key_Return)


def test_a_ready_model_closes_the_picker_and_can_be_unloaded(
    picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot
) -> None:
    assert not picker.card.unload.isEnabled()
    model.set_loaded(loaded())
    assert not picker.isVisible()
    picker.open_sheet()
    assert "5.5 GB measured" in words(picker)
    with qtbot.waitSignal(picker.unload_requested):
        qtbot.mouseClick(picker.card.unload, Qt.MouseButton.LeftButton)
    model.set_loaded(None)
    assert not picker.card.unload.isEnabled()


# --- downloads


@pytest.mark.parametrize(
    ("typed", "repo"),
    [
        ("owner/model", "owner/model"),
        (" https://huggingface.co/owner/model-1.5/tree/main ", "owner/model-1.5"),
        ("nothing", None),
        ("own er/model", None),
        ("../etc", None),
    ],
)
def test_a_hub_id_or_a_link_can_be_downloaded(
    picker: ModelPicker, qtbot: QtBot, typed: str, repo: str | None
) -> None:
    seen: list[str] = []
    picker.download_requested.connect(seen.append)
    field = picker.findChild(QLineEdit, "hubId")
    field.setText(typed)
    assert picker.findChild(QPushButton, "downloadButton").isEnabled() == (repo is not None)
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert seen == ([repo] if repo else [])


def test_a_download_is_paused_resumed_and_cancelled(
    picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot
) -> None:
    model.set_download(Download(repo="owner/model", done=300_000_000, total=1_000_000_000))
    row = picker.findChild(QWidget, "download-owner/model")
    assert "300 MB of 1.0 GB" in [label.text() for label in row.findChildren(QLabel)]
    pause, resume, cancel = (
        row.findChild(QToolButton, name) for name in ("pauseDownload", "resumeDownload", "cancelDownload")
    )
    with qtbot.waitSignal(picker.pause_requested) as asked:
        qtbot.mouseClick(pause, Qt.MouseButton.LeftButton)
    assert asked.args == ["owner/model"]
    model.set_download(Download(repo="owner/model", state="paused", done=300_000_000, total=1_000_000_000))
    assert not pause.isVisible()
    with qtbot.waitSignal(picker.download_requested) as asked:
        qtbot.mouseClick(resume, Qt.MouseButton.LeftButton)
    assert asked.args == ["owner/model"]
    with qtbot.waitSignal(picker.cancel_download_requested) as asked:
        qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    assert asked.args == ["owner/model"]
    model.remove_download("owner/model")
    assert row not in picker.list._rows.values()


def test_a_failed_download_says_why(picker: ModelPicker, model: ModelChoiceModel) -> None:
    model.set_download(Download(repo="o/m", state="failed", message="Ask for access on its page."))
    row = picker.findChild(QWidget, "download-o/m")
    assert "Ask for access on its page." in [label.text() for label in row.findChildren(QLabel)]


# --- the sheet


def test_escape_closes_and_gives_the_keyboard_back(qtbot: QtBot, theme: Theme) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 600)
    field = QLineEdit(window)
    picker = ModelPicker(ModelChoiceModel(), theme, window)
    window.show()
    window.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    picker.open_sheet()
    qtbot.keyClick(picker.list.view, Qt.Key.Key_Escape)
    assert not picker.isVisible()
    assert field.hasFocus()


def test_a_click_elsewhere_closes_and_one_inside_does_not(picker: ModelPicker, qtbot: QtBot) -> None:
    qtbot.mouseClick(picker, Qt.MouseButton.LeftButton)
    assert picker.isVisible()
    qtbot.mouseClick(picker.parentWidget(), Qt.MouseButton.LeftButton, pos=QPoint(2, 2))
    assert not picker.isVisible()


def test_opening_looks_for_models_again(picker: ModelPicker, qtbot: QtBot) -> None:
    picker.close_sheet()
    with qtbot.waitSignal(picker.refresh_requested):
        picker.open_sheet()


def test_the_sheet_stays_inside_a_small_window(picker: ModelPicker) -> None:
    window = picker.parentWidget()
    window.resize(700, 500)
    assert window.rect().contains(picker.geometry())


def test_a_draft_model_is_chosen_beside_the_loaded_one(
    picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot
) -> None:
    box = picker.card.draft.box
    assert not picker.card.draft.isVisibleTo(picker)
    model.set_loaded(loaded())
    picker.open_sheet()
    assert [box.itemText(row) for row in range(box.count())] == ["No draft model", "Small"]
    with qtbot.waitSignal(picker.draft_requested) as asked:
        box.activated.emit(box.findText("Small"))
    assert asked.args == [""]
    box.setCurrentText("Small")
    with qtbot.waitSignal(picker.draft_requested) as asked:
        box.activated.emit(box.currentIndex())
    assert asked.args == ["builtin"]


def test_what_became_of_the_draft_model_is_said_beside_it(
    picker: ModelPicker, model: ModelChoiceModel
) -> None:
    model.set_loaded(loaded())
    model.draft.set_loaded(
        DraftLoaded(run_id=2, model="builtin", name="Small", memory=MemoryUse(weights=54_000_000))
    )
    assert "Small guesses ahead; its weights take 54.0 MB." in words_of_inks(picker)
    assert picker.card.draft.box.currentText() == "Small"
    model.draft.set_fault(
        Fault(kind="invalid", message="Small and Llama have different vocabularies.", hint="Choose another.")
    )
    assert "Small and Llama have different vocabularies. Choose another." in words_of_inks(picker)
    assert picker.card.draft.box.currentText() == "No draft model"


def test_the_card_says_why_replies_are_not_decoded_the_fast_way(
    picker: ModelPicker, model: ModelChoiceModel
) -> None:
    model.set_loaded(loaded())
    assert "step by step" not in words_of_inks(picker)
    model.set_path_reason("the model slides its window.")
    assert "not captured: the model slides its window." in words_of_inks(picker)


def test_the_card_says_how_single_tokens_are_read(picker: ModelPicker, model: ModelChoiceModel) -> None:
    model.set_loaded(replace(loaded(), single_tokens=SingleTokens(by="recorded")))
    assert "Single tokens: recorded from the model's own code." in words_of_inks(picker)
    assert model.set_single_tokens(SingleTokens(by="recorded")) == ""
    slower = SingleTokens(by="transformers", reason="no memory for it")
    assert model.set_single_tokens(slower) == "no memory for it"
    assert "Single tokens: transformers' own steps, because: no memory for it." in words_of_inks(picker)
    assert model.set_single_tokens(slower) == ""  # told once


def words_of_inks(picker: ModelPicker) -> str:
    return "\n".join(ink.text() for ink in picker.card.findChildren(Ink))


def test_the_card_stays_as_narrow_as_a_small_window_needs_whatever_its_words(
    picker: ModelPicker, model: ModelChoiceModel, qtbot: QtBot
) -> None:
    picker.list.view.setCurrentIndex(model.index(1))
    licensed = replace(INFO, licence="cc-by-sa-4.0 and many others " * 3)
    model.set_inspection(replace(inspected(), info=licensed))
    qtbot.waitUntil(lambda: "cc-by-sa" in words(picker))
    page = picker.card.findChild(ScrollPage)
    assert page is not None
    assert page.widget().minimumSizeHint().width() <= 400


def test_facts_that_were_shown_before_do_not_stay_behind_the_new_ones(
    picker: ModelPicker, model: ModelChoiceModel
) -> None:
    model.set_choice(LoadChoice(model="/cache/llama"))
    for _ in range(2):  # as inside of a menu or a drag: what is to be deleted waits for the outer loop
        model.set_inspection(inspected())
        QCoreApplication.sendPostedEvents(None, QEvent.Type.MetaCall.value)
    assert words(picker).count("LlamaForCausalLM") == 1
