"""The sampling controls that act now, their presets, and what each control means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from PySide6.QtCore import QObject, Signal

from inference.events import SamplingControls


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSpec:
    """How one numeric control is shown.

    Attributes:
        name: Field of :class:`SamplingControls`.
        object_name: Name of the widget that holds the value.
        minimum: Smallest value that can be typed.
        maximum: Largest value that can be typed.
        slider_maximum: Right end of the slider; typing goes beyond it.
        step: One press of an arrow key.
        decimals: Digits after the point; 0 makes it an integer.
        neutral: The value at which the control changes nothing.
        unit: Shown after the number; empty for pure numbers.
        explanation: One plain sentence.
    """

    name: str
    object_name: str
    label: str
    minimum: float
    maximum: float
    slider_maximum: float
    step: float
    decimals: int
    neutral: float
    explanation: str
    unit: str = ""


CONTROL_SPECS: Final[tuple[ControlSpec, ...]] = (
    ControlSpec(
        name="temperature",
        object_name="temperature",
        label="Temperature",
        minimum=0.0,
        maximum=5.0,
        slider_maximum=2.0,
        step=0.05,
        decimals=2,
        neutral=1.0,
        explanation="Below 1 the likely tokens get likelier, above 1 the unlikely ones do; "
        "0 always takes the most likely.",
    ),
    ControlSpec(
        name="top_k",
        object_name="topK",
        label="Top-k",
        minimum=0,
        maximum=100_000,
        slider_maximum=100,
        step=1,
        decimals=0,
        neutral=0,
        explanation="Keeps only this many of the most likely tokens; 0 keeps all.",
    ),
    ControlSpec(
        name="top_p",
        object_name="topP",
        label="Top-p",
        minimum=0.01,
        maximum=1.0,
        slider_maximum=1.0,
        step=0.01,
        decimals=2,
        neutral=1.0,
        explanation="Keeps the smallest set of tokens whose probabilities add up to this much; 1 keeps all.",
    ),
    ControlSpec(
        name="min_p",
        object_name="minP",
        label="Min-p",
        minimum=0.0,
        maximum=1.0,
        slider_maximum=0.5,
        step=0.01,
        decimals=2,
        neutral=0.0,
        explanation="Drops tokens that are less than this share as likely as the most likely one; "
        "0 keeps all.",
    ),
    ControlSpec(
        name="repetition_penalty",
        object_name="repetitionPenalty",
        label="Repetition penalty",
        minimum=0.5,
        maximum=3.0,
        slider_maximum=2.0,
        step=0.01,
        decimals=2,
        neutral=1.0,
        explanation="Above 1, every token that is already in the text becomes less likely.",
    ),
    ControlSpec(
        name="frequency_penalty",
        object_name="frequencyPenalty",
        label="Frequency penalty",
        minimum=-2.0,
        maximum=2.0,
        slider_maximum=2.0,
        step=0.05,
        decimals=2,
        neutral=0.0,
        explanation="Above 0, a token becomes less likely each time it is repeated.",
    ),
    ControlSpec(
        name="presence_penalty",
        object_name="presencePenalty",
        label="Presence penalty",
        minimum=-2.0,
        maximum=2.0,
        slider_maximum=2.0,
        step=0.05,
        decimals=2,
        neutral=0.0,
        explanation="Above 0, tokens that already occurred become less likely, however often they did.",
    ),
    ControlSpec(
        name="max_new_tokens",
        object_name="maxNewTokens",
        label="Longest reply",
        minimum=1,
        maximum=131_072,
        slider_maximum=4096,
        step=64,
        decimals=0,
        neutral=512,
        unit="tokens",
        explanation="The reply ends after this many tokens.",
    ),
)

SPEC_BY_NAME: Final[dict[str, ControlSpec]] = {spec.name: spec for spec in CONTROL_SPECS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Named controls; ``builtin`` ones cannot be deleted."""

    name: str
    controls: SamplingControls
    explanation: str = ""
    builtin: bool = False


