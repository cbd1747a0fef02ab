"""The panels of the inspector, and the comparison of two prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect this corner."""
    _connect_panels(app)
    _connect_why(app)
    _connect_steering(app)
    _connect_lens(app)
    _connect_two_prompts(app)


def _connect_panels(app: App) -> None:
    token, sampling, monitor = app.widgets.token, app.widgets.sampling, app.widgets.monitor
    token.branch_requested.connect(app.chat.branch_from_candidate)
    token.tokens_requested.connect(app.tracks.wanted)
    token.bias_requested.connect(app.shell.set_bias)
    token.example_requested.connect(app.examples.show_token)
    sampling.example_requested.connect(app.examples.show_reply)
    sampling.bias.finder.wanted.connect(app.vocabulary.look_up)
    app.vocabulary.found.connect(sampling.bias.finder.show_matches)
    monitor.example_requested.connect(app.examples.show_reply)
    monitor.export_requested.connect(app.shell.export_runs)
    app.models.focus.focus_changed.connect(app.shell.show_token_panel)
    app.generation.busy_changed.connect(app.shell.show_sampling_panel)


def _connect_why(app: App) -> None:
    why, explaining, intents = app.widgets.why, app.explaining, app.widgets.intents
    why.form.explain_requested.connect(explaining.explain)
    why.form.compare_requested.connect(explaining.compare)
    why.form.cancel_requested.connect(explaining.cancel)
    why.example_requested.connect(explaining.show_example)
    why.view.export_requested.connect(app.shell.export_explanation)
    intents.text_selected.connect(explaining.take_selection)
    intents.explain_requested.connect(explaining.explain_span)
    explaining.wanted.connect(app.shell.show_why_panel)
    explaining.told.connect(app.shell.tell)
    app.widgets.inspector.shown.connect(explaining.note_panel)
    app.models.focus.current_changed.connect(explaining.point_from_text)
    app.widgets.token.contrast_requested.connect(explaining.contrast)


def _connect_steering(app: App) -> None:
    panel, steering, intents = app.widgets.steering, app.steering, app.widgets.intents
    intents.text_selected.connect(steering.take_selection)
    intents.system_prompt_changed.connect(steering.system_prompt_changed)
    intents.raw_edited.connect(steering.note_raw_text)
    intents.raw_edited.connect(app.healing.note_text)
    panel.regenerate_requested.connect(steering.regenerate)
    steering.told.connect(app.shell.tell)
    panel.compare_requested.connect(app.side_by_side.run)
    app.side_by_side.told.connect(app.shell.tell)
    app.side_by_side.wanted.connect(app.shell.show_compare)
    app.widgets.compare.cancel_requested.connect(app.side_by_side.cancel)
    app.models.steering.changed.connect(app.shell.show_steering)
    transcript = app.models.transcript
    for signal in (transcript.was_reset, transcript.message_appended, transcript.tail_replaced):
        signal.connect(app.shell.show_steering)


def _connect_lens(app: App) -> None:
    panel, looking = app.widgets.lens, app.looking
    panel.look_requested.connect(looking.look)
    panel.layer_requested.connect(looking.read_layer)
    panel.head_requested.connect(looking.read_head)
    panel.experts_requested.connect(looking.look_at_experts)
    panel.cancel_requested.connect(looking.cancel)
    panel.follow_requested.connect(looking.follow)
    panel.position_hovered.connect(looking.hover)
    panel.position_chosen.connect(looking.choose)
    looking.told.connect(app.shell.tell)


def _connect_two_prompts(app: App) -> None:
    panel, controller = app.widgets.two_prompts, app.two_prompts
    panel.run_requested.connect(controller.run)
    panel.cancel_requested.connect(controller.cancel)
    panel.question_requested.connect(controller.take_question)
    panel.example_requested.connect(controller.show_example)
    controller.told.connect(app.shell.tell)
