"""The adapter's connections: which address they go to. How it reads answers and failures: tests/app/test_dms_peers.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from lchook.dms.connection_pool import NotSentError, PooledAdapter
from lchook.dms.name_service import FRESH_SECONDS
from tests.support.peers import peer, read_request
from tests.support.servers import free_port

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def adapter() -> Iterator[PooledAdapter]:
    it = PooledAdapter()
    yield it
    it.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts whose addresses were asked for. Each has a first address where nobody listens."""
    hosts: list[str] = []
    ask, nobody = socket.getaddrinfo, ("127.0.0.1", free_port())

    def getaddrinfo(host: str, *args: Any, **options: Any) -> list[Any]:
        hosts.append(host)
        found = ask("127.0.0.1", *args, **options)
        return [(*found[0][:4], nobody), *found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return hosts


def post(adapter: PooledAdapter, address: str) -> int:
    request = requests.Request("POST", f"http://{address}/", data=b"{}").prepare()
    return adapter.send(request, timeout=(2.0, 2.0)).status_code


def serve(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(ANSWER)


def test_the_next_address_is_tried_and_all_are_believed_for_a_while(
    adapter: PooledAdapter, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("lchook.dms.name_service.time", SimpleNamespace(monotonic=lambda: now[0]))
    with peer(serve) as address:
        port = address.rpartition(":")[2]
        assert [post(adapter, f"dms.example:{port}") for _ in range(3)] == [200, 200, 200]
        assert asked == ["dms.example"]
        now[0] += FRESH_SECONDS
        assert post(adapter, f"dms.example:{port}") == 200
        assert asked == ["dms.example"] * 2


def test_where_none_of_its_addresses_answers_a_host_is_asked_for_anew(adapter: PooledAdapter, asked: list[str]) -> None:
    address = f"dms.example:{free_port()}"
    for _ in range(2):
        with pytest.raises(NotSentError):
            post(adapter, address)

    assert asked == ["dms.example"] * 2


def test_a_host_without_an_address_is_not_reached(adapter: PooledAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [])
    with pytest.raises(NotSentError):
        post(adapter, "dms.example:1")
