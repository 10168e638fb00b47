"""What a file is, by its first bytes. No I/O.

A name and a declared type say what somebody wants it to be. A type is recognised only at the file's very beginning: what
begins as one thing and goes on as another is served as the first, and browsers are told not to look further.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# So many bytes of a file tell its type.
HEAD_BYTES = 8 * 1024
UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FileType:
    """`mime`: what it is served as. `is_inline`: a browser may show it by itself, as nothing in it can run. `is_accepted`:
    customers may send it. `says`: what it is in words, where they may not."""

    mime: str
    is_inline: bool = False
    is_accepted: bool = True
    says: str = ""


# Offset, bytes, type. Pictures that are shown by themselves have no scripts and no links.
_SIGNATURES: tuple[tuple[int, bytes, FileType], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", FileType("image/png", is_inline=True)),
    (0, b"\xff\xd8\xff", FileType("image/jpeg", is_inline=True)),
    (0, b"GIF87a", FileType("image/gif", is_inline=True)),
    (0, b"GIF89a", FileType("image/gif", is_inline=True)),
    (0, b"BM", FileType("image/bmp")),
    (0, b"II*\0", FileType("image/tiff")),
    (0, b"MM\0*", FileType("image/tiff")),
    (0, b"%PDF-", FileType("application/pdf")),
    (0, b"ID3", FileType("audio/mpeg")),
    (0, b"OggS", FileType("application/ogg")),
    (0, b"fLaC", FileType("audio/flac")),
    (0, b"#!AMR", FileType("audio/amr")),
    (0, b"\x1aE\xdf\xa3", FileType("video/webm")),
    (0, b"{\\rtf", FileType("application/rtf")),
    # Office files of before 2007, and Outlook's messages.
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType("application/x-ole-storage")),
    (0, b"MZ", FileType(UNKNOWN, is_accepted=False, says="a program")),
    (0, b"\x7fELF", FileType(UNKNOWN, is_accepted=False, says="a program")),
    (0, b"\xca\xfe\xba\xbe", FileType(UNKNOWN, is_accepted=False, says="a program")),
    (0, b"#!", FileType("text/plain; charset=utf-8", is_accepted=False, says="a script")),
)
_RIFF = {
    b"WEBP": FileType("image/webp", is_inline=True),
    b"WAVE": FileType("audio/wav"),
    b"AVI ": FileType("video/x-msvideo"),
}
# The brand that an ISO media file (`ftyp`) names first.
_BRANDS = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"avif": "image/avif",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
_OFFICE = {
    b"word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_MPEG = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")
_OPEN_DOCUMENT = re.compile(rb"mimetype(application/vnd\.oasis\.opendocument\.[a-z]{1,20})")
# A browser that looks for itself takes for HTML or XML what begins with one of these, after white space and comments.
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?[\s\0]*<(?:[!?/]|[a-z])", re.IGNORECASE)
# The first element, after declarations and comments.
_FIRST_ELEMENT = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s|<\?[^>]*>|<!--.*?-->|<!doctype[^>\[]*>)*<(?:\w+:)?(\w+)", re.IGNORECASE | re.DOTALL
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

_SVG_TYPE = FileType("image/svg+xml", is_accepted=False, says="a drawing that may hold scripts (SVG)")
_MARKUP_TYPE = FileType(UNKNOWN, is_accepted=False, says="a web page or XML")
_JAR = FileType(UNKNOWN, is_accepted=False, says="a program (Java)")
_TEXT = FileType("text/plain; charset=utf-8")
_OTHER = FileType(UNKNOWN, is_accepted=False, says="of no type that is known here")


def sniff(head: bytes) -> FileType:
    """What a file is.

    :param head: its first `HEAD_BYTES`, or all of it.
    """
    for offset, signature, found in _SIGNATURES:
        if head.startswith(signature, offset):
            return found
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], _OTHER)
    if head[4:8] == b"ftyp":
        return FileType(_BRANDS.get(head[8:12], "video/mp4"))
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip(head)
    if _MPEG.match(head):
        return FileType("audio/mpeg")
    if _MARKUP.match(head):
        element = _FIRST_ELEMENT.match(head)
        return _SVG_TYPE if element and element[1].lower() == b"svg" else _MARKUP_TYPE
    return _TEXT if head and _is_text(head) else _OTHER


def _zip(head: bytes) -> FileType:
    if b"META-INF/MANIFEST.MF" in head or b"AndroidManifest.xml" in head:
        return _JAR
    open_document = _OPEN_DOCUMENT.search(head[30:130])
    if open_document:
        return FileType(open_document[1].decode())
    if b"[Content_Types].xml" in head or b"_rels/.rels" in head:
        for part, mime in _OFFICE.items():
            if part in head:
                return FileType(mime)
    return FileType("application/zip")


def _is_text(head: bytes) -> bool:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # UTF-16 would hide what it says.
        return False
    if _CONTROL.search(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may have been cut.
        return len(head) >= HEAD_BYTES and error.start >= len(head) - 3
    return True
