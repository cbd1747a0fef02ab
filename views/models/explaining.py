"""What is asked of the Why tab and what came of it; the linked views of a result share one selection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal

from inference.events import (
    Candidate,
    Event,
    Explanation,
    ExplanationCost,
    ExplanationPart,
    ExplanationStarted,
    Granularity,
    MethodsCompared,
    MethodSpec,
    MethodStatus,
    ParameterSpec,
    Postprocessing,
    Setting,
)
from views.models.explanation_scores import ExplanationScores
from views.models.focus import MessageId

#: "empty": nothing was explained yet; "waiting": asked for, not begun.
ExplainState = Literal["empty", "waiting", "working", "result", "failed"]

#: What methods that turn attention down share (``MethodSpec.uses_factor``).
SUPPRESSION: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        name="factor",
        title="Turned down to",
        kind="float",
        default=0.1,
        minimum=0.0,
        maximum=1.0,
        help="The factor on the attention to a segment: 0 takes it away, 1 leaves it as it is.",
    ),
    ParameterSpec(
        name="mode",
        title="Factor acts on",
        kind="choice",
        default="log-additive",
        choices=("log-additive", "multiplicative"),
        help="Log-additive scales the attention weight itself, multiplicative its score before the softmax.",
    ),
    ParameterSpec(
        name="related",
        title="Related words, too",
        kind="bool",
        default=False,
        help="Also turns down tokens whose embedding is close to the segment's.",
    ),
    ParameterSpec(
        name="similarity_threshold",
        title="Related from cosine",
        kind="float",
        default=0.6,
        minimum=0.0,
        maximum=1.0,
        help="How close an embedding must be to count as related.",
    ),
)
SHARED_NAMES = frozenset(spec.name for spec in SUPPRESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTarget:
    """What is to be explained: characters of a reply, or a text that the user typed (``message_id`` None).

    ``contrast`` is the token that did not come: then the target is one token.
    """

    text: str
    message_id: MessageId | None = None
    start: int = 0
    end: int = 0
    contrast: Candidate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """How it is explained; ``settings`` holds, by method, what differs from the specs' defaults.

    ``layers`` are those that attention is turned down in (None: all).
    """

    method: str = "atman"
    granularity: Granularity = "auto"
    per_token: bool = True
    include_special: bool = False
    layers: tuple[int, int] | None = None
    settings: tuple[tuple[str, str, Setting], ...] = ()

    def setting(self, method: str, spec: ParameterSpec) -> Setting:
        """The value of a method's parameter."""
        owner = "" if spec.name in SHARED_NAMES else method
        return next(
            (value for name, key, value in self.settings if (name, key) == (owner, spec.name)), spec.default
        )


def parameters_of(spec: MethodSpec) -> tuple[ParameterSpec, ...]:
    """Everything that can be set for a method."""
    return (SUPPRESSION if spec.uses_factor else ()) + spec.parameters


