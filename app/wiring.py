"""What the user meant goes to controllers, what controllers say goes to widgets; one function for each
corner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect everything."""
    _connect_chat(app)
    _connect_conversations(app)
    _connect_models(app)
    _connect_documents(app)
    _connect_panels(app)
    _connect_why(app)
    _connect_steering(app)
    _connect_adapters(app)
    _connect_two_prompts(app)
    _connect_lens(app)
    _connect_leaving(app)
    _connect_remembering(app)
    _connect_sheets(app)
    _connect_status(app)


def _connect_chat(app: App) -> None:
    intents, chat = app.widgets.intents, app.chat
    intents.send_requested.connect(app.documents.attaching.send)
    app.documents.attaching.send_wanted.connect(chat.send)
    app.documents.attaching.told.connect(app.shell.tell)
    intents.attachment_removed.connect(app.documents.attaching.remove)
    intents.send_raw_requested.connect(chat.send_raw)
    intents.stop_requested.connect(chat.stop)
    intents.regenerate_requested.connect(chat.regenerate)
    intents.continue_requested.connect(chat.continue_reply)
    intents.edit_requested.connect(chat.edit)
    intents.branch_step_requested.connect(chat.step_branch)
    intents.candidate_requested.connect(chat.branch_from_row)
    intents.system_prompt_changed.connect(chat.set_system_prompt)
    system = app.widgets.chat.system
    system.set_presets(dict(app.remembering.remembered.system_prompts))
    system.preset_saved.connect(app.remembering.save_system_prompt)
    system.preset_deleted.connect(app.remembering.delete_system_prompt)
    intents.tokens_wanted.connect(app.tracks.wanted)
    intents.raw_text_wanted.connect(app.raw.render)
    app.raw.rendered.connect(app.widgets.chat.raw.set_rendered)
    app.generation.raw_wrote.connect(app.widgets.chat.raw.append_text)
    chat.returned.connect(app.widgets.chat.composer.restore)
    chat.opened.connect(app.shell.show_conversation)
    chat.opened.connect(app.unsent.show)
    app.widgets.chat.composer.field.textChanged.connect(app.unsent.note)
    transcript = app.models.transcript
    for signal in (
        transcript.was_reset,
        transcript.message_appended,
        transcript.tail_replaced,
        transcript.reply_finished,
        transcript.message_changed,
    ):
        signal.connect(app.shell.show_busy)


def _connect_conversations(app: App) -> None:
    listing, controller = app.widgets.conversations, app.conversations
    listing.new_requested.connect(app.chat.new_chat)
    listing.opened.connect(app.chat.open)
    listing.delete_requested.connect(controller.delete)
    listing.undo_delete_requested.connect(controller.undo_delete)
    listing.search_changed.connect(controller.search)
    listing.export_requested.connect(app.shell.export)


def _connect_models(app: App) -> None:
    models = app.models.models
    models.loaded_changed.connect(app.shell.show_model)
    models.loaded_changed.connect(app.collector.note_model)
    models.loaded_changed.connect(app.warming.note_model)
    models.loading_changed.connect(app.shell.show_loading)
    app.model_loads.ready.connect(app.remembering.note_load)
    app.downloads.arrived.connect(app.model_loads.refresh)
    picker, window, loads = app.widgets.picker, app.widgets.window, app.model_loads
    picker.load_requested.connect(loads.load)
    picker.unload_requested.connect(loads.unload)
    picker.cancel_load_requested.connect(loads.cancel_load)
    picker.refresh_requested.connect(loads.refresh)
    picker.open_folder_requested.connect(app.shell.choose_model_folder)
    picker.open_file_requested.connect(app.shell.choose_model_file)
    picker.download_requested.connect(app.downloads.start)
    picker.pause_requested.connect(app.downloads.pause)
    picker.cancel_download_requested.connect(app.downloads.cancel)
    picker.draft_requested.connect(app.drafts.choose)
    app.widgets.header.model_clicked.connect(app.shell.open_picker)
    app.widgets.chat.empty.model_wanted.connect(app.shell.open_picker)
    _connect_servers(app)
    window.action("openModel").triggered.connect(app.shell.open_picker)
    window.action("unloadModel").triggered.connect(loads.unload)
    app.widgets.intents.paths_dropped.connect(app.shell.open_paths)
    app.widgets.intents.attach_requested.connect(app.shell.choose_files)


