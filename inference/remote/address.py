"""Where a model on a server is: ``openai:http://127.0.0.1:8080/v1#name``."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from inference.errors import InvalidRequest
from inference.events import Server

SCHEME = "openai:"
_HINT = 'Use an address such as "http://127.0.0.1:8080/v1".'


def is_remote(model: str) -> bool:
    """Whether a model's source names a server."""
    return model.startswith(SCHEME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server's base URL, without a slash at its end, and the name of a model there."""

    url: str
    model: str

    @property
    def source(self) -> str:
        """The model's name in requests, settings and on the command line."""
        return f"{SCHEME}{self.url}#{self.model}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: who hears what is sent."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def host(self) -> str:
        """Host and port, as they are shown."""
        return urlsplit(self.url).netloc

    @property
    def this_machine(self) -> bool:
        """Whether the host is a loopback address."""
        return is_loopback(urlsplit(self.url).hostname or "")


def parse(source: str) -> Address:
    """Take a source apart.

    Raises:
        InvalidRequest: It is not of that form.
    """
    url, _, model = source.removeprefix(SCHEME).partition("#")
    if not model:
        raise InvalidRequest(
            "The address names no model.", hint="Put #NAME behind the address: openai:http://HOST/v1#NAME."
        )
    return Address(url=base_url(url), model=model)


def of(server: Server) -> Address:
    """The address of a server as the user entered it.

    Raises:
        InvalidRequest: Its URL can't be used.
    """
    return Address(url=base_url(server.url), model=server.model)


def base_url(text: str) -> str:
    """A base URL as it is used: with a scheme, in lower case up to the path, without a slash at its end.

    Raises:
        InvalidRequest: It is no http(s) URL, or says more than where the server is.
    """
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"This is not an address: {error}.", hint=_HINT) from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise InvalidRequest("The address is not one of a web server.", hint=_HINT)
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest("The address holds a name or a password.", hint="Enter the key as the API key.")
    if parts.query or parts.fragment:
        raise InvalidRequest("The address goes on after its path (? or #).", hint=_HINT)
    if any(char.isspace() for char in text):
        raise InvalidRequest("The address has a space in it.", hint=_HINT)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    place = host if port is None else f"{host}:{port}"
    return urlunsplit((parts.scheme.lower(), place.lower(), parts.path.rstrip("/"), "", ""))


def is_loopback(host: str) -> bool:
    """Whether a host's name or number stands for this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