BUILTIN_PRESETS: Final[tuple[Preset, ...]] = (
    Preset(
        name="Balanced",
        controls=SamplingControls(),
        explanation="A little below the model's own temperature, without the unlikely tail.",
        builtin=True,
    ),
    Preset(
        name="Small model",
        controls=SamplingControls(frequency_penalty=0.3),
        explanation="Balanced, and against the loops that small models such as the built-in one fall into.",
        builtin=True,
    ),
    Preset(
        name="Precise",
        controls=SamplingControls(temperature=0.2, top_p=0.9),
        explanation="Close to the most likely text; for facts and code.",
        builtin=True,
    ),
    Preset(
        name="Creative",
        controls=SamplingControls(temperature=1.1, top_p=1.0, min_p=0.05),
        explanation="Wider choice; min-p keeps nonsense out.",
        builtin=True,
    ),
    Preset(
        name="Greedy",
        controls=SamplingControls(temperature=0.0, top_p=1.0),
        explanation="Always the most likely token: the same text every time.",
        builtin=True,
    ),
    Preset(
        name="The model's own",
        controls=SamplingControls(temperature=1.0, top_p=1.0),
        explanation="Every control neutral: draws from the distribution that the model gives.",
        builtin=True,
    ),
)


#: Below this many parameters a model repeats itself soon.
SMALL_MODEL: Final = 200_000_000

PRESET_FIELDS: Final[tuple[str, ...]] = (*SPEC_BY_NAME, "stop", "logit_bias")


def _with_preset_fields(base: SamplingControls, source: SamplingControls) -> SamplingControls:
    """``base`` with the fields that a preset holds taken from ``source``."""
    changes: dict[str, Any] = {name: getattr(source, name) for name in PRESET_FIELDS}
    return replace(base, **changes)


