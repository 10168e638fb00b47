"""The name service's memory: what is believed for how long, and in which order addresses are tried."""

from __future__ import annotations

import errno
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from lchook.dms.name_service import FRESH_SECONDS, NameService

V4, V6 = socket.AF_INET, socket.AF_INET6


def info(address: str) -> tuple[Any, ...]:
    return (V6 if ":" in address else V4, socket.SOCK_STREAM, 6, "", (address, 80))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [1000.0]
    monkeypatch.setattr("lchook.dms.name_service.time", SimpleNamespace(monotonic=lambda: at[0]))
    return at


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the name service tells; an exception to fail."""
    found: list[Any] = []

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if found and isinstance(found[0], Exception):
            raise found[0]
        return list(found)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


def hosts(names: NameService) -> list[str]:
    return [found[4][0] for found in names.addresses("dms.test", 80, within_seconds=2)]


def test_families_take_turns_and_nothing_is_tried_twice(told: list[Any], now: list[float]) -> None:
    told[:] = map(info, ["2001:db8::1", "2001:db8::2", "2001:db8::1", "192.0.2.1", "192.0.2.2"])

    assert hosts(NameService()) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]


def test_what_failed_is_tried_last_for_a_minute_and_then_as_before(
    told: list[Any], now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    names = NameService()
    told[:] = map(info, ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    assert hosts(names)[0] == "192.0.2.1"
    for _ in range(3):
        names.answered("dms.test", told[1], [(told[0], None)])
        assert hosts(names) == ["192.0.2.2", "192.0.2.3", "192.0.2.1"]
        now[0] += 61
        assert hosts(names)[0] == "192.0.2.1"
    # Once, not each minute.
    assert caplog.text.count("an address fails, another one works host='dms.test' address='192.0.2.1'") == 1
    names.answered("dms.test", told[0], [])
    now[0] += 200
    names.answered("dms.test", told[1], [(told[0], TimeoutError())])
    assert caplog.text.count("an address fails") == 2


def test_no_way_to_ipv6_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    unreachable = OSError(errno.ENETUNREACH, "")
    NameService().answered("dms.test", info("192.0.2.1"), [(info("2001:db8::1"), unreachable)])
    assert caplog.text == ""


def test_what_it_told_before_counts_for_a_day_and_not_longer(
    told: list[Any], now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    names = NameService()
    told[:] = [info("192.0.2.1")]
    assert hosts(names) == ["192.0.2.1"]
    told[:] = [socket.gaierror(socket.EAI_AGAIN, "no answer")]
    for _ in range(5):
        now[0] += FRESH_SECONDS + 1
        assert hosts(names) == ["192.0.2.1"]
    assert caplog.text.count("no answer of the name service") == 1
    now[0] += 90_000
    with pytest.raises(OSError, match="does not resolve"):
        hosts(names)
    told[:] = [info("192.0.2.9")]
    assert hosts(names) == ["192.0.2.9"]


def test_a_name_that_nobody_could_have_does_not_resolve(now: list[float]) -> None:
    with pytest.raises(OSError, match="does not resolve"):
        NameService().addresses("a" * 70 + ".test", 80, within_seconds=2)
