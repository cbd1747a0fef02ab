"""What went wrong while fetching, in our words."""

from __future__ import annotations

import errno
import traceback

from inference.errors import (
    DiskFull,
    DownloadRefused,
    InferenceError,
    InternalError,
    NoNetwork,
    UnreadableFile,
)


def is_interruption(error: BaseException) -> bool:
    """Whether it is worth going on where the connection broke off.

    The HTTP library's exceptions are told by name: which library it is depends on the version of
    huggingface_hub.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, (ConnectionError, TimeoutError)) or "TransportError" in names:
        return True
    return "HfHubHTTPError" in names and _status(error) in (408, 429, 500, 502, 503, 504)


def _status(error: BaseException) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0) or 0)


def translate(error: BaseException, repo: str) -> InferenceError:
    """The InferenceError for whatever the hub's library, the network or the disk raised."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    details = "".join(traceback.format_exception(error))
    if isinstance(error, OfflineModeIsEnabled):
        return NoNetwork(
            "Offline mode is set (HF_HUB_OFFLINE), so nothing is downloaded.", hint="Unset it and try again."
        )
    if isinstance(error, GatedRepoError):
        return DownloadRefused(
            f"Access to {repo} must be asked for.",
            hint="Ask for access on the model's page, then sign in with 'hf auth login' and try again.",
            details=details,
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError)):
        return DownloadRefused(f"There is no model {repo} on the hub, or it is private.", details=details)
    if isinstance(error, RevisionNotFoundError):
        return DownloadRefused(f"{repo} has no such revision.", details=details)
    if isinstance(error, HfHubHTTPError) and not is_interruption(error):
        return DownloadRefused(f"The hub refused the download of {repo} ({_status(error)}).", details=details)
    if is_interruption(error):
        return NoNetwork("The hub could not be reached, or the connection broke off.", details=details)
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull("The disk is full.", details=details)
        return UnreadableFile(
            f"The download cache can't be written: {error.strerror or error}.", details=details
        )
    return InternalError(f"The download failed: {type(error).__name__}.", details=details)
