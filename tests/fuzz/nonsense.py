"""Inputs that are wrong, most of them only a little: JSON, packets, frames, payloads, requests. All from one seeded source.

Knows nothing of connections.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.security.attacker import HANDSHAKE, POLLING, WEBSOCKET, frame
from tests.support.hooks import text_body
from tests.support.jwts import mint, tampered
from tests.support.raw_socket_io import SEPARATOR

# JSON texts of values that hurt somebody somewhere, some of them no JSON.
ATOMS = [
    "null", "true", "false", "0", "-0", "-1", "17", "1.5", "1e308", "1e999", "-1e999", "1e-999", "NaN", "Infinity",
    "-Infinity", "9" * 30, "9" * 400, "9" * 5000, "01", "0x1", '""', '" "', '"x"', '"' + "x" * 300 + '"',
    '"' + "å" * 5000 + '"', '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\n\\r\\u001b[31m"', '"\u2028"', '"%s%n"',
    '"{0}"', '"__proto__"', '"anon-"', '"\\', '"', "'x'", "[]", "{}", "[[]]", "[null]", '[""]', "[" * 60 + "]" * 60,
    "[" * 150 + "]" * 150, "[" * 5000, '{"a":' * 200, '{"":""}', '{"a":1,"a":2}', '{"_placeholder":true,"num":0}',
    "undefined", "/**/", "", ",", ":", "\x00",
]  # fmt: skip
EVENTS = [
    "clientMessage",
    "serverMessage",
    "serverError",
    "connect",
    "disconnect",
    "connect_error",
    "message",
    "*",
    "",
    "x" * 300,
]
FIELDS = [
    "type",
    "customer_id",
    "customer_name",
    "message_id",
    "text",
    "postback",
    "attachments",
    "context_data",
    "token",
    "é",
]
TYPES = [
    "text",
    "typing_indicator",
    "customer_end_session",
    "menu",
    "carousel",
    "wait_time",
    "csr_end_session",
    "link_button",
]
CUSTOMERS = ["", "c", "anon-x", "c" * 256, "c" * 257, "\u2028", "å"]
HEADERS = [
    "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Origin", "Host", "Authorization",
    "Cookie", "X-Forwarded-For", "Content-Encoding", "Content-Type", "connection_id", "Sec-WebSocket-Key",
    "Sec-WebSocket-Version", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "User-Agent", "Accept-Encoding",
    "TE", "Range",
]  # fmt: skip
HEADER_VALUES = [
    "", "0", "1", "-1", "17", "99999999999999999999", "chunked", "gzip, chunked", "identity", "close", "keep-alive",
    "Upgrade", "websocket", "100-continue", "null", "*", "https://evil.example", "Bearer", "Bearer x.y.z",
    "Basic eDp5", "\xff\xfe", "\x00", "\x1b[31m", "x" * 9000, "permessage-deflate", "8", "13", ",,,", "%s",
]  # fmt: skip


class Nonsense:
    """Random inputs."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._numbers = 0

    # JSON

    def value(self, depth: int = 3) -> str:
        """A JSON text, or nearly."""
        pick = self._random.random()
        if depth == 0 or pick < 0.6:
            return self._random.choice(ATOMS)
        if pick < 0.8:
            return "[" + ",".join(self.value(depth - 1) for _ in range(self._random.randrange(4))) + "]"
        names = (json.dumps(self._random.choice([*FIELDS, *TYPES])) for _ in range(self._random.randrange(4)))
        return "{" + ",".join(f"{name}:{self.value(depth - 1)}" for name in names) + "}"

    def message(self) -> str:
        """A clientMessage with one or two fields that are not as they should be, or none."""
        self._numbers += 1
        good: dict[str, Any] = {
            "type": self._random.choice(TYPES),
            "customer_id": self._random.choice(CUSTOMERS),
            "customer_name": "Kim",
            "message_id": self._numbers,
            "text": ["Hello"],
        }
        fields = {name: json.dumps(value) for name, value in good.items()}
        for _ in range(self._random.randrange(3)):
            fields[self._random.choice(FIELDS)] = self.value()
        return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"

    def mutated(self, text: str) -> str:
        """The text with a few characters changed, cut, or doubled; or as it is."""
        for _ in range(self._random.choice([0, 0, 1, 1, 2, 5])):
            at, length = self._random.randrange(len(text) + 1), self._random.randrange(1, 9)
            how = self._random.randrange(4)
            if how == 0:
                text = text[:at] + text[at + length :]
            elif how == 1:
                text = text[:at] + text[at : at + length] * 2 + text[at + length :]
            elif how == 2:
                text = text[:at] + self._random.choice('"[]{}:,\\-0129/\x00\x1e\x7f\u00e9\u2028\U0001f600 ') + text[at + 1 :]
            else:
                text = text[:at] + self._random.choice(ATOMS) + text[at:]
        return text

    # Packets

    def event(self) -> str:
        """A Socket.IO event packet."""
        identifier = self._random.choice(["", "", "1", "17", "9" * 15, "9" * 101])
        name = json.dumps(self._random.choice(EVENTS)) if self._random.random() < 0.95 else self.value()
        argument = self.message() if self._random.random() < 0.7 else self.value()
        more = "," + self.value() if self._random.random() < 0.1 else ""
        return self.mutated(f"42{identifier}[{name},{argument}{more}]")

    def packet(self) -> str:
        """Any Engine.IO packet."""
        kind = self._random.choice("0123456789bx")
        if kind != "4":
            return kind + self._random.choice(["", "probe", "x", '{"sid":"x"}', "AAAA", "!", "\ud7ff"])
        inner = self._random.choice("0123456789-")
        attachments = self._random.choice(["", "", "", "1-", "0-", "99-", "9999999999-", "99999999999-", "-"])
        namespace = self._random.choice(["", "", "", "/,", "/x,", "/x?token=1,", "//,", "/" + "x" * 500 + ","])
        identifier = self._random.choice(["", "", "0", "1", "9" * 99, "\u0662", "\u00b2"])
        return self.mutated(f"4{inner}{attachments}{namespace}{identifier}{self.value()}")

    def payload(self) -> bytes:
        """The body of a polling request."""
        packets = [self.event() if self._random.random() < 0.5 else self.packet() for _ in range(self._random.randrange(6))]
        body = SEPARATOR.join(packets).encode("utf-8", "surrogatepass")
        how = self._random.randrange(10)
        if how == 0:
            return b"d=" + body
        if how == 1:
            return body + b"\xff\xfe"
        return body * 50 if how == 2 else body

    # Frames

    def frames(self) -> bytes:
        """A few WebSocket frames."""
        return b"".join(self._frame() for _ in range(self._random.randrange(1, 4)))

    def _frame(self) -> bytes:
        payload = self._random.choice([self.event, self.packet])().encode("utf-8", "surrogatepass")
        if self._random.random() < 0.3:
            payload = self._random.randbytes(self._random.choice([0, 1, 2, 125, 126, 200]))
        usual = self._random.random() < 0.5
        claims = [None, None, None, 0, 125, 126, 65535, 65536, 10**6, 10**6 + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
        whole = frame(
            payload,
            opcode=1 if usual else self._random.randrange(16),
            final=usual or self._random.random() < 0.5,
            reserved=0 if usual or self._random.random() < 0.8 else self._random.randrange(8),
            masked=usual or self._random.random() < 0.8,
            claimed_length=None if usual else self._random.choice(claims),
        )
        return whole if self._random.random() < 0.9 else whole[: self._random.randrange(len(whole) + 1)]

    # HTTP

    def webhook(self) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a webhook; half of them signed as they should be."""
        body = text_body(self._random.choice(CUSTOMERS), type=self._random.choice(TYPES))
        fields = {name: json.dumps(value) for name, value in body.items()}
        for _ in range(self._random.randrange(4)):
            fields[self._random.choice(FIELDS)] = self.value()
        text = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in fields.items()) + "}"
        token = self._random.choice(
            [mint, mint, mint, lambda: mint(secret="x"), lambda: mint(algorithm="none"), lambda: tampered(mint(), iss=17),
             lambda: mint(iat="x"), lambda: mint(iat=-1e300), lambda: self.mutated(mint()), lambda: "", lambda: "x.y"]
        )()  # fmt: skip
        raw = self.mutated(text).encode("utf-8", "surrogatepass")
        return raw, {"Authorization": "Bearer " + token.encode("ascii", "replace").decode()}

    def request(self) -> bytes:
        """An HTTP request, letter by letter."""
        method = self._random.choice(["GET", "POST", "OPTIONS", "HEAD", "PUT", "TRACE", "get", "\x1b[31m", ""])
        path = self._random.choice(
            [
                "/webhook",
                "/",
                "*",
                POLLING,
                WEBSOCKET,
                POLLING + "&sid=x",
                "/%00",
                "/%ff",
                "/../..",
                "//",
                "http://x/",
                "/metrics",
            ]
        )
        version = self._random.choice(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.99999999999", "x", ""])
        headers = {"Host": "hook", **(HANDSHAKE if self._random.random() < 0.3 else {})}
        for _ in range(self._random.randrange(4)):
            headers[self._random.choice(HEADERS)] = self._random.choice(HEADER_VALUES)
        body = self._random.choice(["", "{}", "2\r\n{}\r\n0\r\n\r\n", "ffffffffff\r\n", "\x00" * 50, self.value()])
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        text = f"{method} {path} {version}\r\n{lines}\r\n{body}"
        return self.mutated(text).encode("latin-1", "replace")
