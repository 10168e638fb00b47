"""Acknowledgements that clients are to send."""

from __future__ import annotations

import pytest

from lchook.transport.pending_acks import PendingAcks


def test_each_is_resolved_once_in_any_order_whatever_the_client_says_with_it() -> None:
    acks, heard = PendingAcks(), []
    first = acks.register(lambda: heard.append("first"))
    second = acks.register(lambda: heard.append("second"))

    assert acks.resolve(f"3{second}[]")
    assert acks.resolve(f'3{first}["thanks",{{}}]')
    assert heard == ["second", "first"]
    assert not acks.resolve(f"3{first}[]")
    assert heard == ["second", "first"]


def test_one_client_cannot_acknowledge_for_another() -> None:
    one, other, heard = PendingAcks(), PendingAcks(), []
    number = one.register(lambda: heard.append("one"))
    other.register(lambda: heard.append("other"))

    assert not other.resolve(f"3{number}[]")
    assert heard == []


@pytest.mark.parametrize("packet", ["30[]", "3[]", "31", '2["event"]', "3/console,1[]", "39999999999999999[]", "3-1[]", ""])
def test_what_is_not_awaited_is_not_resolved(packet: str) -> None:
    acks, heard = PendingAcks(), []
    acks.register(lambda: heard.append("it"))

    assert not acks.resolve(packet)
    assert not PendingAcks().resolve(packet)
    assert heard == []
