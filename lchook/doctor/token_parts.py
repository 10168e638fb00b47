"""Taking a token apart: its three parts, and which secret its signature fits. No checks of what it says."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from config import Settings

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def bare(text: str) -> str:
    """The token without what is often copied along."""
    token = text.strip().strip("\"'")
    name, colon, rest = token.partition(":")
    if colon and name.strip().lower() == "authorization":
        token = rest.strip()
    scheme, _, rest = token.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else token


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Header, claims and signature.

    :raises ValueError: in words.
    """
    if not token:
        raise ValueError("there is no token")
    pieces = token.split(".")
    if len(pieces) != 3:
        raise ValueError(f"it has {len(pieces)} parts with dots between them, and a signed JWT has 3")
    decoded = []
    for piece, name in zip(pieces, ("header", "claims", "signature"), strict=True):
        try:
            decoded.append(base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"its {name} part is not base64url: cut off, or with something foreign in it") from error
    objects = []
    for raw, name in zip(decoded[:2], ("header", "claims"), strict=True):
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its {name} part is no JSON") from error
        if not isinstance(value, dict):
            raise ValueError(f"its {name} part is no JSON object")
        objects.append(value)
    return objects[0], objects[1], decoded[2]


def fitting_secret(token: str, signature: bytes, algorithm: str, settings: Settings) -> str | None:
    """The name of the secret that the signature fits, with what was done to it."""
    signed = token.rpartition(".")[0].encode()
    for name in ("JWT_SECRET", "JWT_SECRET_PREVIOUS", "CUSTOMER_TOKEN_SECRET", "CUSTOMER_TOKEN_SECRET_PREVIOUS"):
        secret: str = getattr(settings, name.lower())
        for change, key in _variants(secret) if secret else ():
            digest = hmac.new(key, signed, _HASHES.get(algorithm, hashlib.sha256)).digest()
            if hmac.compare_digest(digest, signature):
                return f"{name}{change}"
    return None


def _variants(secret: str) -> Iterator[tuple[str, bytes]]:
    """The secret as it is, and as it is often mistaken."""
    yield "", secret.encode()
    for ending in ("\n", "\r\n", " "):
        yield " with a line break or space at its end", (secret + ending).encode()
    for mark in ('"', "'"):
        yield " with quotation marks around it", f"{mark}{secret}{mark}".encode()
    if secret[0] == secret[-1] and secret[0] in "\"'":
        yield " without the quotation marks around it", secret[1:-1].encode()
    yield " in base64", base64.b64encode(secret.encode())
    with contextlib.suppress(binascii.Error, ValueError):
        yield " decoded as base64", base64.b64decode(secret + "=" * (-len(secret) % 4), altchars=b"-_", validate=True)
    with contextlib.suppress(ValueError):
        yield " decoded as hexadecimal", bytes.fromhex(secret)
