"""What stands between the engine and Socket.IO: a real server, and clients without connections."""

from __future__ import annotations

import io
import json
import queue
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from engineio.exceptions import EngineIOError, UnknownPacketError
from engineio.packet import NOOP, UPGRADE
from hypothesis import given
from hypothesis import strategies as st

from lchook.core.rate_limiter import RateLimiter
from lchook.transport.connections import Connections
from lchook.transport.engine_packets import ClientPacket
from lchook.transport.engine_socket import EngineSocket
from lchook.transport.guard import Guard
from lchook.transport.server import Server
from lchook.transport.strict_json import StrictJson


class World:
    """A Socket.IO server with a guard, engine sessions without connections, and a clock."""

    def __init__(self, **rates: float) -> None:
        self.now = 1000.0
        self.begun = 0
        self.guard = Guard(
            packet_rates=RateLimiter(rates.get("packets", 0), clock=self.clock),
            connection_rates=RateLimiter(rates.get("connections", 0), clock=self.clock),
            connect_timeout_seconds=30,
            refusal=lambda reason: ["serverError", reason],
            on_connection=self.count,
            clock=self.clock,
        )
        self.server = Server(self.guard, async_mode="threading", namespaces=["/"])
        self.server.eio.start_background_task = lambda target, *args, **options: target(*args, **options)
        self.connections = Connections(self.server)
        self.heard: list[Any] = []
        self.server.on("event", lambda sid, *args: self.heard.append(args))

    def clock(self) -> float:
        return self.now

    def count(self) -> None:
        self.begun += 1

    def open(self, *, join: bool = True, address: str = "192.0.2.1") -> EngineSocket:
        """An engine session, as the engine opens it."""
        session = EngineSocket(self.server.eio, f"session {len(self.server.eio.sockets)}")
        session.connected = True
        self.server.eio.sockets[session.sid] = session
        refusal = self.server.eio._trigger_event("connect", session.sid, {"REMOTE_ADDR": address}, run_async=False)
        assert refusal is None, refusal
        if join:
            self.send(session, "0")
            self.read(session)
        return session

    def send(self, session: EngineSocket, *packets: str | bytes) -> None:
        for packet in packets:
            self.server.eio._trigger_event("message", session.sid, packet, run_async=False)

    def read(self, session: EngineSocket) -> list[str]:
        """What the client was sent."""
        packets = []
        while True:
            try:
                packet = session.queue.get(block=False)
            except queue.Empty:
                return packets
            packets.append(packet.data if packet is not None else None)


@pytest.fixture
def one() -> World:
    return World()


@pytest.mark.parametrize(
    "text",
    ["NaN", "[1e999]", "-Infinity", "[" * 101 + "]" * 101, '{"a":' * 101 + "1" + "}" * 101, "7" * 5000, "", "{", "[1,]"],
)
def test_what_no_browser_could_read_again_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the JSON module's own
        StrictJson.loads(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=20))
def test_everything_else_is_read_as_it_was_written(value: object) -> None:
    assert StrictJson.loads(json.dumps(value)) == value
    assert StrictJson.loads("[" * 100 + "]" * 100) is not None


@given(
    st.text(max_size=30)
    | st.sampled_from(["2[", "0{", "1", "3", "51-["]).flatmap(lambda start: st.text().map(start.__add__))
)
def test_whatever_packet_comes_it_raises_nothing(packet: str) -> None:
    world = World()
    world.send(world.open(), packet)
    world.send(world.open(join=False), packet)


def test_what_is_no_socket_io_is_refused_in_words_with_an_acknowledgement_where_one_was_asked_for(one: World) -> None:
    session = one.open()
    one.send(session, '217["event",NaN]', "2[", b"\x00", '51-9["event",{"_placeholder":true,"num":0}]')
    words = [json.loads(packet[packet.index("[") :]) for packet in one.read(session)]
    assert [word[0] for word in words] == [
        "serverError",
        {"status": "rejected", "error": words[0][1]},
        "serverError",
        "serverError",
        "serverError",
        {"status": "rejected", "error": words[4][1]},
    ]
    assert "plain JSON" in words[0][1]
    assert "binary" in words[3][1]
    assert one.guard.counts["packets_refused"] == 4
    assert one.heard == []


