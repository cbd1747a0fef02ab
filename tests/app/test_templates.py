"""The chat template's sheet in the whole window, with a scripted session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QWidget

from app.bootstrap import App, Options
from app.profile import Profile
from inference.errors import TemplateError
from inference.events import ChatTemplate, ChatTemplateRequest, Event
from inference.running import RunHandle

OWN = "{{ messages }}"


class Templates:
    """Answers as the engine does."""

    def __init__(self) -> None:
        self.acting = OWN
        self.thinking: bool | None = None

    def __call__(self, request: ChatTemplateRequest, handle: RunHandle) -> Iterator[Event]:
        if request.template == "broken":
            raise TemplateError("The model's chat template refuses these messages: no.")
        if request.template is not None:
            self.acting = request.template or OWN
        if request.thinking is not None:
            self.thinking = request.thinking
        yield ChatTemplate(
            run_id=request.run_id,
            thinking=self.thinking,
            template=self.acting,
            edited=self.acting != OWN,
            problem="",
            notes=("It knows no system role.",),
            sample=f"<{self.acting}>",
        )


@pytest.fixture
def start(fake_session: Any, qapp: QApplication, qtbot: Any, tmp_path: Path) -> Iterator[Callable[[], App]]:
    """``start()``: the window on one profile, as often as wanted; each time with a new engine."""
    apps: list[App] = []

    def make() -> App:
        fake_session.script[ChatTemplateRequest] = Templates()
        profile = Profile.under(tmp_path / "p")
        app = App(
            qapp,
            Options(profile=profile, make_engine=lambda: fake_session, make_librarian=lambda: fake_session),
        )
        apps.append(app)
        app.show()
        qtbot.waitUntil(lambda: app.models.template.shown is not None)
        return app

    yield make
    for app in apps:
        app.widgets.window.close()
        app.theme.deleteLater()
        app.widgets.window.deleteLater()


def child(app: App, name: str) -> Any:
    found = app.widgets.window.findChild(QWidget, name)
    assert found is not None, name
    return found


def use(app: App, qtbot: Any, template: str) -> None:
    child(app, "chatTemplateEditor").setPlainText(template)
    with qtbot.waitSignal(app.models.template.changed):
        child(app, "useChatTemplate").click()


def test_it_is_shown_with_a_sample_and_what_is_unusual(start: Any) -> None:
    app = start()
    app.widgets.window.action("showTemplate").trigger()
    assert child(app, "chatTemplateView").isVisible()
    assert child(app, "chatTemplateEditor").toPlainText() == OWN
    assert child(app, "chatTemplateSample").toPlainText() == f"<{OWN}>"
    assert child(app, "chatTemplateWords").text() == "It knows no system role."
    assert not child(app, "useChatTemplate").isEnabled()
    assert not child(app, "restoreChatTemplate").isEnabled()


def test_an_edited_one_acts_and_is_kept_for_the_model(start: Any, fake_session: Any, qtbot: Any) -> None:
    app = start()
    use(app, qtbot, "mine")
    assert child(app, "chatTemplateSample").toPlainText() == "<mine>"
    assert app.remembering.template_of("builtin") == "mine"
    app.widgets.window.close()
    again = start()
    assert again.models.template.shown.template == "mine"
    assert fake_session.of(ChatTemplateRequest)[-1].template == "mine"
    with qtbot.waitSignal(again.models.template.changed):
        child(again, "restoreChatTemplate").click()
    assert again.models.template.shown.template == OWN
    assert again.remembering.template_of("builtin") == ""


def test_one_that_is_refused_stays_in_the_editor_to_be_mended(start: Any, qtbot: Any) -> None:
    app = start()
    use(app, qtbot, "broken")
    assert child(app, "chatTemplateEditor").toPlainText() == "broken"
    assert child(app, "chatTemplateWords").text().startswith("Not used: ")
    assert app.models.template.shown.template == OWN
    assert app.remembering.template_of("builtin") == ""


def test_thinking_can_be_switched_where_the_template_has_a_switch(
    start: Any, fake_session: Any, qtbot: Any
) -> None:
    app = start()
    assert not child(app, "thinkFirst").isVisible()
    fake_session.script[ChatTemplateRequest].thinking = True
    use(app, qtbot, "{% if enable_thinking %}")
    assert child(app, "thinkFirst").isVisible()
    assert child(app, "thinkFirst").isChecked()
    with qtbot.waitSignal(app.models.template.changed):
        child(app, "thinkFirst").click()
    assert fake_session.of(ChatTemplateRequest)[-1].thinking is False
    assert not child(app, "thinkFirst").isChecked()