class ExplanationModel(QObject):
    """Target, options, cost, progress and results; written by a controller, read by views.

    ``segment`` and ``row`` are what is pointed at in any of the result's views: a hovered segment goes
    before one that was clicked.
    """

    methods_changed = Signal()
    target_changed = Signal()
    options_changed = Signal()
    cost_changed = Signal()
    state_changed = Signal()
    #: Another result is shown, or all of it changed.
    result_changed = Signal()
    #: Scores of the shown result came.
    scores_changed = Signal()
    #: Another segment or row is pointed at.
    pointed_changed = Signal()
    compared_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.methods: tuple[MethodStatus, ...] = ()
        self.target: ExplainTarget | None = None
        self.options = ExplainOptions()
        self.layer_count = 0
        self.cost: ExplanationCost | None = None
        self.cost_problem = ""
        self.state: ExplainState = "empty"
        self.problem, self.hint = "", ""
        self.results: dict[str, ExplanationScores] = {}
        self.compared: MethodsCompared | None = None
        self.post: Postprocessing = "none"
        self._shown = ""
        self._steered = False
        self._running_target = ExplainTarget(text="")
        self._clicked: int | None = None
        self._hovered: int | None = None
        self._row: int | None = None
        self._hovered_row: int | None = None

    # --- what is asked

    def spec(self, name: str) -> MethodSpec | None:
        """The method of this name, if it is known."""
        return next((status.spec for status in self.methods if status.spec.name == name), None)

    @property
    def method_problem(self) -> str:
        """Why the chosen method cannot be used with the loaded model; empty if it can."""
        return next((s.problem for s in self.methods if s.spec.name == self.options.method), "")

    @property
    def busy(self) -> bool:
        """Whether an explanation is asked for and has not ended."""
        return self.state in ("waiting", "working")

    def set_methods(self, methods: tuple[MethodStatus, ...], *, layers: int = 0) -> None:
        """Which methods there are, and how many layers the model has; nothing without a model."""
        self.methods, self.layer_count = methods, layers
        chosen = self.options.layers
        if layers and chosen is not None and chosen[1] >= layers:
            self.update(layers=None)
        self.methods_changed.emit()

    def set_target(self, target: ExplainTarget | None) -> None:
        """Choose what is to be explained; the results stay those of their own target."""
        if target != self.target:
            self.target = target
            self.set_cost(None)
            self.target_changed.emit()

    def update(self, **changes: Any) -> None:
        """Change options."""
        options = replace(self.options, **changes)
        if options != self.options:
            self.options = options
            self.set_cost(None)
            self.options_changed.emit()

    def set_setting(self, method: str, name: str, value: Setting) -> None:
        """Set a parameter of a method; shared ones are set for all."""
        owner = "" if name in SHARED_NAMES else method
        kept = tuple(entry for entry in self.options.settings if entry[:2] != (owner, name))
        self.update(settings=(*kept, (owner, name, value)))

    def set_cost(self, cost: ExplanationCost | None, problem: str = "") -> None:
        """Say what the explanation would take, or why that cannot be told."""
        self.cost, self.cost_problem = cost, problem
        self.cost_changed.emit()

    def set_post(self, post: Postprocessing) -> None:
        """Show scores as they are, without their sign, or squared."""
        if post != self.post:
            self.post = post
            self.result_changed.emit()

    # --- what came of it

    @property
    def result(self) -> ExplanationScores | None:
        """The result that is shown."""
        return self.results.get(self._shown)

    @property
    def shown(self) -> str:
        """Name of the method whose result is shown."""
        return self._shown

    def begin(self, *, steered: bool = False) -> None:
        """An explanation of the current target was asked for; older results stay until it begins."""
        self._steered = steered
        assert self.target is not None
        self._running_target = self.target
        self._set_state("waiting")

    def take(self, event: Event) -> None:
        """Take what a run says."""
        if isinstance(event, ExplanationStarted):
            self._take_started(event)
        elif isinstance(event, ExplanationPart) and event.method in self.results:
            self.results[event.method].take_part(event)
            self._tell_scores(event.method)
        elif isinstance(event, Explanation) and event.method in self.results:
            self.results[event.method].take_final(event)
            self._tell_scores(event.method)
        elif isinstance(event, MethodsCompared):
            self.compared = event
            self.show_method(self.options.method)
            self.compared_changed.emit()

    def end(self) -> None:
        """The run has ended, or was stopped: what was computed stays."""
        for result in self.results.values():
            result.broken = result.broken or not result.complete
        self._set_state("result" if self.results else "empty")

    def fail(self, problem: str, hint: str) -> None:
        """The run broke off."""
        self.problem, self.hint = problem, hint
        for result in self.results.values():
            result.broken = result.broken or not result.complete
        self._set_state("failed")

    def clear(self) -> None:
        """Forget all results (another conversation, another model)."""
        self.results, self.compared, self._shown = {}, None, ""
        self._forget_pointed()
        self._set_state("empty")
        self.result_changed.emit()
        self.compared_changed.emit()

    def show_method(self, name: str) -> None:
        """Show the result of another method."""
        if name in self.results and name != self._shown:
            self._shown = name
            self.result_changed.emit()

    def _take_started(self, event: ExplanationStarted) -> None:
        spec = self.spec(event.method)
        if spec is None:
            return
        if self.state == "waiting":
            self.results, self.compared = {}, None
            self.compared_changed.emit()
        contrast = self._running_target.contrast
        self.results[event.method] = ExplanationScores(
            event,
            spec,
            self._running_target.text,
            contrast.text if contrast is not None else "",
            steered=self._steered,
        )
        self._shown = event.method
        # Views lay the new result out before anything else is told, which may make them paint.
        self._point_nowhere()
        self.result_changed.emit()
        self.pointed_changed.emit()
        self._set_state("working")

    def _tell_scores(self, method: str) -> None:
        if method == self._shown:
            self.scores_changed.emit()

    def _set_state(self, state: ExplainState) -> None:
        if state != "failed":
            self.problem = self.hint = ""
        self.state = state
        self.state_changed.emit()

    # --- what is pointed at

    @property
    def segment(self) -> int | None:
        """The segment that is pointed at."""
        return self._hovered if self._hovered is not None else self._clicked

    @property
    def chosen_segment(self) -> int | None:
        """The segment that was clicked."""
        return self._clicked

    @property
    def row(self) -> int | None:
        """The row that text and ranking show; None: the whole target."""
        result = self.result
        return self._row if result is not None and len(result.rows) > 1 else None

    @property
    def pointed_row(self) -> int | None:
        """The row under the pointer, else the chosen one."""
        return self._hovered_row if self._hovered_row is not None else self.row

    def hover(self, segment: int | None, row: int | None = None) -> None:
        """The pointer is on a segment (and a row)."""
        if (segment, row) != (self._hovered, self._hovered_row):
            self._hovered, self._hovered_row = segment, row
            self.pointed_changed.emit()

    def choose(self, segment: int | None) -> None:
        """A segment was clicked."""
        if segment != self._clicked:
            self._clicked = segment
            self.pointed_changed.emit()

    def choose_row(self, row: int | None) -> None:
        """Text and ranking show this row only; None: the whole target."""
        if row != self._row:
            self._row = row
            self.scores_changed.emit()
            self.pointed_changed.emit()

    def _forget_pointed(self) -> None:
        self._point_nowhere()
        self.pointed_changed.emit()

    def _point_nowhere(self) -> None:
        self._clicked = self._hovered = self._row = self._hovered_row = None
