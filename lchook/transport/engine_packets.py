"""Engine.IO's packets, as clients send them: what cannot be read is a packet of an unknown type, and ends nothing.

python-engineio's (4.15.1) raises, which ends a WebSocket's task with a trace in the log and leaves the session behind.
"""

from __future__ import annotations

import urllib.parse
from typing import Any

from engineio.packet import Packet

_UNKNOWN_TYPE = 99
_SEPARATOR = "\x1e"
# Bounds the work of taking one request apart; its memory is bounded by its size. The engine's own bound is 16: a client that
# was offline sends more than that at once.
_MAX_PACKETS = 10_000
# Where one answer has more than these, python-engineio's clients hang up.
PACKETS_IN_A_POLL = 16


class ClientPacket(Packet):  # type: ignore[misc]  # python-engineio has no types
    """A packet that a client sent."""

    def decode(self, encoded_packet: Any) -> None:
        try:
            super().decode(encoded_packet)
        except (ValueError, RecursionError):
            self.packet_type, self.data = _UNKNOWN_TYPE, None


def packets_in(body: bytes) -> list[ClientPacket]:
    """The packets of a polling request.

    :raises ValueError: where it is not readable as a whole.
    """
    text = body.decode()
    if not text:
        return []
    if text.startswith("d="):
        # JSONP
        [text] = urllib.parse.parse_qs(text).get("d", [""])[:1]
        if not text:
            raise ValueError("there is no data")
    packets = text.split(_SEPARATOR)
    if len(packets) > _MAX_PACKETS:
        raise ValueError("there are too many packets")
    return [ClientPacket(encoded_packet=packet) for packet in packets]
