"""A virus scanner: ClamAV's daemon, asked by its command INSTREAM. (There is no client of it that is looked after.)"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from lchook.files import FilesError

_CONNECT_SECONDS = 5.0
# clamd loads new signatures for a minute, and answers afterwards.
_ANSWER_SECONDS = 90.0
_MAX_ANSWER_BYTES = 1_000
DEFAULT_PORT = 3310


class ScannerError(FilesError):
    """It says neither that a file is clean nor that it is not."""


class Clamd:
    """Asks one daemon, on a connection for each question. Its sockets are Python's: call from anywhere, but not aside."""

    def __init__(self, url: str) -> None:
        """:param url: `tcp://host:3310` or `unix:///run/clamav/clamd.ctl`."""
        self._url = urlsplit(url)
        self.place = url

    def found(self, pieces: Iterable[bytes]) -> str | None:
        """What the daemon finds in a file: the name of a signature, or `None` where it is clean.

        :raises ScannerError: where it does not say.
        """
        answer = self._ask(b"zINSTREAM\0", pieces)
        if answer == "stream: OK":
            return None
        infected = re.fullmatch(r"stream: (.+) FOUND", answer)
        if infected:
            return "".join(character for character in infected[1] if character.isprintable())[:100]
        if "size limit exceeded" in answer:
            raise ScannerError("the file is larger than clamd's StreamMaxLength")
        raise ScannerError(f"clamd answers {answer[:100]!r}")

    def ping(self) -> None:
        """:raises ScannerError: where it does not answer."""
        answer = self._ask(b"zPING\0", None)
        if answer != "PONG":
            raise ScannerError(f"clamd answers {answer[:100]!r}")

    def _ask(self, command: bytes, pieces: Iterable[bytes] | None) -> str:
        try:
            with self._connection() as connection:
                connection.settimeout(_ANSWER_SECONDS)
                # It may stop reading and answer at once, where there is too much.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(command)
                    if pieces is not None:
                        for piece in pieces:
                            if piece:
                                connection.sendall(struct.pack("!L", len(piece)) + piece)
                        connection.sendall(struct.pack("!L", 0))
                answer = b""
                while not answer.endswith(b"\0") and len(answer) < _MAX_ANSWER_BYTES:
                    received = connection.recv(_MAX_ANSWER_BYTES)
                    if not received:
                        break
                    answer += received
        except OSError as error:
            raise ScannerError(f"clamd cannot be asked: {error.strerror or 'it does not answer'}") from error
        return answer.rstrip(b"\0\n").decode("utf-8", "replace")

    def _connection(self) -> socket.socket:
        if self._url.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(_CONNECT_SECONDS)
            try:
                connection.connect(unquote(self._url.path))
            except OSError:
                connection.close()
                raise
            return connection
        address = (self._url.hostname or "", self._url.port or DEFAULT_PORT)
        return socket.create_connection(address, timeout=_CONNECT_SECONDS)
