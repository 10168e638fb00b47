"""Who may speak on a socket, and as whom. No I/O, no state.

With customer tokens a socket speaks for the token's customer and nobody else. Without, the client is believed, as it was by
the Node program. An anonymous customer (`customer_id: ""`) gets an id of their own, unless configured otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lchook.core.addresses import is_public
from lchook.core.messages import MessageError, customer_key
from lchook.core.tokens import CustomerClaim, TokenError

ANONYMOUS_PREFIX = "anon-"
_MAX_SESSION_CHARACTERS = 256

Anonymous = Literal["isolate", "shared", "reject"]


class RefusedError(Exception):
    """The client may not connect. The text says why, and is for the client."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a socket's customer.

    `proven`: speaks for `customer_id` only, until `expires_at` (seconds since 1970). Otherwise `customer_id` is whom the
    socket resumes for at connect, if anybody, and `anonymous_id` whom it speaks for where it gives no name.
    """

    customer_id: str | None
    anonymous_id: str | None
    proven: bool = False
    expires_at: float | None = None
    # Whether the next connection of the same visitor has the same `anonymous_id`.
    anonymous_id_lasts: bool = True
    # `customer_id` follows from a session that the client keeps to itself.
    by_session: bool = False
    # What goes to DMS with each text, whatever the client says under the same names.
    facts: Mapping[str, Any] = field(default_factory=dict)

    def resolve_customer(self, claimed: str | None) -> str:
        """The customer for whom a message goes that claims this id.

        :param claimed: `None`, where it names none, which only a proven customer's may.
        :raises MessageError: where the socket may not speak for them.
        """
        if self.proven and self.customer_id is not None:
            if claimed not in (None, self.customer_id):
                raise MessageError("customer_id must be the one that this connection's token is for")
            return self.customer_id
        if claimed:
            return claimed
        if self.anonymous_id is None:
            raise MessageError("customer_id must not be empty: this site serves no customers without a name")
        return self.anonymous_id


class Verifier(Protocol):
    """Knows good tokens of customers."""

    def verify(self, token: object) -> CustomerClaim:
        """:raises TokenError: saying which check failed."""


class Authenticator:
    """Establishes the identity of a connecting socket."""

    def __init__(self, *, tokens: Verifier | None, anonymous: Anonymous, key: bytes) -> None:
        """:param key: a secret that all instances share; makes the ids of anonymous customers unguessable."""
        self._tokens = tokens
        self._anonymous = anonymous
        self._key = key

    def identify(self, auth: object, *, address: str, browser: str, this_machine: bool = False) -> Identity:
        """Whom the socket speaks for.

        :param auth: what the client sent along: `token`, `customer_id`, `session`, or anything at all.
        :param address: the client's network address. :param browser: its User-Agent.
        :param this_machine: whether it is somebody who sits at this machine, whatever the address is.
        :raises RefusedError: where a valid token is required.
        """
        fields: dict[Any, Any] = auth if isinstance(auth, dict) else {}
        if self._tokens is not None:
            if "token" not in fields:
                raise RefusedError("a token is required: connect with auth: {token}")
            try:
                claim = self._tokens.verify(fields["token"])
            except TokenError as error:
                raise RefusedError(str(error)) from error
            if customer_key(claim.customer_id) is None:
                raise RefusedError("the token's sub is not acceptable as a customer's id")
            return Identity(claim.customer_id, None, proven=True, expires_at=claim.expires_at, facts=claim.facts)

        session = fields.get("session")
        has_session = isinstance(session, str) and 0 < len(session) <= _MAX_SESSION_CHARACTERS
        known_address = address if this_machine or is_public(address) else None
        anonymous_id = self._anonymous_id(session if has_session else None, known_address, browser)
        customer_id = customer_key(fields.get("customer_id"))
        by_session = customer_id == "" and has_session and self._anonymous == "isolate"
        if customer_id == "":
            # Only a session tells one anonymous customer from another for sure: without one there is nothing to resume.
            customer_id = anonymous_id if by_session else None
        lasts = has_session or known_address is not None
        return Identity(customer_id, anonymous_id, anonymous_id_lasts=lasts, by_session=by_session)

    def _anonymous_id(self, session: str | None, address: str | None, browser: str) -> str | None:
        if self._anonymous == "reject":
            return None
        if self._anonymous == "shared":
            return ""
        if session is not None:
            what = f"session\n{session}"
        elif address is not None:
            what = f"browser\n{address}\n{browser}"
        else:
            # Behind a gateway there may be anybody, and strangers must not share a conversation: this one ends with its
            # connection.
            what = f"connection\n{secrets.token_hex(16)}"
        digest = hmac.new(self._key, what.encode("utf-8", "replace"), hashlib.sha256).digest()
        return ANONYMOUS_PREFIX + base64.b32encode(digest[:15]).decode().lower()
