"""What the session does with requests about adapters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.adapters.files import open_adapter
from inference.errors import InferenceError
from inference.events import (
    AdapterInspected,
    AdapterScale,
    AdaptersChanged,
    AttachAdapterRequest,
    DetachAdapterRequest,
    Event,
    InspectAdapterRequest,
    SetAdaptersRequest,
)
from inference.running import RunHandle

if TYPE_CHECKING:
    from inference.engine import Engine
    from inference.session import Session


def inspect(session: Session, request: InspectAdapterRequest, handle: RunHandle) -> Iterator[Event]:
    """Describe an adapter from its files -> AdapterInspected.

    Raises:
        InferenceError: It can't be used; see :func:`inference.adapters.files.open_adapter`.
    """
    files = open_adapter(request.adapter)
    source = find_base(files.base, request.folders)
    yield AdapterInspected(run_id=request.run_id, info=files.info(), base_source=source)


def attach(session: Session, request: AttachAdapterRequest, handle: RunHandle) -> Iterator[Event]:
    """Put an adapter on the model and switch it on -> AdaptersChanged.

    Raises:
        InferenceError: It can't be read, or does not fit the model.
    """
    engine = session.require_engine()
    files = open_adapter(request.adapter)
    before = {each.name: each for each in engine.adapters.active}
    name = engine.adapters.attach(files)
    on = before | {name: AdapterScale(name=name, scale=request.scale)}
    engine.use_adapters(list(on.values()))
    yield replace(changed(engine, request.run_id), note=_note(engine, files.base))


def detach(session: Session, request: DetachAdapterRequest, handle: RunHandle) -> Iterator[Event]:
    """Take an adapter off -> AdaptersChanged."""
    engine = session.require_engine()
    engine.use_adapters([each for each in engine.adapters.active if each.name != request.name])
    engine.adapters.detach(request.name)
    engine.restore_kernels()
    yield changed(engine, request.run_id)


def set_active(session: Session, request: SetAdaptersRequest, handle: RunHandle) -> Iterator[Event]:
    """Switch adapters -> AdaptersChanged."""
    engine = session.require_engine()
    engine.use_adapters(request.adapters)
    yield changed(engine, request.run_id)


def changed(engine: Engine, run_id: int) -> AdaptersChanged:
    """What is attached and what acts, as it is now."""
    return AdaptersChanged(run_id=run_id, attached=engine.adapters.attached, active=engine.adapters.active)


def find_base(base: str, folders: tuple[str, ...] = ()) -> str:
    """Where an adapter's base model is on this computer, by its name; "" if it is nowhere.

    A folder may be named as it was on another computer, so its last part is looked for, too.
    """
    from inference import catalog
    from inference.events import ListModelsRequest
    from inference.models.model_files import find_model

    if not base:
        return ""
    try:
        find_model(base)
    except InferenceError:
        pass
    else:
        return base
    listed = catalog.list_models(ListModelsRequest(run_id=0, folders=folders)).entries
    return next(
        (entry.source for entry in listed if not entry.problem and same_model(base, entry.source)), ""
    )


def same_model(base: str, source: str) -> bool:
    """Whether two names of models seem to mean the same one: their last parts are equal."""
    return bool(base) and Path(base).name.casefold() == Path(source).name.casefold()


def _note(engine: Engine, base: str) -> str:
    """That the adapter was made for a model of another name."""
    info = engine.loaded.info
    if not base or same_model(base, info.source) or same_model(base, info.name):
        return ""
    return f"It was trained on {base}; its sizes fit {info.name}, but it may not mean anything to it."
