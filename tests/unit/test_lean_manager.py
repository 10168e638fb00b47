"""The list of connected sockets, with a real python-socketio server around it."""

from __future__ import annotations

from typing import Any

import pytest
import socketio

from lchook.transport.lean_manager import LeanManager


@pytest.fixture
def manager() -> LeanManager:
    manager = LeanManager()
    socketio.Server(async_mode="threading", client_manager=manager)
    return manager


@pytest.mark.parametrize("number", [0, None, 7])
@pytest.mark.parametrize("data", [None, [], ["x"], {}])
def test_an_acknowledgement_of_nothing_changes_nothing(manager: LeanManager, number: int | None, data: Any) -> None:
    sid = manager.pre_connect("engine", "/")
    heard: list[tuple[Any, ...]] = []
    first = manager._generate_ack_id(sid, lambda *args: heard.append(args))

    manager.trigger_callback(sid, number, data)
    manager.trigger_callback("nobody", number, data)

    second = manager._generate_ack_id(sid, lambda *args: heard.append(args))
    manager.trigger_callback(sid, first, ["a"])
    manager.trigger_callback(sid, first, ["again"])
    manager.trigger_callback(sid, second, None)
    assert heard == [("a",), ()]


def test_a_socket_that_disconnects_leaves_nothing_behind_and_others_stay(manager: LeanManager) -> None:
    gone, stays = manager.pre_connect("one", "/"), manager.pre_connect("two", "/")
    for sid in (gone, stays):
        manager.connect(sid, "/")
        manager._generate_ack_id(sid, print)

    manager.disconnect(gone, "/")

    assert list(manager.get_participants("/", gone)) == []
    assert list(manager.get_participants("/", stays)) == [(stays, "two")]
    assert set(manager.callbacks) == {stays}
    assert set(manager._number_of) == {stays}
    assert not manager.is_connected(gone, "/")
    assert manager.is_connected(stays, "/")


def test_which_of_two_sockets_is_older_is_told_while_both_are_connected(manager: LeanManager) -> None:
    first, second = manager.pre_connect("one", "/"), manager.pre_connect("two", "/")
    assert not manager.is_older(first, second, "/")
    manager.connect(second, "/")
    manager.connect(first, "/")
    assert manager.is_older(first, second, "/")
    assert not manager.is_older(second, first, "/")
    assert not manager.is_older(first, first, "/")
    assert not manager.is_older(first, "nobody", "/")
    manager.pre_disconnect(first, "/")
    assert not manager.is_older(first, second, "/")
