"""Peers that no DMS should be, but that a network has: a listener that does to each connection what a function says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def peer(serve: Callable[[socket.socket], None], *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Listen on a free port of 127.0.0.1; yields the address, such as "127.0.0.1:40001"."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if tls is None:
                serve(connection)
            else:
                with tls.wrap_socket(connection, server_side=True) as secured:
                    serve(secured)

    def accept() -> None:
        while True:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                connection.settimeout(10)
                if closing.is_set():
                    connection.close()
                    return
                connections.append(connection)
                threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    host, port = listener.getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        closing.set()
        # Closing the listener would not wake accept(); a connection does.
        socket.create_connection((host, port)).close()
        accepting.join(5)
        listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


def read_request(connection: socket.socket) -> bytes:
    """Head and body of one HTTP request; empty where the peer only connected."""
    read = b""
    while b"\r\n\r\n" not in read:
        piece = connection.recv(65536)
        if not piece:
            return read
        read += piece
    head, _, body = read.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
