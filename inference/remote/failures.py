"""What goes wrong between here and a server, as errors that a user can act on."""

from __future__ import annotations

import json
import re
import socket
import ssl
from typing import Any

import httpx

from inference.errors import (
    ContextFull,
    InferenceError,
    KeyRefused,
    ModelNotFound,
    NotAvailable,
    RateLimited,
    ServerError,
    ServerGarbled,
    ServerUnreachable,
)
from inference.events import Secret

#: So much of an answer goes into a report.
_DETAILS = 2000
_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size)|maximum context|too many tokens|exceeds? the (available )?context"
    r"|prompt is too long|n_ctx|exceed_context_size",
    re.IGNORECASE,
)


class Broken(ServerUnreachable):
    """A connection that was there broke off."""


def of_transport(error: Exception, host: str) -> InferenceError:
    """No answer came, or it broke off: refused, no such host, no trust, hung up."""
    causes = list(_causes(error))
    details = f"{type(error).__name__}: {error}"
    if any(isinstance(each, socket.gaierror) for each in causes):
        return ServerUnreachable(
            f"There is no host named {host.rpartition(':')[0] or host}.",
            hint="Check the address, and the network connection.",
            details=details,
        )
    if any(isinstance(each, ssl.SSLError) for each in causes):
        return ServerUnreachable(
            f"No safe connection to {host} could be made (TLS).",
            hint="Check the address (http or https?) and the server's certificate.",
            details=details,
        )
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return ServerUnreachable(f"Nothing answers at {host}.", details=details)
    if isinstance(error, httpx.ProxyError):
        return ServerUnreachable(
            f"The proxy on the way to {host} refused.", hint="Check the proxy settings.", details=details
        )
    if isinstance(error, httpx.ConnectError):
        return ServerUnreachable(f"{host} can't be reached.", details=details)
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        return Broken(
            f"{host} broke off its answer, or does not speak HTTP.",
            hint="What came so far is kept. Try again; check the address (http or https?).",
            details=details,
        )
    return Broken(
        f"The connection to {host} broke off.", hint="What came so far is kept; try again.", details=details
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    """An error and what it came from; the errors of each address that was tried come in a group."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                found += _causes(each)
        error = error.__cause__ or error.__context__
    return found


def of_status(
    status: int, headers: httpx.Headers, body: bytes, *, host: str, model: str, path: str, key: Secret
) -> InferenceError:
    """The error that an answer's status stands for."""
    said = hide(message_in(body), key)
    details = hide(f"HTTP {status} from {path}\n{body[:_DETAILS].decode(errors='replace')}", key)
    words = f": {said}" if said else "."
    if status in (401, 403):
        return KeyRefused(f"{host} does not accept the API key{words}", details=details)
    if status == 429:
        return RateLimited(_limited(host, headers, said), details=details)
    if status in (400, 413, 422) and _TOO_LONG.search(said):
        return ContextFull(f"The server's context is too short{words}", details=details)
    if status in (404, 405, 501):
        if model and re.search("model", said, re.IGNORECASE):
            return ModelNotFound(
                f"{host} has no model named {model}.",
                hint="Choose another one of its models (Models, Edit the server).",
                details=details,
            )
        return NotAvailable(
            f"{host} has no {path}.",
            hint="Check the address: most servers want /v1 at its end.",
            details=details,
        )
    if status >= 500:
        return ServerError(f"{host} failed (HTTP {status}){words}", details=details)
    return ServerError(f"{host} refused the request (HTTP {status}){words}", details=details)


def of_event(error: Any, *, host: str, model: str, key: Secret) -> InferenceError:
    """The error that a server sends in the middle of a stream."""
    body = json.dumps({"error": error}).encode()
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return of_status(
        status, httpx.Headers(), body, host=host, model=model, path="the stream of the reply", key=key
    )


def garbled(host: str, what: str, shown: str | bytes, key: Secret) -> ServerGarbled:
    """An answer that can't be read."""
    text = shown.decode(errors="replace") if isinstance(shown, bytes) else shown
    return ServerGarbled(f"{host} {what}.", details=hide(text[:_DETAILS], key))


def _limited(host: str, headers: httpx.Headers, said: str) -> str:
    wait = headers.get("retry-after", "").strip()
    words = f"{host} has had too many requests"
    if wait.isdigit():
        words += f"; it asks to wait {int(wait)} seconds"
    elif wait:
        words += f"; it asks to wait until {wait[:60]}"
    return f"{words}: {said}" if said else f"{words}."


def message_in(body: bytes) -> str:
    """What an error's body says, in a line: servers put it in several places."""
    try:
        value = json.loads(body)
    except ValueError:
        text = body[:300].decode(errors="replace").strip()
        return "" if text.startswith("<") else " ".join(text.split())
    for name in ("error", "detail", "message"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0].get("msg", value[0])
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split())[:300]


def hide(text: str, key: Secret) -> str:
    """The text without the key, which some servers repeat in their answers."""
    return text.replace(key.reveal(), "…") if key else text
