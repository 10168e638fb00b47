"""Acknowledgements that clients owe."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lchook.engine import acknowledgements


def test_each_is_taken_once_in_any_order_whatever_the_client_says_with_it() -> None:
    socket, heard = SimpleNamespace(), []
    first = acknowledgements.ask_for(socket, lambda: heard.append("first"))
    second = acknowledgements.ask_for(socket, lambda: heard.append("second"))

    assert acknowledgements.take(socket, f"3{second}[]")
    assert acknowledgements.take(socket, f'3{first}["thanks",{{}}]')
    assert heard == ["second", "first"]
    assert not acknowledgements.take(socket, f"3{first}[]")
    assert heard == ["second", "first"]


def test_one_client_cannot_acknowledge_for_another() -> None:
    one, other, heard = SimpleNamespace(), SimpleNamespace(), []
    number = acknowledgements.ask_for(one, lambda: heard.append("one"))
    acknowledgements.ask_for(other, lambda: heard.append("other"))

    assert not acknowledgements.take(other, f"3{number}[]")
    assert heard == []


@pytest.mark.parametrize("packet", ["30[]", "3[]", "31", '2["event"]', "3/console,1[]", "39999999999999999[]", "3-1[]", ""])
def test_what_is_not_owed_is_not_taken(packet: str) -> None:
    socket, heard = SimpleNamespace(), []
    acknowledgements.ask_for(socket, lambda: heard.append("it"))

    assert not acknowledgements.take(socket, packet)
    assert not acknowledgements.take(SimpleNamespace(), packet)
    assert not acknowledgements.take(None, packet)
    assert heard == []
