"""HTTP to one server for one run: requests that a cancel ends at once, whatever they are waiting for.

Each wait is a task of an event loop of the run's own; the run looks at its handle every few hundredths of a
second meanwhile, and a cancelled task closes its socket, also while it connects.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import ssl
import time
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from inference.errors import InferenceError, ServerMoved, ServerTimeout
from inference.events import Secret, Server
from inference.remote import address, failures
from inference.running import RunHandle

T = TypeVar("T")

#: Seconds between two looks at the handle.
_LOOK = 0.03
#: Of an answer that is no stream, at most so much is read.
_MOST = 32 << 20
_REDIRECTS = 3


class Wire:
    """A context in which requests are sent to a server.

    Args:
        server: Where, and how long to wait.
        key: Sent to that server only; may be empty.
        handle: Cancels.
    """

    def __init__(self, server: Server, key: Secret, handle: RunHandle) -> None:
        self.server, self.key, self.handle = server, key, handle
        self.address = address.of(server)
        self.headers = httpx.Headers()
        #: No pause within an answer may be longer, seconds; lowered once all that matters has come.
        self.most_pause = math.inf
        self._streams: list[Generator[bytes, None, None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None

    @property
    def host(self) -> str:
        """Who is talked to, for messages."""
        return self.address.host

    def __enter__(self) -> Wire:
        headers = {"Accept-Encoding": "identity", "User-Agent": "model-loupe"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key.reveal()}"
        self._loop = asyncio.new_event_loop()
        # A proxy would be asked for addresses of its own machine, not of this one.
        self._client = httpx.AsyncClient(
            headers=headers,
            trust_env=not self.address.this_machine,
            follow_redirects=False,
            verify=_certificates() if self.address.url.startswith("https:") else False,
            timeout=httpx.Timeout(None, connect=self.server.connect_seconds),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._client is not None
        for stream in self._streams:  # one that was not read to its end has its connection still
            stream.close()
        with contextlib.suppress(Exception):  # a broken connection may fail to close; it is gone either way
            self._loop.run_until_complete(self._client.aclose())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def get(self, path: str, *, root: bool = False) -> Any:
        """The JSON that is at a path behind the base URL, or (``root``) behind the host."""
        return self._whole("GET", path, None, root=root)

    def post(self, path: str, body: dict[str, Any], *, root: bool = False) -> Any:
        """The JSON that a request is answered with."""
        return self._whole("POST", path, body, root=root)

    def stream(self, path: str, body: dict[str, Any]) -> Iterator[bytes]:
        """Send a request; when this returns, the answer has begun and :attr:`headers` are its own.

        Returns:
            The bytes of the answer as they come.

        Raises:
            InferenceError: Refused, timed out, broken off.
            RunCancelled: The connection is closed by then.
        """
        response = self._open("POST", path, body, root=False, limit=self.server.first_seconds)
        self._streams.append(self._chunks(response))
        return self._streams[-1]

    def _chunks(self, response: httpx.Response) -> Generator[bytes, None, None]:
        chunks = response.aiter_raw()
        limit, started = self.server.first_seconds, False
        try:
            while (chunk := self._wait(_next(chunks), limit=limit, started=started)) is not None:
                yield chunk
                limit, started = min(self.server.pause_seconds, self.most_pause), True
        finally:
            self._close(response)

    # --- one request

    def _whole(self, method: str, path: str, body: dict[str, Any] | None, *, root: bool) -> Any:
        response = self._open(method, path, body, root=root, limit=self.server.first_seconds)
        try:
            text = self._wait(_body(response), limit=self.server.first_seconds, started=True)
        finally:
            self._close(response)
        try:
            return json.loads(text)
        except ValueError as error:
            raise failures.garbled(
                self.host, f"answered {path} with something else than JSON", text, self.key
            ) from error

    def _open(
        self, method: str, path: str, body: dict[str, Any] | None, *, root: bool, limit: float
    ) -> httpx.Response:
        """Send a request and wait for the answer's head; an answer that is an error is raised."""
        assert self._client is not None
        url = (self.address.origin if root else self.address.url) + path
        for _ in range(_REDIRECTS):
            request = self._client.build_request(method, url, json=body)
            response = self._wait(self._client.send(request, stream=True), limit=limit, started=False)
            if not response.is_redirect:
                break
            self._close(response)
            url = self._followed(url, response, method)
        else:
            raise ServerMoved(f"{self.host} sends its visitors in circles.")
        self.headers = response.headers
        if response.is_success:
            return response
        try:
            text = self._wait(_body(response), limit=self.server.pause_seconds, started=True)
        except InferenceError:
            text = b""
        finally:
            self._close(response)
        raise failures.of_status(
            response.status_code,
            response.headers,
            text,
            host=self.host,
            model=self.address.model,
            path=path,
            key=self.key,
        )

    def _followed(self, url: str, response: httpx.Response, method: str) -> str:
        """Where a redirect leads, if it stays with the server that the user named."""
        target = urljoin(url, str(response.headers.get("location", "")))
        old, new = urlsplit(url), urlsplit(target)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            place = f"{new.scheme}://{new.netloc}"[:200]
            raise ServerMoved(f"{self.host} sends its visitors on to {place}; nothing was sent there.")
        if method != "GET" and response.status_code not in (307, 308):
            raise ServerMoved(f"{self.host} sends its visitors on to {new.path[:200]}.")
        return target

    def _close(self, response: httpx.Response) -> None:
        assert self._loop is not None
        with contextlib.suppress(Exception):
            self._loop.run_until_complete(response.aclose())

    # --- waiting

    def _wait(self, work: Coroutine[Any, Any, T], *, limit: float, started: bool) -> T:
        """Run some work to its end, looking at the handle meanwhile.

        Raises:
            RunCancelled: The run was asked to stop; the work is cancelled.
            ServerTimeout: It took longer than ``limit`` seconds.
            InferenceError: It failed.
        """
        assert self._loop is not None
        task = self._loop.create_task(work)
        deadline = time.monotonic() + limit
        try:
            while not task.done():
                self.handle.check()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._too_slow(limit, started)
                self._loop.run_until_complete(asyncio.wait({task}, timeout=min(_LOOK, left)))
            return task.result()
        except httpx.ConnectTimeout as error:
            seconds = self.server.connect_seconds
            raise ServerTimeout(f"{self.host} did not answer within {seconds:g} seconds.") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise failures.of_transport(error, self.host) from error
        finally:
            if not task.done():
                task.cancel()
                self._loop.run_until_complete(asyncio.wait({task}))

    def _too_slow(self, limit: float, started: bool) -> ServerTimeout:
        if started:
            return ServerTimeout(
                f"{self.host} said nothing for {limit:g} seconds in the middle of its answer.",
                hint="What came so far is kept. Continue, or give the server more time (Models, Edit …).",
            )
        return ServerTimeout(f"{self.host} took the request, but gave no answer within {limit:g} seconds.")


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust; reading the list takes longer than most requests. Plain http needs none."""
    return httpx.create_ssl_context()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    """The next bytes; None at the end."""
    return await anext(chunks, None)


async def _body(response: httpx.Response) -> bytes:
    """A whole answer, up to a bound."""
    parts, size = [], 0
    async for chunk in response.aiter_raw():
        parts.append(chunk)
        size += len(chunk)
        if size > _MOST:
            break
    return b"".join(parts)
