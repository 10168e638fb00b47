"""The tokens between LCH and DMS, as Pega's own code signs and checks them. No I/O.

Not LCH's `Tokens`: written from the contract, so that the two check each other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jwt

# A token counts for this long after its `iat`; a clock may be as far ahead of ours.
MAX_AGE_SECONDS = 300
MAX_AHEAD_SECONDS = 300


class TokenRefusedError(Exception):
    """DMS does not believe the token. The text says why and never holds the token."""


class DmsTokens:
    """Signs and verifies the tokens of one connection."""

    def __init__(self, *, issuer: str, secret: str, clock: Callable[[], float]) -> None:
        self.issuer = issuer
        self._secret = secret
        self._clock = clock
        # LCH sends the token of a second with all posts of that second.
        self._claims = functools.lru_cache(maxsize=200)(self._decode)
        self._signed = functools.lru_cache(maxsize=10)(self._encode)

    def sign(self, *, clock_ahead_seconds: int = 0) -> str:
        """A token as Pega's SDK signs it: `iss` and `iat`, and no `exp`."""
        return self._signed(int(self._clock()) + clock_ahead_seconds)

    def verify(self, token: str) -> None:
        """:raises TokenRefusedError: saying which check failed."""
        claims = self._claims(token)
        now = self._clock()
        if claims["iss"] != self.issuer:
            raise TokenRefusedError("the token's iss is another connection's id")
        age_seconds = now - _number(claims, "iat")
        if age_seconds > MAX_AGE_SECONDS:
            raise TokenRefusedError(f"the token is older than {MAX_AGE_SECONDS} s (iat)")
        if age_seconds < -MAX_AHEAD_SECONDS:
            raise TokenRefusedError(f"the token is from the future by more than {MAX_AHEAD_SECONDS} s (iat)")
        if "exp" in claims and now >= _number(claims, "exp"):
            raise TokenRefusedError("the token has expired (exp)")

    def _encode(self, issued_at: int) -> str:
        return jwt.encode({"iss": self.issuer, "iat": issued_at}, self._secret, algorithm="HS256")

    def _decode(self, token: str) -> dict[str, Any]:
        # Times are compared with this object's clock, which tests can turn.
        options: Any = {"require": ["iss", "iat"], "verify_signature": True}
        options |= {f"verify_{claim}": False for claim in ("iat", "exp", "nbf", "aud", "iss", "sub", "jti")}
        try:
            return jwt.decode(token, self._secret, algorithms=["HS256"], options=options)
        except jwt.InvalidSignatureError as error:
            raise TokenRefusedError("the token's signature does not fit the secret") from error
        except jwt.InvalidAlgorithmError as error:
            raise TokenRefusedError("the token's algorithm must be HS256") from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenRefusedError(f"the token lacks the claim {error.claim}") from error
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenRefusedError("the token is not a readable JWT") from error


def _number(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e15:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise TokenRefusedError(f"the token's {name} must be a number")
