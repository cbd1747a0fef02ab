"""Models, the servers that hold some, and the adapters on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.bootstrap import App


def connect(app: App) -> None:
    """Connect this corner."""
    _connect_models(app)
    _connect_adapters(app)
    _connect_leaving(app)


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


def _connect_leaving(app: App) -> None:
    """A model that is to go does not wait for what is being looked at in it."""
    picker = app.widgets.picker
    unload = app.widgets.window.action("unloadModel").triggered
    for signal in (picker.load_requested, picker.unload_requested, unload):
        for looker in (app.explaining, app.looking, app.side_by_side, app.two_prompts, app.adapters):
            signal.connect(looker.cancel)
