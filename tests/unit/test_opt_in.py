"""Who may follow a conversation, and who tries to."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lchook.core.authentication import Anonymous, Authenticator
from lchook.core.tokens import CustomerTokens
from lchook.web import opt_in as words
from lchook.web.opt_in import opt_in

TOKENS = CustomerTokens(secret="a secret of the site's own backend", clock=time.time)
WHERE = {"address": "203.0.113.7", "browser": "a browser"}
SESSION = {"customer_id": "", "session": "a secret of the page"}


def asks(auth: dict[str, Any], *, tokens: bool = False, anonymous: Anonymous = "isolate", **how: bool) -> int | str | None:
    authenticator = Authenticator(tokens=TOKENS if tokens else None, anonymous=anonymous, key=b"key")
    return opt_in(auth, authenticator.identify(auth, **WHERE), **{"keeps": True, "unproven": False, **how})


def test_who_proves_it_reads() -> None:
    token = TOKENS.sign("kim", ttl_seconds=60)
    assert asks({"token": token, "conversation": {}}, tokens=True) == 0
    assert asks({"token": token, "conversation": {"after": "0000000000000012"}}, tokens=True) == 12
    assert asks({**SESSION, "conversation": {"after": None}}) == 0
    assert asks({"token": token}, tokens=True) is None
    assert asks({"token": token, "conversation": None}, tokens=True) is None


def test_nobody_else_reads() -> None:
    assert asks({"customer_id": "kim", "conversation": {}}) == words.UNPROVEN
    assert asks({"customer_id": 17, "session": "s", "conversation": {}}) == words.UNPROVEN
    assert asks({"conversation": {}}) == words.NOBODY
    assert asks({"customer_id": "", "conversation": {}}) == words.NOBODY
    assert asks({"customer_id": "", "session": "", "conversation": {}}) == words.NOBODY
    for anonymous in ("shared", "reject"):
        assert asks({**SESSION, "conversation": {}}, anonymous=anonymous) == words.NOBODY


def test_the_id_of_somebody_without_a_name_is_no_proof() -> None:
    """Agents, logs and payloads have it; and everybody behind one address gets the same without a session."""
    authenticator = Authenticator(tokens=None, anonymous="isolate", key=b"key")
    by_session = authenticator.identify(SESSION, **WHERE).customer_id
    by_address = authenticator.identify({}, **WHERE).anonymous_id
    for customer_id in (by_session, by_address):
        assert customer_id
        assert asks({"customer_id": customer_id, "conversation": {}}) == words.UNPROVEN
        assert asks({"customer_id": customer_id, "session": "another", "conversation": {}}) == words.UNPROVEN


def test_in_a_demonstration_everybody_reads_who_says_whose_it_is() -> None:
    assert asks({"customer_id": "kim", "conversation": {}}, unproven=True) == 0
    assert asks({"conversation": {}}, unproven=True) == words.NOBODY


def test_where_it_is_off_nobody_reads() -> None:
    assert asks({**SESSION, "conversation": {}}, keeps=False) == words.OFF
    assert asks({**SESSION}, keeps=False) is None


CURSORS = (12, "", "-1", "1e3", "٣", {}, "1" * 19, "12\n")


@pytest.mark.parametrize("conversation", [True, "", "after", 1, [], *({"after": cursor} for cursor in CURSORS)])
def test_what_is_no_cursor_is_refused_in_words(conversation: Any) -> None:
    assert asks({**SESSION, "conversation": conversation}) == words.MALFORMED
