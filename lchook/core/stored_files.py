"""What is known of a file besides its bytes: the key it is stored under, its header, and the signed permissions around it.

Nothing of this is kept anywhere but in the file's own object and in links, so that any instance can serve any file. A key
is `CUSTOMER/EXPIRY-SIDE-RANDOM`: all of a customer's files have one prefix, and their end is known without reading them.
No I/O.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import jwt

# An object is a header of so many bytes, and the file.
HEADER_BYTES = 1024
# Beside a file that is to be fetched, until it is there: where it comes from.
PENDING = ".pending"
_ALGORITHM = "HS256"
_KEY = re.compile(r"([a-z2-7]{16})/(\d{10})-([ac])-([a-z2-7]{26})")

Verdict = Literal["clean", "unscanned", "infected", "unwanted"]


class GrantError(Exception):
    """A permission is not acceptable. The text says why."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """`verdict`: what the scanner said; nothing but `clean` and `unscanned` (there is no scanner) is served."""

    name: str
    type: str
    size: int
    is_inline: bool = False
    verdict: Verdict = "unscanned"

    def packed(self) -> bytes:
        text = json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()
        return text.ljust(HEADER_BYTES - 1) + b"\n"

    @staticmethod
    def unpacked(data: bytes) -> FileHeader:
        """:raises ValueError: where it is none."""
        try:
            return FileHeader(**json.loads(data[:HEADER_BYTES]))
        except TypeError as error:
            raise ValueError("this is no header") from error


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """Who has it may upload one file of that size, under that key."""

    key: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A file of an agent's, and where it is until LCH has it."""

    key: str
    source_url: str
    name: str


class FileKeys:
    """Makes keys and permissions, and knows its own. All instances share the secret."""

    def __init__(self, secret: str, *, clock: Callable[[], float]) -> None:
        """:param secret: the connection's; what is signed here is signed with keys made from it."""
        self._clock = clock
        self._customers = _derived(secret, "marks of customers")
        self._uploads = _derived(secret, "uploads")
        self._sources = _derived(secret, "sources")
        self._connections = _derived(secret, "connections")

    def owner(self, connection: str, customer_id: str) -> str:
        """Who owns a customer's files: with several connections to Pega, equal ids are others. Nobody can claim such an id.

        :param connection: its name; empty for the one that is there without others.
        """
        if not connection:
            return customer_id
        return f"{_base32(hmac.new(self._connections, connection.encode(), hashlib.sha256).digest())}/{customer_id}"

    def mark(self, owner: str) -> str:
        """What the keys of a customer's files begin with. It tells nobody who that is."""
        digest = hmac.new(self._customers, owner.encode("utf-8", "replace"), hashlib.sha256).digest()
        return _base32(digest[:10])

    def new_key(self, owner: str, side: Literal["a", "c"], *, ttl_seconds: float) -> str:
        """:param side: whose file it is, an agent's or the customer's."""
        expiry = int(self._clock() + ttl_seconds)
        return f"{self.mark(owner)}/{expiry:010d}-{side}-{_base32(secrets.token_bytes(16))}"

    def is_over(self, key: str) -> bool:
        expiry = expiry_of(key)
        return expiry is None or expiry <= self._clock()

    def sign_upload(self, grant: UploadGrant, *, ttl_seconds: float) -> str:
        claims = {**asdict(grant), "exp": int(self._clock() + ttl_seconds)}
        return jwt.encode(claims, self._uploads, algorithm=_ALGORITHM)

    def verify_upload(self, token: str, key: str) -> UploadGrant:
        """:raises GrantError: where the token is not for an upload to this key, or its time is over."""
        claims = self._verified(token, self._uploads, "the upload is not permitted: ask by fileRequest")
        if claims["exp"] <= self._clock():
            raise GrantError("the upload link is over: ask for another one by fileRequest")
        if claims["key"] != key:
            raise GrantError("the upload link is for another file")
        return UploadGrant(claims["key"], claims["name"], claims["size"])

    def sign_source(self, pending: Pending) -> str:
        return jwt.encode(asdict(pending), self._sources, algorithm=_ALGORITHM)

    def verify_source(self, token: str, key: str) -> Pending | None:
        """What a link says about where its file comes from; `None` where this hook did not say so."""
        try:
            claims = self._verified(token, self._sources, "")
        except GrantError:
            return None
        return Pending(**claims) if claims["key"] == key else None

    def _verified(self, token: str, key: bytes, words: str) -> dict[str, Any]:
        try:
            # Its end is compared with this clock, above.
            return jwt.decode(token, key, algorithms=[_ALGORITHM], options={"verify_exp": False})
        except jwt.InvalidTokenError as error:
            raise GrantError(words) from error


def is_key(text: str) -> bool:
    return _KEY.fullmatch(text) is not None


def expiry_of(key: str) -> int | None:
    """When the file's time is over, in seconds since 1970; `None` for what is no key of this kind."""
    found = _KEY.fullmatch(key.removesuffix(PENDING))
    return int(found[2]) if found else None


def is_of_customer(key: str) -> bool:
    """Did the customer send it?"""
    found = _KEY.fullmatch(key)
    return found is not None and found[3] == "c"


def _derived(secret: str, purpose: str) -> bytes:
    return hashlib.sha256(f"files: {purpose}\n{secret}".encode()).digest()


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
