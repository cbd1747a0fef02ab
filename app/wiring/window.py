"""Menus and sheets, what is remembered, and what the header and the status line show."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect this corner."""
    _connect_remembering(app)
    _connect_sheets(app)
    _connect_status(app)


def _connect_remembering(app: App) -> None:
    """What is to come back after a crash is written down when it changes."""
    window, remembering = app.widgets.window, app.remembering
    window.mode_shown.connect(remembering.note_mode)
    window.resized.connect(remembering.note_layout)
    app.widgets.inspector.shown.connect(remembering.note_panel)
    for dock in (window.conversation_dock, window.inspector_dock, window.monitor_dock):
        for signal in (dock.visibilityChanged, dock.dockLocationChanged, dock.topLevelChanged):
            signal.connect(remembering.note_layout)
    app.chat.opened.connect(app.shell.note_conversation)
    app.generation.busy_changed.connect(app.shell.note_conversation)
    app.newer.quit_wanted.connect(window.close)
    app.crashes.told.connect(app.shell.tell)
    app.models.models.loaded_changed.connect(app.driver.note_model)
    app.widgets.crash.save_requested.connect(app.shell.save_crash_report)


def _connect_sheets(app: App) -> None:
    window, widgets, shell = app.widgets.window, app.widgets, app.shell
    window.action("openSettings").triggered.connect(shell.open_settings)
    window.action("showShortcuts").triggered.connect(shell.open_shortcuts)
    window.action("showFaults").triggered.connect(shell.open_faults)
    window.action("showAbout").triggered.connect(shell.open_about)
    window.action("showTemplate").triggered.connect(shell.open_template)
    widgets.picker.template_requested.connect(shell.open_template)
    widgets.template.use_requested.connect(app.templates.use)
    widgets.template.restore_requested.connect(app.templates.restore)
    widgets.chat.composer.think_requested.connect(app.templates.think)
    app.models.template.changed.connect(shell.show_thinking)
    widgets.about.licence_requested.connect(shell.open_licence)
    window.action("exportMarkdown").triggered.connect(shell.export_markdown)
    window.action("exportJson").triggered.connect(shell.export_json)
    widgets.settings.add_folder_requested.connect(shell.add_model_folder)
    widgets.settings.open_path_requested.connect(shell.open_path)
    widgets.faults_bar.details_requested.connect(shell.open_faults)
    widgets.faults_bar.action_requested.connect(shell.remedy)
    widgets.faults.open_log_requested.connect(shell.open_log)
    app.instance.called.connect(shell.come_forward)


def _connect_status(app: App) -> None:
    for source in (
        app.chat,
        app.generation,
        app.conversations,
        app.model_loads,
        app.downloads,
        app.raw,
        app.monitor,
    ):
        source.told.connect(app.shell.tell)
    app.models.settings.changed.connect(app.shell.apply_settings)
    app.shell.apply_settings(app.models.settings.settings)
    app.widgets.intents.told.connect(app.shell.tell)
    app.widgets.intents.link_activated.connect(app.shell.open_link)
    app.generation.busy_changed.connect(app.collector.note_busy)
    app.generation.busy_changed.connect(app.warming.note_busy)
    app.generation.progressed.connect(app.shell.show_reading)
    app.generation.context_changed.connect(app.widgets.header.set_context)
    app.generation.context_changed.connect(app.monitor.note_context)
    app.generation.tokens_came.connect(app.monitor.count_tokens)
    app.generation.rate_changed.connect(app.widgets.header.set_rate)
    app.widgets.status.cancel_requested.connect(app.shell.cancel)
