"""Bodies of requests as HTTP says that they are coded: Content-Encoding, and the charset of Content-Type. No I/O.

What comes out of a body is bounded, whatever goes in. Knows nothing of what bodies say.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib

# What `Accept-Encoding` of a refusal names.
ACCEPTED_CODINGS = "gzip, deflate"
# One gateway may compress what another has compressed. A gzip file may have several parts, each of which costs some time.
_MAX_CODINGS = 2
_MAX_PARTS = 16
_GZIP, _ZLIB, _RAW = 31, 15, -15

_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([^"'\s;,]+)""", re.IGNORECASE)
# JSON in Unicode tells by its first bytes which of these it is in.
_UNICODE = re.compile(r"utf[-_]?(8|16|32)([-_]?(le|be))?([-_]sig)?|unicode", re.IGNORECASE)
# As Python names them. Of its codecs many are no charsets, and some take very long.
_KNOWN_CHARSETS = re.compile(
    r"ascii|iso8859-\d+|cp\d{3,4}|mac-roman|koi8-[rtu]|shift_jis|euc_jp|iso2022_jp|euc_kr|gb2312|gbk|gb18030|big5"
)


class BodyError(Exception):
    """The body cannot be decoded. The text says why, `status` is the HTTP status that says it too."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def decompressed(body: bytes, content_encoding: str, *, max_bytes: int) -> bytes:
    """What was compressed.

    :param content_encoding: the header.
    :raises BodyError: 415 for a coding that is not known here, 400 for what is not coded so, 413 for more than `max_bytes`.
    """
    codings = [part.strip().lower() for part in content_encoding.split(",")]
    codings = [name for name in codings if name not in ("", "identity")]
    if len(codings) > _MAX_CODINGS:
        raise BodyError(415, f"the body is compressed more than {_MAX_CODINGS} times: once would be right")
    for coding in reversed(codings):
        if coding in ("gzip", "x-gzip"):
            body = _inflated(body, _GZIP, max_bytes)
        elif coding == "deflate":
            # By the standard it has zlib's frame. Some leave it out.
            has_frame = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0
            body = _inflated(body, _ZLIB if has_frame else _RAW, max_bytes)
        else:
            raise BodyError(415, f"the Content-Encoding is not known here: {ACCEPTED_CODINGS}, or none, would be right")
    return body


def text_of(body: bytes, content_type: str | None = None) -> str:
    """The text that these bytes are, without a byte order mark: in the charset that `content_type` names, else in Unicode.

    :raises UnicodeError: where they are not. :raises BodyError: 415 where they are not, and the charset is not known here.
    """
    named = _CHARSET.search(content_type) if content_type else None
    if named is None or _UNICODE.fullmatch(named[1]):
        return _unicode(body)
    try:
        codec = codecs.lookup(named[1]).name if named[1].isascii() else ""
    except (LookupError, ValueError):
        codec = ""
    if _KNOWN_CHARSETS.fullmatch(codec) and not body.startswith(codecs.BOM_UTF8):
        return body.decode(codec)
    try:
        return _unicode(body)
    except UnicodeError as error:
        raise BodyError(415, "the charset in Content-Type is not known here: UTF-8 would be right") from error


def _unicode(body: bytes) -> str:
    # Nearly all are UTF-8 without a mark. In the others what follows the bracket is a zero.
    if body[:1] == b"{" and body[1:2] != b"\0":
        return body.decode()
    return body.decode(json.detect_encoding(body)).removeprefix("\ufeff")


def _inflated(body: bytes, window_bits: int, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    left, rest = max_bytes, body
    for _ in range(_MAX_PARTS):
        decoder = zlib.decompressobj(window_bits)
        try:
            piece = decoder.decompress(rest, left + 1)
        except zlib.error as error:
            raise BodyError(400, "the body is not compressed as its Content-Encoding says") from error
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise BodyError(413, f"the body is larger than {max_bytes} bytes when decompressed")
        if not decoder.eof:
            raise BodyError(400, "the compressed body breaks off")
        # What pads it, as on tapes, is nothing.
        rest = decoder.unused_data.strip(b"\0") if window_bits != _GZIP else decoder.unused_data.lstrip(b"\0")
        if not rest:
            return b"".join(pieces)
        if window_bits != _GZIP:
            break
    raise BodyError(400, "behind the compressed body is more than there should be")
