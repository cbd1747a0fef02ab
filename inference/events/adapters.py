"""Requests and events of adapters: low-rank changes (LoRA) that are put on a loaded model and taken off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from inference.events.base import Event, Request
from inference.events.chat import Message
from inference.events.controls import AdapterScale


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInfo:
    """What the files of an adapter say of it.

    ``base`` is the model that it was trained on, in its own words ("" where it does not say); ``rank`` is
    the largest of its matrices; ``modules`` is how many layers it changes, ``replaced`` the modules that it
    brings whole; ``memory`` is in bytes, once it is attached (before that, as float32).
    """

    source: str
    name: str
    base: str
    rank: int
    alpha: float
    modules: int
    targets: tuple[str, ...]
    parameters: int
    memory: int
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectAdapterRequest(Request):
    """Read an adapter's description, and look for its base model -> :class:`AdapterInspected`.

    ``adapter`` is a folder with adapter_config.json, or the hub id of one in the local cache; ``folders``
    are searched for the base model beside the Hugging Face cache.
    """

    adapter: str
    folders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachAdapterRequest(Request):
    """Put an adapter on the loaded model, switched on at ``scale`` -> :class:`AdaptersChanged`.

    What one that is attached under the same name held is replaced.
    """

    adapter: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachAdapterRequest(Request):
    """Take an adapter off, by its name -> :class:`AdaptersChanged`."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAdaptersRequest(Request):
    """Which adapters act from now on, and how strongly; all others are off -> :class:`AdaptersChanged`."""

    adapters: tuple[AdapterScale, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareAdaptersRequest(Request):
    """What adapters change in a text -> Progress ..., :class:`AdaptersCompared`.

    The text is ``prompt``, or what the template makes of ``messages``, then the reply. It is read without
    any adapter, and with ``adapters`` (None: those that are on). What was on before is on again afterwards.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    reply_ids: tuple[int, ...] = ()
    reply_text: str = ""
    adapters: tuple[AdapterScale, ...] | None = None
    candidates: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterInspected(Event):
    """An adapter's description. ``base_source`` is where its base model was found, to be loaded; "": it is
    not on this computer.
    """

    event: ClassVar[str] = "adapter"
    info: AdapterInfo
    base_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptersChanged(Event):
    """The adapters that are attached, and those of them that act."""

    event: ClassVar[str] = "adapters"
    attached: tuple[AdapterInfo, ...]
    active: tuple[AdapterScale, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCandidate:
    """A token and its raw log-probability without and with adapters; None where it was not among the
    likeliest there.
    """

    id: int
    text: str
    base: float | None
    adapted: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedToken:
    """A token of the reply with its raw log-probability in both readings, and what else was likely."""

    index: int
    id: int
    text: str
    base: float
    adapted: float
    candidates: tuple[ComparedCandidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptersCompared(Event):
    """Both readings of a text: each token of its reply, and the token that would come next, likeliest first
    (by the larger of both probabilities). ``divergence`` is the Kullback-Leibler divergence (nats) of the
    next token's distribution with adapters from the one without.
    """

    event: ClassVar[str] = "adapters-compared"
    adapters: tuple[AdapterScale, ...]
    tokens: tuple[ComparedToken, ...]
    following: tuple[ComparedCandidate, ...]
    divergence: float