def _connect_servers(app: App) -> None:
    picker, sheet, servers = app.widgets.picker, app.widgets.server, app.servers
    picker.add_server_requested.connect(servers.add)
    picker.edit_server_requested.connect(servers.edit)
    servers.wanted.connect(app.shell.open_server)
    servers.settled.connect(app.shell.close_server)
    sheet.address_edited.connect(servers.describe)
    sheet.look_requested.connect(servers.look)
    sheet.look_cancelled.connect(servers.stop_looking)
    sheet.save_requested.connect(servers.save)
    sheet.remove_requested.connect(servers.remove)
    app.tracks.told.connect(app.shell.tell)


def _connect_documents(app: App) -> None:
    intents, documents = app.widgets.document_intents, app.documents
    libraries, asking, pages = documents.libraries, documents.asking, documents.pages
    app.widgets.window.mode_shown.connect(documents.note_mode)
    intents.add_requested.connect(documents.add)
    intents.choose_files_requested.connect(app.shell.choose_documents)
    intents.choose_folder_requested.connect(app.shell.choose_document_folder)
    intents.sample_requested.connect(documents.add_sample)
    intents.remove_requested.connect(libraries.remove)
    intents.library_chosen.connect(libraries.choose)
    intents.library_made.connect(libraries.make)
    intents.library_renamed.connect(libraries.rename)
    intents.library_deleted.connect(libraries.delete)
    intents.undo_delete_requested.connect(libraries.undo_delete)
    intents.delete_settled.connect(libraries.settle_delete)
    intents.choose_embedder_requested.connect(app.shell.choose_embedder)
    intents.pause_requested.connect(libraries.pause)
    intents.resume_requested.connect(libraries.resume)
    intents.cancel_requested.connect(libraries.cancel)
    intents.password_given.connect(libraries.unlock)
    intents.password_given.connect(pages.unlock)
    intents.query_changed.connect(asking.type_query)
    intents.ask_requested.connect(asking.ask)
    intents.answer_anyway_requested.connect(asking.answer_anyway)
    intents.stop_requested.connect(asking.stop)
    intents.new_thread_requested.connect(asking.begin_anew)
    intents.explain_requested.connect(documents.influence.toggle)
    intents.ask_requested.connect(documents.influence.stop)
    libraries.opened.connect(documents.influence.stop)
    intents.new_thread_requested.connect(documents.influence.stop)
    intents.source_opened.connect(pages.open_source)
    intents.citation_opened.connect(pages.open_citation)
    intents.picture_wanted.connect(pages.draw)
    intents.find_requested.connect(pages.find)
    asking.answered.connect(pages.offer)
    libraries.opened.connect(pages.clear)
    libraries.told.connect(app.shell.tell)


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


def _connect_adapters(app: App) -> None:
    section, adapters = app.widgets.steering.adapters, app.adapters
    section.open_requested.connect(app.shell.choose_adapter)
    section.removed.connect(adapters.detach)
    section.base_requested.connect(adapters.load_base)
    section.anyway_requested.connect(adapters.attach_anyway)
    section.compare_requested.connect(adapters.compare)
    app.widgets.adapters.cancel_requested.connect(adapters.cancel)
    adapters.base_wanted.connect(app.model_loads.load_source)
    adapters.wanted.connect(app.shell.show_steering_panel)
    adapters.comparison_wanted.connect(app.shell.show_adapter_comparison)
    adapters.told.connect(app.shell.tell)


def _connect_two_prompts(app: App) -> None:
    panel, controller = app.widgets.two_prompts, app.two_prompts
    panel.run_requested.connect(controller.run)
    panel.cancel_requested.connect(controller.cancel)
    panel.question_requested.connect(controller.take_question)
    panel.example_requested.connect(controller.show_example)
    controller.told.connect(app.shell.tell)


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


def _connect_remembering(app: App) -> None:
    """What is to come back after a crash is written down when it changes."""
    window, remembering = app.widgets.window, app.remembering
    window.mode_shown.connect(remembering.note_mode)
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


def _connect_leaving(app: App) -> None:
    """A model that is to go does not wait for what is being looked at in it."""
    picker = app.widgets.picker
    unload = app.widgets.window.action("unloadModel").triggered
    for signal in (picker.load_requested, picker.unload_requested, unload):
        for looker in (app.explaining, app.looking, app.side_by_side, app.two_prompts, app.adapters):
            signal.connect(looker.cancel)


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