class ControlsModel(QObject):
    """Holds one immutable :class:`SamplingControls`; every change replaces it and is announced at once.

    Signals:
        changed: The new :class:`SamplingControls`; fires on every move of a slider, so that a run can take
            it up at its next token.
        last_seed_changed: The seed (int) that the last run used, or None.
        presets_changed: The user's own presets, a tuple of :class:`Preset`, to be stored.
    """

    changed = Signal(object)
    last_seed_changed = Signal(object)
    presets_changed = Signal(object)
    #: Whether what acts was chosen by hand (bool).
    chosen_changed = Signal(bool)

    def __init__(
        self,
        controls: SamplingControls | None = None,
        *,
        presets: tuple[Preset, ...] = (),
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._controls = controls if controls is not None else SamplingControls()
        self._user_presets = tuple(preset for preset in presets if not preset.builtin)
        self._last_seed: int | None = None
        self._token_texts: dict[int, str] = {}
        self._chosen = False

    @property
    def controls(self) -> SamplingControls:
        """The controls that act now."""
        return self._controls

    def set_controls(self, controls: SamplingControls) -> None:
        """Replace all controls; nothing is announced when they are equal."""
        if controls != self._controls:
            self._controls = controls
            self.changed.emit(controls)

    def set_value(self, name: str, value: float) -> None:
        """Set one numeric control, held to its range.

        Args:
            name: Field of :class:`SamplingControls` that has a :class:`ControlSpec`.
            value: The new value; rounded for integers.
        """
        spec = SPEC_BY_NAME[name]
        bounded = min(max(value, spec.minimum), spec.maximum)
        exact: float = round(bounded, spec.decimals) if spec.decimals else round(bounded)
        changes: dict[str, Any] = {name: exact}
        if changes[name] != getattr(self._controls, name):
            self.set_chosen(True)
        self.set_controls(replace(self._controls, **changes))

    def value(self, name: str) -> float:
        """The value of one numeric control."""
        return float(getattr(self._controls, name))

    def reset(self, name: str) -> None:
        """Set one numeric control to its neutral value."""
        self.set_value(name, SPEC_BY_NAME[name].neutral)

    def deviates(self, name: str) -> bool:
        """Whether a numeric control changes anything."""
        return self.value(name) != SPEC_BY_NAME[name].neutral

    # --- seed -------------------------------------------------------------------------------------

    def set_seed(self, seed: int | None) -> None:
        """Fix the seed; None draws a fresh one for each run."""
        self.set_controls(replace(self._controls, seed=seed))

    @property
    def last_seed(self) -> int | None:
        """The seed of the last run, as :class:`~inference.events.Started` reported it."""
        return self._last_seed

    def set_last_seed(self, seed: int | None) -> None:
        """Tell which seed a run uses."""
        if seed != self._last_seed:
            self._last_seed = seed
            self.last_seed_changed.emit(seed)

    # --- lists ------------------------------------------------------------------------------------

    def set_stop(self, stop: tuple[str, ...]) -> None:
        """Set the stop strings; empty ones and repetitions are left out."""
        self.set_controls(replace(self._controls, stop=tuple(dict.fromkeys(s for s in stop if s))))

    def set_bias(self, token_id: int, bias: float, text: str = "") -> None:
        """Add ``bias`` (in logits) to one token; 0 removes the entry. ``text`` is only for showing."""
        entries = dict(self._controls.logit_bias)
        if bias:
            entries[token_id] = bias
        else:
            entries.pop(token_id, None)
        if text:
            self._token_texts[token_id] = text
        self.set_controls(replace(self._controls, logit_bias=tuple(entries.items())))

    def token_text(self, token_id: int) -> str:
        """The text of a token that has, or had, a bias; empty where unknown."""
        return self._token_texts.get(token_id, "")

    # --- presets ----------------------------------------------------------------------------------

    @property
    def presets(self) -> tuple[Preset, ...]:
        """The built-in presets, then the user's own."""
        return BUILTIN_PRESETS + self._user_presets

    def apply_preset(self, name: str) -> None:
        """Take over a preset's controls; the seed and what steers the attention stay as they are."""
        self.set_chosen(True)
        self._take_preset(name)

    @property
    def chosen(self) -> bool:
        """Whether the user set a preset or a value by hand, now or in an earlier session."""
        return self._chosen

    def set_chosen(self, chosen: bool) -> None:
        """Tell whether what acts was chosen by hand."""
        if chosen != self._chosen:
            self._chosen = chosen
            self.chosen_changed.emit(chosen)

    def suit_model(self, parameters: int) -> None:
        """Start from what suits a model of this size, unless the user has chosen anything by hand."""
        suited, other = (
            ("Small model", "Balanced") if parameters < SMALL_MODEL else ("Balanced", "Small model")
        )
        if self.current_preset() == other and not self._chosen:
            self._take_preset(suited)

    def _take_preset(self, name: str) -> None:
        preset = next(p for p in self.presets if p.name == name)
        self.set_controls(_with_preset_fields(self._controls, preset.controls))

    def current_preset(self) -> str:
        """Name of the preset that equals the current controls; empty when there is none."""
        here = self._controls
        return next((p.name for p in self.presets if _with_preset_fields(here, p.controls) == here), "")

    def save_preset(self, name: str) -> bool:
        """Keep the current controls under ``name``, replacing the user's own preset of that name.

        Returns:
            False when the name is empty or belongs to a built-in preset.
        """
        name = name.strip()
        if not name or any(preset.name == name for preset in BUILTIN_PRESETS):
            return False
        saved = Preset(name=name, controls=_with_preset_fields(SamplingControls(), self._controls))
        self._set_user_presets((*(p for p in self._user_presets if p.name != name), saved))
        return True

    def delete_preset(self, name: str) -> None:
        """Forget one of the user's own presets."""
        self._set_user_presets(tuple(p for p in self._user_presets if p.name != name))

    def _set_user_presets(self, presets: tuple[Preset, ...]) -> None:
        if presets != self._user_presets:
            self._user_presets = presets
            self.presets_changed.emit(presets)
