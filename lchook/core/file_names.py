"""What files are called: names from outside, made safe for a header, an address and a disk. No I/O."""

from __future__ import annotations

import unicodedata

MAX_NAME_CHARACTERS = 120
_DEFAULT = "file"
# What a shell, a file system or a header gives a meaning to; both slashes among them.
_FORBIDDEN = frozenset('<>:"/\\|?*%;`$&')
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Names of devices under Windows, with whatever ending.
_DEVICES = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10))}
)


def clean_name(name: object) -> str:
    """The last part of a path, without control characters, marks that turn the direction of writing, and what has a meaning
    elsewhere; never empty, hidden or long. The ending is kept."""
    if not isinstance(name, str):
        return _DEFAULT
    last = name[-4 * MAX_NAME_CHARACTERS :].replace("\\", "/").rpartition("/")[2]
    # Cc, Cf, Co, Cs, Cn: control, format (bidi marks), private, surrogates, unassigned.
    plain = "".join(
        "_" if character in _FORBIDDEN else " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", last)
        if character.isspace() or not unicodedata.category(character).startswith("C")
    )
    plain = " ".join(plain.split()).strip(". ")
    if not plain:
        return _DEFAULT
    stem, dot, ending = plain.rpartition(".")
    if not dot or len(ending) > 10:
        stem, dot, ending = plain, "", ""
    if stem.partition(".")[0].lower() in _DEVICES:
        stem = f"_{stem}"
    return stem[: MAX_NAME_CHARACTERS - len(dot) - len(ending)].rstrip(". ") + dot + ending


def percent_encoded(text: str) -> str:
    """For a path's segment, and for RFC 8187."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def content_disposition(name: str, *, is_inline: bool) -> str:
    """The header's value (RFC 6266), the name in ASCII and as it is.

    :param name: a clean one.
    """
    plain = "".join(character if character.isascii() else "_" for character in name)
    return f"{'inline' if is_inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{percent_encoded(name)}"
