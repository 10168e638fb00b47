"""JWTs made and read with the standard library only, so that they check LCH's tokens and do not repeat them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

ISSUER = "connection-of-the-tests"
SECRET = "a secret of the tests, longer than 32 bytes"

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}


def mint(*, secret: str = SECRET, algorithm: str = "HS256", without: tuple[str, ...] = (), **claims: Any) -> str:
    """A token as DMS sends it: `iss` and `iat` now, `claims` over them, and `without` some."""
    all_claims = {"iss": ISSUER, "iat": int(time.time()), **claims}
    for name in without:
        all_claims.pop(name, None)
    signed = f"{_encode({'typ': 'JWT', 'alg': algorithm})}.{_encode(all_claims)}"
    if algorithm == "none":
        return f"{signed}."
    signature = hmac.new(secret.encode(), signed.encode(), _HASHES[algorithm]).digest()
    return f"{signed}.{_base64(signature)}"


def read(token: str, *, secret: str = SECRET) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token whose signature is right."""
    header, claims, signature = token.split(".")
    right = hmac.new(secret.encode(), f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert hmac.compare_digest(_base64(right), signature)
    return _decode(header), _decode(claims)


def tampered(token: str, **claims: Any) -> str:
    """The token with other claims and the old signature."""
    header, old_claims, signature = token.split(".")
    return f"{header}.{_encode({**_decode(old_claims), **claims})}.{signature}"


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return value