def test_packets_beyond_the_rate_are_refused_in_words_and_acknowledgements_that_were_asked_for_are_not() -> None:
    world = World(packets=1)
    session = world.open()
    sid = world.server.manager.sid_from_eio_sid(session.sid, "/")
    acknowledged: list[Any] = []
    for _ in range(30):
        world.connections.emit(sid, '"?"', lambda *args: acknowledged.append(args))
    numbers = [int(packet.removeprefix("2").partition("[")[0]) for packet in world.read(session)]
    world.send(session, *(f"3{number}[]" for number in numbers))
    assert len(acknowledged) == 30
    # The join was the first of ten.
    world.send(session, *["43[]"] * 9)
    world.read(session)
    world.send(session, "399[]", '25["event"]')
    refusals = world.read(session)
    assert "too many messages: at most 1 a second" in refusals[0]
    assert refusals[-1].startswith("35[")
    world.now += 1.1
    world.send(session, '2["event"]')
    assert world.heard[-1:] == [()]


def test_connections_beyond_an_addresss_rate_are_refused_and_leave_nothing_behind() -> None:
    world = World(connections=1)
    for _ in range(10):
        world.open(join=False)
    session = EngineSocket(world.server.eio, "one too many")
    refusal = world.server.eio._trigger_event("connect", session.sid, {"REMOTE_ADDR": "192.0.2.1"}, run_async=False)
    assert "too many connections from your address" in refusal
    assert session.sid not in world.server.environ
    assert world.guard.counts["connections_too_many"] == 1
    world.open(address="192.0.2.2")


def test_each_connection_gets_the_clock_going(one: World) -> None:
    one.open(join=False)
    assert one.begun == 1


def test_who_has_not_joined_in_time_is_closed_and_who_has_is_not(one: World) -> None:
    joined, idle, left = one.open(), one.open(join=False), one.open()
    one.send(left, "1")
    one.now += 29
    one.guard.tick()
    assert not idle.closed
    one.now += 2
    one.guard.tick()
    assert (joined.closed, idle.closed, left.closed) == (False, True, True)
    assert one.guard.counts["never_connected"] == 2
    assert set(one.server.eio.sockets) == {joined.sid}


def test_who_does_not_read_is_closed_once(one: World) -> None:
    session = one.open()
    sid = one.server.manager.sid_from_eio_sid(session.sid, "/")
    one.send(session, *["x"] * 3_000)
    assert session.closed
    assert session.queue.qsize() < 2_010
    assert one.guard.counts["not_reading"] == 1
    assert one.connections.unsent(sid) == 0


def test_what_waits_for_a_client_is_counted_in_characters(one: World) -> None:
    session = one.open()
    sid = one.server.manager.sid_from_eio_sid(session.sid, "/")
    assert one.connections.unsent(sid) == 0
    one.server.emit("event", "x" * 10_000, to=sid)
    assert 10_000 < one.connections.unsent(sid) < 11_000
    assert one.connections.unsent("nobody") == 0


@given(st.text() | st.binary())
def test_an_engine_packet_that_cannot_be_decoded_is_one_of_unknown_type(encoded: str | bytes) -> None:
    packet = ClientPacket(encoded_packet=encoded)
    assert isinstance(packet.packet_type, int)


def test_an_upgrade_that_nobody_waits_for_is_not_answered(one: World) -> None:
    session = one.open()
    with pytest.raises(UnknownPacketError):
        session.receive(ClientPacket(UPGRADE))
    with pytest.raises(UnknownPacketError):
        session.receive(ClientPacket(NOOP))
    assert one.read(session) == []


@pytest.mark.parametrize("body", [b"\xff", b"d=", b"42[]\x1e" * 10_001, b"9", b"x", b"\x1e"])
def test_a_polling_request_that_is_not_readable_is_an_error_of_the_engines_own(one: World, body: bytes) -> None:
    session = one.open()
    environ = {"CONTENT_LENGTH": str(len(body)), "wsgi.input": SimpleNamespace(read=lambda length: body[:length])}
    with pytest.raises(EngineIOError):
        session.handle_post_request(environ)


def test_while_a_request_of_many_packets_is_handled_others_get_their_turn(one: World) -> None:
    session = one.open()
    turns: list[int] = []
    one.server.eio.sleep = lambda seconds: turns.append(len(one.heard))
    body = "\x1e".join(['42["event"]'] * 1_000).encode()
    session.handle_post_request({"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)})
    assert len(one.heard) == 1_000
    assert [later - earlier for earlier, later in pairwise([0, *turns])] == [50] * 20


def test_closing_a_session_waits_for_nobody_and_forgets_it(one: World) -> None:
    session = one.open()
    one.server.eio.disconnect(session.sid)
    assert session.closed
    assert session.sid not in one.server.eio.sockets
    assert session.sid not in one.server.environ
