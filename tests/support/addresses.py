"""Addresses that fail as addresses do. Linux has all of 127.0.0.0/8, so a name may have several on this machine."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def swallowing(address: str, port: int) -> Iterator[None]:
    """Packets to this address vanish: somebody listens there, accepts nobody, and the queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        for _ in range(10):
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex((address, port))
            if not select.select([], [connection], [], 0.3)[1]:
                yield
                return
        raise AssertionError(f"{address} still takes connections")


@contextmanager
def accepting(address: str, port: int, *, then_reset: bool = False) -> Iterator[None]:
    """Somebody accepts there, and then keeps silent, or resets."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if then_reset:
            # Inherited by what it accepts: closed, it resets.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        listener.bind((address, port))
        listener.listen(50)
        if then_reset:
            import threading

            def reset() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection = listener.accept()[0]
                        connection.recv(1)
                        connection.close()

            threading.Thread(target=reset, daemon=True).start()
            stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
        yield
