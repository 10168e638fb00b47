"""The bytes that browsers, DMS and the hooks exchange, built and taken apart as cheaply as Python can. No I/O.

A message under way carries its number in its text, between two `#`: enough to find it again with one search.
"""

from __future__ import annotations

import json

TEXT, CLOSE = 1, 8
# WebSocket's PING and PONG have opcodes of their own; Engine.IO's are texts.
PING, PROBE_ANSWER, UPGRADE = b"2", b"3probe", b"5"

ORIGIN = "https://chat.example.com"
_BROWSER = (
    f"Origin: {ORIGIN}\r\nReferer: {ORIGIN}/\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Safari/537.36\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: sv-SE,sv;q=0.9,en;q=0.8\r\n"
    "Cache-Control: no-cache\r\nPragma: no-cache\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Site: cross-site\r\n"
)


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame as clients send it. Its mask is zero, which costs us nothing and the server as much as any other."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def take_frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """The whole frames (opcode, payload) at the start of what a server sent. They are taken out of the buffer."""
    frames, at, end = [], 0, len(buffer)
    while end - at >= 2:
        length, start = buffer[at + 1] & 0x7F, at + 2
        if length == 126:
            start += 2
        elif length == 127:
            start += 8
        if start > end:
            break
        if start > at + 2:
            length = int.from_bytes(buffer[at + 2 : start], "big")
        if start + length > end:
            break
        frames.append((buffer[at] & 0x0F, bytes(buffer[start : start + length])))
        at = start + length
    del buffer[:at]
    return frames


def take_http(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """A whole HTTP message (head, body) at the start of the buffer, taken out of it; `None` as long as it is not whole.

    Bodies have a Content-Length or are empty: none of the peers here sends them in chunks.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).lower()
    at, length = head.find(b"\r\ncontent-length:"), 0
    if at >= 0:
        stop = head.find(b"\r\n", at + 2)
        length = int(head[at + 17 : stop if stop > 0 else len(head)])
    if len(buffer) < end + 4 + length:
        return None
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return head, body


def number_in(data: bytes) -> int:
    """The number that a message carries; 0 if it carries none."""
    start = data.find(b"#") + 1
    return int(data[start : data.find(b"#", start)]) if start else 0


def customer(index: int) -> str:
    return f"customer-{index:06}"


def client_message(index: int, number: int) -> bytes:
    """What LCC sends for a typed line, as a frame. It asks for an acknowledgement, as LCC does."""
    # LCC's message_id is Date.now().
    return client_frame(
        b'42%d["clientMessage",{"type":"text","customer_id":"customer-%06d","customer_name":"Kim Andersson",'
        b'"message_id":%d,"text":["I have a question about invoice #%d#, please"]}]'
        % (number, index, 1_750_000_000_000 + number, number)
    )


def webhook(index: int, number: int, authorization: str) -> bytes:
    """DMS's post of an agent's line, whole."""
    body = (
        b'{"type":"text","customer_id":"customer-%06d","message_id":"5f0c1d3e-7a52-4f1b-9c7e-%012x",'
        b'"csr_name":"Robin Berg","author":"csr","text":["Thank you, I am looking at invoice #%d# for you now."]}'
        % (index, number, number)
    )
    head = (
        "POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Apache-HttpClient/4.5.13 (Java/11)\r\n"
        f"Accept: */*\r\nContent-Type: application/json\r\nconnection_id: benchmark\r\nAuthorization: {authorization}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def polling_request(method: str, sid: str = "", body: str = "") -> bytes:
    """A browser's polling request."""
    target = "/socket.io/?EIO=4&transport=polling&t=PkV1nBc" + (f"&sid={sid}" if sid else "")
    content = f"Content-type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n" if method == "POST" else ""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nAccept: */*\r\n{content}{_BROWSER}\r\n"
    )
    return (head + body).encode()


def websocket_request(sid: str = "") -> bytes:
    """A browser's upgrade request: of a polling connection, or of none."""
    target = "/socket.io/?EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
    return (
        f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n{_BROWSER}\r\n"
    ).encode()


def sid_in(packet: bytes) -> str:
    """The session's id in an Engine.IO open packet."""
    return str(json.loads(packet[1:])["sid"])
