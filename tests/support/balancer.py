"""A plain TCP balancer that can also be a bad network: it cuts connections, and lets them die without a word."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_CONNECT_SECONDS = 1.0
_PIECE_BYTES = 65_536


@dataclass(eq=False)
class _Pair:
    """A connection through the balancer: the client's half and the server's."""

    client: socket.socket
    server: socket.socket
    frozen: bool = False

    def other(self, half: socket.socket) -> socket.socket:
        return self.server if half is self.client else self.client


class Balancer:
    """Gives each connection to one of the backends, at random; those that refuse are passed over."""

    def __init__(self, *, seed: int = 0) -> None:
        self.backends: list[int] = []
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._closing = False
        self._dead = False
        self._accepting = threading.Thread(target=self._accept, name="balancer accepts", daemon=True)
        self._forwarding = threading.Thread(target=self._forward, name="balancer forwards", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._accepting.start()
        self._forwarding.start()
        return self

    def cut(self, share: float) -> int:
        """Reset some connections, at both ends. :param share: of those that are open."""
        chosen = self._choose(share)
        for pair in chosen:
            self._drop(pair, reset=True)
        return len(chosen)

    def freeze(self, share: float) -> int:
        """Let some connections go dead: nothing is forwarded any more, and nobody is told."""
        chosen = self._choose(share)
        for pair in chosen:
            pair.frozen = True
            self._forget(pair)
        return len(chosen)

    def die(self) -> None:
        """All connections go dead, and those that clients begin from now on are dead."""
        with self._lock:
            self._dead = True
        self.freeze(1.0)

    def stop(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._accepting.join(5)
        self._forwarding.join(5)
        self._listener.close()
        for pair in list(self._pairs):
            self._drop(pair)
        self._selector.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _choose(self, share: float) -> list[_Pair]:
        with self._lock:
            alive = [pair for pair in self._pairs if not pair.frozen]
            return [pair for pair in alive if self._random.random() < share]

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if self._closing:
                client.close()
                return
            # A slow connect must not hold up the others.
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with self._lock:
            backends = self._random.sample(self.backends, len(self.backends))
        for port in backends:
            try:
                server = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_SECONDS)
            except OSError:
                continue
            for half in (client, server):
                half.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                half.settimeout(5)
            pair = _Pair(client, server)
            with self._lock:
                self._pairs.add(pair)
                if self._dead:
                    pair.frozen = True
                    return
                self._selector.register(client, selectors.EVENT_READ, pair)
                self._selector.register(server, selectors.EVENT_READ, pair)
            return
        client.close()

    def _forward(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.02):
                pair, half = key.data, key.fileobj
                assert isinstance(half, socket.socket)
                if pair.frozen or pair not in self._pairs:
                    continue
                try:
                    piece = half.recv(_PIECE_BYTES)
                    if piece:
                        pair.other(half).sendall(piece)
                except OSError:
                    piece = b""
                if not piece:
                    self._drop(pair)

    def _forget(self, pair: _Pair) -> None:
        with self._lock:
            for half in (pair.client, pair.server):
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(half)

    def _drop(self, pair: _Pair, *, reset: bool = False) -> None:
        self._forget(pair)
        with self._lock:
            self._pairs.discard(pair)
        for half in (pair.client, pair.server):
            with contextlib.suppress(OSError):
                if reset:
                    # A linger time of zero makes the close an RST.
                    half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                half.close()
