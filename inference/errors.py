"""What can go wrong, in words a user can act on.

Every error that leaves ``inference`` on purpose is an :class:`InferenceError`: a ``kind`` for programs, a
``message`` that says what happened, and a ``hint`` that says what to do next. Anything else that escapes is a
defect and is reported as kind ``internal``.
"""

from __future__ import annotations

from typing import ClassVar


class InferenceError(Exception):
    """An expected failure.

    Args:
        message: What happened, one sentence.
        hint: What the user can do next, one sentence.
        details: Technical text to copy into a report; may be empty.
    """

    kind: ClassVar[str] = "inference"
    default_hint: ClassVar[str] = "Try again; if it happens again, copy the details into a report."

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
        self.details = details


class ModelNotFound(InferenceError):
    """The folder, file or hub id does not exist."""

    kind = "model-not-found"
    default_hint = "Check the path or the model's name."


class ModelDamaged(InferenceError):
    """Files are missing, truncated or contradict each other."""

    kind = "model-damaged"
    default_hint = "Download or copy the model again."


class ModelUnsafe(InferenceError):
    """Loading would run code from the model folder or unpickle untrusted data."""

    kind = "model-unsafe"
    default_hint = "Use a version of this model with safetensors weights and no custom code."


class ModelUnsupported(InferenceError):
    """The architecture, file format or quantization is not known here."""

    kind = "model-unsupported"
    default_hint = "Try another format of this model, or a newer version of the app."


class TokenizerMismatch(InferenceError):
    """The tokenizer does not belong to the model."""

    kind = "tokenizer-mismatch"
    default_hint = "Use the tokenizer files that came with the model."


class NoModelLoaded(InferenceError):
    """A request needs a model and none is loaded."""

    kind = "no-model"
    default_hint = "Choose a model first."


class OutOfMemory(InferenceError):
    """The machine or the GPU has too little free memory."""

    kind = "out-of-memory"
    default_hint = "Choose a smaller quantization or context length, or close other programs."


class ContextFull(InferenceError):
    """The prompt, or prompt and reply together, do not fit into the context."""

    kind = "context-full"
    default_hint = (
        "Shorten the prompt, or let the app drop the oldest turns (Sampling, When the context is full)."
    )


class EmptyPrompt(InferenceError):
    """There is nothing to continue."""

    kind = "empty-prompt"
    default_hint = "Write something first."


class InvalidRequest(InferenceError):
    """A value is out of its range."""

    kind = "invalid-request"
    default_hint = "Correct the value and try again."


class InvalidLogits(InferenceError):
    """The model returned NaN or no finite logit."""

    kind = "invalid-logits"
    default_hint = "Reset logit bias and penalties; if it stays, load the model in another precision."


class TemplateError(InferenceError):
    """The chat template is missing or refuses the messages."""

    kind = "chat-template"
    default_hint = "Use raw mode, or edit the model's chat template."


class NotAvailable(InferenceError):
    """The feature cannot work with this architecture; the message says why."""

    kind = "not-available"
    default_hint = "Choose another method or another model."


class NoNetwork(InferenceError):
    """The hub could not be reached."""

    kind = "no-network"
    default_hint = "Check the connection; what was downloaded is kept and the download can be resumed."


class DownloadRefused(InferenceError):
    """The hub answered, but does not give the files (missing, gated, private)."""

    kind = "download-refused"
    default_hint = "Check the model's name, and on its page whether access must be asked for."


class DiskFull(InferenceError):
    """There is no room to write."""

    kind = "disk-full"
    default_hint = "Free some space and try again; nothing that was there is lost."


class UnreadableFile(InferenceError):
    """A file cannot be read: permissions, or not what its name says."""

    kind = "unreadable-file"
    default_hint = "Check that the file opens in another program and that you may read it."


class PasswordNeeded(InferenceError):
    """A document is protected, and its password is missing or wrong."""

    kind = "password"
    default_hint = "Type the document's password."


class ServerUnreachable(InferenceError):
    """No connection to a server could be made, or it broke off."""

    kind = "server-unreachable"
    default_hint = "Check that the server runs, and its address."


class ServerTimeout(InferenceError):
    """A server took too long."""

    kind = "server-timeout"
    default_hint = "Try again, or give the server more time (Models, Edit the server)."


class KeyRefused(InferenceError):
    """A server does not accept the API key, or wants one."""

    kind = "server-key"
    default_hint = (
        "Enter the API key anew: in the window Models, Edit the server; in a terminal MODEL_LOUPE_API_KEY."
    )


class RateLimited(InferenceError):
    """A server has had too many requests."""

    kind = "rate-limited"
    default_hint = "Wait a little and try again."


class ServerError(InferenceError):
    """A server refuses a request, or has failed at it."""

    kind = "server-error"
    default_hint = "Look at the server's own log; the details hold its answer."


class ServerGarbled(InferenceError):
    """A server's answer is not what the OpenAI-compatible API defines."""

    kind = "server-garbled"
    default_hint = "Check the address: most servers want /v1 at its end."


class ServerMoved(InferenceError):
    """A server sends its visitors to another address, which the user did not name."""

    kind = "server-moved"
    default_hint = "If you trust that address, enter it in place of the old one."


class InternalError(InferenceError):
    """A defect of the app."""

    kind = "internal"
    default_hint = "Copy the details into a report. The model and your conversations are kept."


class RunCancelled(Exception):
    """Raised inside a run when its cancel flag is seen; never leaves ``Session.run``."""
