"""Files, both ways, through LCH as it runs: what a customer sends is fetched by DMS, what an agent sends outlives its link."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.clients import PythonClient
from tests.support.hooks import Hook, running_hook
from tests.support.peers import peer, read_request
from tests.support.servers import flask_command, free_port, gunicorn_command
from tests.support.waiting import wait_until

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
ORIGIN = "https://chat.example.com"


class Source:
    """A host of attachments, on an address that ATTACHMENT_HOSTS names in numbers."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.asked: list[str] = []
        # Set: answers may go out.
        self.open = threading.Event()
        self.open.set()
        self.url = ""

    def serve(self, connection: socket.socket) -> None:
        head = read_request(connection)
        if not head:
            return
        target = head.split(b" ")[1].decode()
        self.asked.append(target)
        self.open.wait(10)
        answer = self.answers.get(target, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        connection.sendall(answer)

    def has(self, target: str, content: bytes) -> str:
        self.answers[target] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content
        return self.url + target


@contextmanager
def source() -> Iterator[Source]:
    it = Source()
    with peer(it.serve) as address:
        it.url = f"http://{address}"
        yield it


@contextmanager
def hook_with_files(folder: Path, command: Any = gunicorn_command, **settings: str) -> Iterator[tuple[Hook, Source]]:
    # Its own address is in its links.
    port = free_port()
    with source() as agents:
        usual = {"FILES_URL": f"file://{folder}", "ATTACHMENT_HOSTS": agents.url, "ALLOWED_ORIGIN": ORIGIN}

        def on_port(_: int, *arguments: str) -> list[str]:
            return command(port, *arguments)

        with running_hook(command, **{**usual, "PUBLIC_URL": f"http://127.0.0.1:{port}", **settings}) as hook:
            hook.public = hook.url  # type: ignore[attr-defined]
            yield hook, agents
