"""Socket.IO's packets with JSON as browsers read it: no NaN, no number that overflows, and nothing nested too deeply."""

from __future__ import annotations

import json
from typing import Any

from socketio.packet import Packet

from lchook.core.messages import MAX_LEVELS, is_deeper_than, strict_json


class StrictJson:
    """A JSON module, as python-socketio wants one."""

    @staticmethod
    def loads(text: str) -> Any:
        value = strict_json(text)
        if text.count("{") + text.count("[") > MAX_LEVELS and is_deeper_than(MAX_LEVELS, value):
            raise ValueError("nested too deeply")
        return value

    dumps = staticmethod(json.dumps)
    JSONDecodeError = json.JSONDecodeError


class StrictPacket(Packet):  # type: ignore[misc]  # python-socketio has no types
    """A packet of our server's. Those of clients in the same process stay as they are."""

    json = StrictJson
