"""The public keys of an identity provider, as its JSON Web Key Set (RFC 7517) names them. Pure: no I/O, no clock.

What no customer's token may be verified with is left out: symmetric keys, keys for other things than signing, keys whose
private part stands there for all to read, and RSA keys that are too short. A key that is not understood costs none of the
others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jwt

from lchook.core.messages import strict_json

# What tokens may be signed with. Each key is good for those of its own kind only, whatever a token says of itself.
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
_ALGORITHMS_OF = {("RSA", None): ("RS256", "PS256"), ("EC", "P-256"): ("ES256",), ("OKP", "Ed25519"): ("EdDSA",)}
_MIN_RSA_BITS = 2048
# Providers have a handful.
_MAX_KEYS = 100
_MAX_KEY_ID = 256


class KeySetError(Exception):
    """There is no usable key set. The text says why, for the log."""


class KeySet:
    """The usable keys. `skipped` says how many there were besides."""

    def __init__(self, entries: list[Any]) -> None:
        self._keys: dict[tuple[str, str], jwt.PyJWK] = {}
        self._by_algorithm: dict[str, list[jwt.PyJWK]] = {}
        self.skipped = 0
        for entry in entries:
            added = False
            for key_id, algorithm, key in _usable(entry):
                added = True
                # Of two keys with one name, the first.
                self._keys.setdefault((key_id, algorithm), key)
                self._by_algorithm.setdefault(algorithm, []).append(key)
            self.skipped += not added

    @classmethod
    def from_json(cls, body: bytes) -> KeySet:
        """:raises KeySetError: where it is no key set, or there is no usable key in it."""
        try:
            document = strict_json(body.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise KeySetError("what is there is no JSON, or was too long") from error
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise KeySetError('what is there is no key set: a JSON object with a list "keys"')
        if len(entries) > _MAX_KEYS:
            raise KeySetError(f"there are more than {_MAX_KEYS} keys")
        keys = cls(entries)
        if not keys.names:
            raise KeySetError(f"none of its {len(entries)} keys can verify tokens ({', '.join(ALGORITHMS)})")
        return keys

    @property
    def names(self) -> list[str]:
        """The keys, with what each is good for, to be shown to people."""
        return [f"{key_id or '(no kid)'} ({algorithm})" for key_id, algorithm in self._keys]

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The key for a token. A token that names none is verified with the only one that there is for its algorithm."""
        if key_id is not None:
            return self._keys.get((key_id, algorithm))
        fitting = self._by_algorithm.get(algorithm, ())
        return fitting[0] if len(fitting) == 1 else None


def _usable(entry: object) -> Iterator[tuple[str, str, jwt.PyJWK]]:
    """A key's id, an algorithm that it is good for, and itself, as PyJWT wants it for that algorithm."""
    if not isinstance(entry, dict) or "d" in entry or entry.get("use", "sig") != "sig":
        return
    operations, key_id, type_ = entry.get("key_ops", ["verify"]), entry.get("kid", ""), entry.get("kty")
    if not isinstance(operations, list) or "verify" not in operations:
        return
    if not isinstance(key_id, str) or len(key_id) > _MAX_KEY_ID or not isinstance(type_, str):
        return
    curve = None if type_ == "RSA" else entry.get("crv")
    for algorithm in _ALGORITHMS_OF.get((type_, curve if isinstance(curve, str) else None), ()):
        if entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, AttributeError):
            continue
        if type_ != "RSA" or key.key.key_size >= _MIN_RSA_BITS:
            yield key_id, algorithm, key
