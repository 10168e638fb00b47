"""A small identity provider: it signs tokens as a bank's does, shows its public keys, and rotates them.

Real keys and real HTTP; no log-in, for nobody's password is asked here. Needs the package cryptography.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from lchook.sandbox.http_server import HOST, Exchange, HttpServer

AUDIENCE = "lch-sandbox"
_TTL_SECONDS = 600
_KEYS_PATH = "/jwks.json"


def new_key(algorithm: str) -> Any:
    """A private key for this algorithm."""
    if algorithm in ("RS256", "PS256"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_jwk(key: Any, algorithm: str, key_id: str) -> dict[str, Any]:
    """The public part of a private key, as a JSON Web Key."""
    made: Any = get_default_algorithms()[algorithm]
    return {**made.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig", "alg": algorithm}


class IdentityProvider:
    """On 127.0.0.1. As a context manager it starts and stops."""

    def __init__(self, *, algorithm: str = "ES256", port: int = 0, clock: Callable[[], float] = time.time) -> None:
        """Without network activity. :param port: 0 for any free one."""
        self.algorithm = algorithm
        self.audience = AUDIENCE
        self._clock = clock
        self._lock = threading.Lock()
        # Newest last; all are shown, the newest signs.
        self._keys: list[tuple[str, Any]] = []
        self._made = 0
        # How often the keys were asked for.
        self.fetches = 0
        # In place of the keys; None: as it should be.
        self.handle: Callable[[Exchange], None] | None = None
        self._server = HttpServer(self._answer, port=port)
        self.rotate()

    def rotate(self, *, keep: int = 2) -> str:
        """From now on a new key signs. Returns its id.

        :param keep: so many keys are shown, so that tokens of the ones before are good until they end.
        """
        key = new_key(self.algorithm)
        with self._lock:
            self._made += 1
            key_id = f"key-{self._made}"
            self._keys = [*self._keys, (key_id, key)][-keep:]
        return key_id

    def token(self, customer_id: str, *, facts: Mapping[str, Any] | None = None, ttl_seconds: int = _TTL_SECONDS) -> str:
        """A token for a customer who has logged in. :param facts: further claims."""
        now = int(self._clock())
        claims = {"iss": self.issuer, "aud": self.audience, "sub": customer_id, "iat": now, "exp": now + ttl_seconds}
        with self._lock:
            key_id, key = self._keys[-1]
        return jwt.encode({**claims, **(facts or {})}, key, algorithm=self.algorithm, headers={"kid": key_id})

    def key_set(self) -> dict[str, Any]:
        """The public keys."""
        with self._lock:
            return {"keys": [public_jwk(key, self.algorithm, key_id) for key_id, key in self._keys]}

    @property
    def issuer(self) -> str:
        return f"http://{HOST}:{self._server.port}"

    @property
    def keys_url(self) -> str:
        """What CUSTOMER_TOKEN_JWKS_URL should be."""
        return f"{self.issuer}{_KEYS_PATH}"

    def start(self) -> Self:
        """:raises OSError: where the port is taken."""
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    def refuse(self, refused: bool = True) -> None:
        """Refuse connections, or take them again."""
        if refused:
            self._server.refuse()
        else:
            self._server.listen()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, exchange: Exchange) -> None:
        self.fetches += 1
        if self.handle is not None:
            self.handle(exchange)
        elif exchange.path == _KEYS_PATH:
            exchange.answer(200, {"Content-Type": "application/json"}, json.dumps(self.key_set()).encode())
        else:
            exchange.answer(404, {"Content-Type": "application/json"}, b'{"error": "the keys are at /jwks.json"}')
