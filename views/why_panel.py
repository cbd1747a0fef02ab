"""The Why tab: what is to be explained above, what came of it below."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from views.explain_form import ExplainForm
from views.explanation_view import ExplanationView
from views.models.explaining import ExplanationModel
from views.panel_parts import EmptyPage, Ink, ScrollPage
from views.theme import GRID, Theme


class WhyPanel(ScrollPage):
    """Explains a part of a reply.

    Args:
        model: Target, options and results.
        theme: Colours and fonts.

    Signals:
        example_requested: The user wants to see the panel on an example.
        shown: The panel came to the front.
    """

    example_requested = Signal()
    shown = Signal()

    def __init__(self, model: ExplanationModel, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("importancePanel")
        self._model, self._theme = model, theme
        self.form = ExplainForm(model, theme)
        self.view = ExplanationView(model, theme)
        self.empty = EmptyPage(
            "Which words of the prompt carried the answer?",
            "Select a part of a reply and press Ctrl+E. Each part of the prompt is turned down in turn: "
            "where the text becomes less likely, that part supported it (teal); where it becomes likelier, "
            "it spoke against it (orange).",
            "Show an example",
            "whyExample",
            theme,
        )
        self.empty.clicked.connect(self.example_requested)
        self.empty.layout().setContentsMargins(0, 2 * GRID, 0, 2 * GRID)  # type: ignore[union-attr]
        self._failed = QWidget()
        self._what, self._hint = Ink("", theme, tone="danger", wrap=True), Ink("", theme, wrap=True)
        self._what.setObjectName("explainProblem")
        problem = QVBoxLayout(self._failed)
        problem.setContentsMargins(0, 0, 0, 0)
        problem.addWidget(self._what)
        problem.addWidget(self._hint)
        self.column.addWidget(self.form)
        self.column.addWidget(self._failed)
        self.column.addWidget(self.empty)
        self.column.addSpacing(2 * GRID)
        self.column.addWidget(self.view)
        self.column.addStretch(1)
        model.state_changed.connect(self._show)
        model.result_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        failed, result = self._model.state == "failed", self._model.result
        self._what.setText(self._model.problem)
        self._hint.setText(self._model.hint)
        self._failed.setVisible(failed)
        self.view.setVisible(result is not None)
        self.empty.setVisible(result is None and not failed and not self._model.busy)
