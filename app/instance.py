"""One window for a profile: a second start hands its files to the first one and ends.

The first window listens on a local socket in a folder that belongs to the user alone; its name is made from
the profile's. What is sent is a list of paths; the answer says that they arrived.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtNetwork import QLocalServer, QLocalSocket

from app.profile import Profile

logger = logging.getLogger(__name__)

_ARRIVED = b"ok\n"
_WAIT_MS = 3000
#: More than this in one message is not from a second start.
_LONGEST = 1 << 20


def hand_over(profile: Profile, paths: tuple[str, ...]) -> bool:
    """Have the window that has this profile come to the front and open ``paths``.

    Returns:
        Whether there is such a window and it answered; where not, this process is on its own.
    """
    name = _name(profile)
    if name is None:
        return False
    socket = QLocalSocket()
    socket.connectToServer(name)
    if not socket.waitForConnected(_WAIT_MS):
        return False
    socket.write(json.dumps({"open": list(paths)}).encode() + b"\n")
    answered = socket.waitForBytesWritten(_WAIT_MS) and socket.waitForReadyRead(_WAIT_MS)
    return answered and bytes(socket.readAll().data()) == _ARRIVED


class Instance(QObject):
    """Listens for later starts on the same profile."""

    #: Somebody started the app again: the paths (list of str) that the new one was given.
    called = Signal(list)

    def __init__(self, profile: Profile, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._greet)
        self._name = _name(profile)

    def listen(self) -> bool:
        """Begin to listen; only for the process that holds the profile's lock, which makes a socket that is
        there already one that a killed process left behind.
        """
        if self._name is None:
            logger.warning("Later starts cannot be noticed: there is no folder for the socket")
            return False
        QLocalServer.removeServer(self._name)
        if not self._server.listen(self._name):
            logger.warning("Later starts cannot be noticed: %s", self._server.errorString())
            return False
        return True

    def close(self) -> None:
        """Listen no more."""
        self._server.close()

    @Slot()
    def _greet(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.setParent(self)
            socket.readyRead.connect(self._read)
            socket.disconnected.connect(socket.deleteLater)

    @Slot()
    def _read(self) -> None:
        socket = self.sender()
        assert isinstance(socket, QLocalSocket)
        if not socket.canReadLine():
            if socket.bytesAvailable() > _LONGEST:
                socket.abort()
            return
        paths = _paths(bytes(socket.readLine().data()))
        if paths is None:
            socket.abort()
            return
        socket.write(_ARRIVED)
        socket.flush()
        self.called.emit(paths)


def _paths(line: bytes) -> list[str] | None:
    """What a message asks to open; None if it is not such a message."""
    try:
        paths = json.loads(line)["open"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return None
    return paths


def _name(profile: Profile) -> str | None:
    """The socket of a profile; None where there is no place that only this user can write to."""
    folder = str(profile.data.expanduser().resolve())
    name = f"model-loupe-{hashlib.sha256(folder.encode()).hexdigest()[:24]}"
    if os.name != "posix":
        return name
    own = _own_folder()
    return None if own is None else str(own / name)


def _own_folder() -> Path | None:
    """The user's folder for sockets: the system's, else one in the folder for temporary files (where anyone
    else could have made it first).
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and _is_private(Path(given)):
        return Path(given)
    made = Path(tempfile.gettempdir()) / f"model-loupe-{os.getuid()}"
    with suppress(OSError):
        made.mkdir(mode=0o700, exist_ok=True)
    return made if _is_private(made) else None


def _is_private(folder: Path) -> bool:
    """Whether this is a folder that only this user can write to."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
