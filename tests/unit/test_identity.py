"""Who may speak on a socket, and as whom: the rules, without a network."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lchook.core.authentication import Authenticator, Identity, RefusedError
from lchook.core.messages import MessageError
from lchook.core.tokens import CustomerTokens
from tests.support.jwts import mint

SECRET = "a secret of the site's backend, long enough"
NOW = 1_000_000.0
# Anything that JSON can say.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
AUTHS = VALUES | st.dictionaries(st.sampled_from(["token", "customer_id", "session"]), VALUES)


def authenticator(*, tokens: bool = False, anonymous: Any = "isolate", key: bytes = b"key") -> Authenticator:
    verifier = CustomerTokens(secret=SECRET, clock=lambda: NOW) if tokens else None
    return Authenticator(tokens=verifier, anonymous=anonymous, key=key)


def identify(door: Authenticator, auth: object = None, *, address: str = "192.0.2.1", browser: str = "Firefox") -> Identity:
    return door.identify(auth, address=address, browser=browser)


def token(**claims: Any) -> str:
    return mint(secret=SECRET, without=("iss", "iat"), **{"sub": "c1", "exp": NOW + 60, **claims})


@given(AUTHS)
def test_whatever_a_client_sends_along_without_tokens_it_may_connect(auth: object) -> None:
    identity = identify(authenticator(), auth)
    assert not identity.proven
    assert identity.anonymous_id is not None


@given(AUTHS)
def test_whatever_a_client_sends_along_where_tokens_are_required_it_is_refused_in_words(auth: object) -> None:
    with pytest.raises(RefusedError, match="token"):
        identify(authenticator(tokens=True), auth)


def test_a_token_makes_a_socket_its_customers_and_nobody_elses() -> None:
    identity = identify(authenticator(tokens=True), {"token": token(), "customer_id": "c2"})
    assert identity == Identity("c1", None, proven=True, expires_at=NOW + 60)
    assert identity.resolve_customer("c1") == "c1"
    for other in ("c2", "", "C1", "c1 ", "anon-x"):
        with pytest.raises(MessageError, match="token is for"):
            identity.resolve_customer(other)


def test_a_token_for_an_id_that_no_store_can_hold_is_refused() -> None:
    for sub in ("x" * 257, "\ud800"):
        with pytest.raises(RefusedError, match="not acceptable"):
            identify(authenticator(tokens=True), {"token": token(sub=sub)})


def test_without_tokens_a_name_is_believed() -> None:
    identity = identify(authenticator(), {"customer_id": "c1"})
    assert identity.customer_id == "c1"
    assert identity.resolve_customer("c2") == "c2"


@given(st.text(min_size=1, max_size=256), st.text(min_size=1, max_size=256), st.text(), st.text())
def test_visitors_with_different_sessions_are_different_wherever_they_are(one: str, two: str, a: str, b: str) -> None:
    first = identify(authenticator(), {"session": one}, address=a, browser=b)
    second = identify(authenticator(), {"session": two}, address=a, browser=b)
    elsewhere = identify(authenticator(), {"session": one}, address=b, browser=a)
    same_text = one.encode("utf-8", "replace") == two.encode("utf-8", "replace")
    assert (first.anonymous_id == second.anonymous_id) is same_text
    assert first.anonymous_id == elsewhere.anonymous_id


def test_no_session_can_be_made_to_look_like_an_address_and_browser() -> None:
    door = authenticator()
    plain = identify(door, address="192.0.2.1", browser="Firefox").anonymous_id
    for session in ("192.0.2.1\nFirefox", "browser\n192.0.2.1\nFirefox", "192.0.2.1Firefox"):
        assert identify(door, {"session": session}).anonymous_id != plain


def test_an_unnamed_id_depends_on_the_installations_key() -> None:
    ids = {identify(authenticator(key=key)).anonymous_id for key in (b"one", b"two")}
    assert len(ids) == 2
    assert all(re.fullmatch(r"anon-[a-z2-7]{24}", str(anonymous_id)) for anonymous_id in ids)


def test_only_a_session_gives_an_unnamed_visitor_something_to_resume() -> None:
    with_session = identify(authenticator(), {"customer_id": "", "session": "mine"})
    assert with_session.customer_id == with_session.anonymous_id
    assert identify(authenticator(), {"customer_id": ""}).customer_id is None
    assert identify(authenticator(anonymous="shared"), {"customer_id": "", "session": "mine"}).customer_id is None


def test_shared_and_reject() -> None:
    assert identify(authenticator(anonymous="shared")).resolve_customer("") == ""
    with pytest.raises(MessageError, match="must not be empty"):
        identify(authenticator(anonymous="reject")).resolve_customer("")
    assert identify(authenticator(anonymous="reject")).resolve_customer("c1") == "c1"


def test_what_a_token_says_of_its_customer_is_proven_and_must_be_sound() -> None:
    door = authenticator(tokens=True)
    facts = {"customer_name": "Ada", "context_data": {"logged_in": True}}
    identity = identify(door, {"token": token(sub="c-1", **facts)})
    assert identity.facts == facts
    # A message need not say whose it is, and may not say another's.
    assert identity.resolve_customer(None) == identity.resolve_customer("c-1") == "c-1"
    with pytest.raises(MessageError):
        identity.resolve_customer("")
    assert identify(door, {"token": token(sub="c-1", customer_name=None, context_data=None)}).facts == {}
    for wrong in ({"customer_name": 1}, {"context_data": []}, {"context_data": {"x": "y" * 20_000}}):
        with pytest.raises(RefusedError):
            identify(door, {"token": token(sub="c-1", **wrong)})
