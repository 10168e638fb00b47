"""Peers for `peers.peer` that answer HTTP requests without looking at them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from email.utils import formatdate


def answering(head: bytes) -> Callable[[socket.socket], None]:
    """A peer that answers every request on a connection of its own with this."""

    def serve(connection: socket.socket) -> None:
        read = b""
        while b"\r\n\r\n" not in read:
            piece = connection.recv(65536)
            if not piece:
                return
            read += piece
        connection.sendall(head)

    return serve


def read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def dated(offset_seconds: float = 0.0) -> Callable[[socket.socket], None]:
    date = formatdate(time.time() + offset_seconds, usegmt=True)
    return answering(f"HTTP/1.1 401 Unauthorized\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
