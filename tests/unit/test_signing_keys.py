"""The keys of an identity provider in this process, and the HTTP client that fetches them."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from lchook.core.key_set import KeySet, KeySetError
from lchook.core.tokens import TokenError
from lchook.identity.key_fetch import KeyFetch
from lchook.identity.signing_keys import SigningKeys
from lchook.sandbox.http_server import Exchange
from lchook.sandbox.identity_provider import IdentityProvider, new_key, public_jwk
from tests.support.waiting import wait_until


def in_a_thread(task: Callable[..., object], *args: object) -> None:
    threading.Thread(target=task, args=args, daemon=True).start()


def key_set(*names: str) -> KeySet:
    return KeySet([public_jwk(KEY, "ES256", name) for name in names])


KEY = new_key("ES256")


class Provider:
    """Gives what a test says, when it says so."""

    def __init__(self, *answers: KeySet | KeySetError) -> None:
        self.answers = list(answers)
        self.fetches = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self) -> KeySet:
        self.fetches += 1
        assert self.may_answer.wait(5)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, KeySetError):
            raise answer
        return answer


def test_a_known_key_is_there_at_once_while_a_fetch_hangs() -> None:
    now = [0.0]
    provider = Provider(key_set("one"))
    keys = SigningKeys(provider, in_a_thread, clock=lambda: now[0])
    keys.tick()
    wait_until(lambda: keys.counts["succeeded"] == 1, "keys")
    provider.may_answer.clear()
    now[0] = 400.0
    keys.tick()
    wait_until(lambda: provider.fetches == 2, "the second fetch")
    keys.tick()
    assert keys.find("one", "ES256").key_id == "one"
    assert provider.fetches == 2
    provider.may_answer.set()
    wait_until(lambda: keys.counts["succeeded"] == 2, "keys again")


def test_who_comes_first_waits_for_the_keys() -> None:
    provider = Provider(key_set("one"))
    keys = SigningKeys(provider, in_a_thread)
    assert keys.find("one", "ES256").key_id == "one"
    assert keys.find(None, "ES256").key_id == "one"
    assert provider.fetches == 1


def test_a_rotated_key_is_found_by_whoever_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lchook.core.key_refresh.MIN_INTERVAL_SECONDS", 0.2)
    provider = Provider(key_set("one"), key_set("one", "two"))
    keys = SigningKeys(provider, in_a_thread)
    keys.find("one", "ES256")
    assert keys.find("two", "ES256").key_id == "two"
    with pytest.raises(TokenError, match="none of the identity provider's"):
        keys.find("three", "ES256")
    assert provider.fetches == 3


def test_withdrawn_keys_are_good_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lchook.core.key_refresh.MIN_INTERVAL_SECONDS", 0.0)
    keys = SigningKeys(Provider(key_set("one"), key_set("two")), in_a_thread)
    keys.find("one", "ES256")
    keys.find("two", "ES256")
    with pytest.raises(TokenError):
        keys.find("one", "ES256")


def test_an_unreachable_provider_refuses_who_is_new_at_once_and_known_keys_count_for_an_hour() -> None:
    now = [0.0]
    provider = Provider(key_set("one"), KeySetError("away"))
    keys = SigningKeys(provider, in_a_thread, clock=lambda: now[0])
    keys.find("one", "ES256")
    now[0] = 3_000.0
    keys.tick()
    wait_until(lambda: keys.counts["failed"] == 1, "the failure")
    assert keys.find("one", "ES256").key_id == "one"
    started = time.monotonic()
    with pytest.raises(TokenError, match="cannot be had now"):
        keys.find("two", "ES256")
    now[0] = 3_600.0
    keys.tick()
    wait_until(lambda: keys.counts["failed"] == 2, "the second failure")
    with pytest.raises(TokenError, match="cannot be had now"):
        keys.find("one", "ES256")
    assert time.monotonic() - started < 2


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lchook.identity.signing_keys._WAIT_SECONDS", 0.2)
    provider = Provider(key_set("one"))
    provider.may_answer.clear()
    keys = SigningKeys(provider, in_a_thread)
    with pytest.raises(TokenError, match="cannot be had now"):
        keys.find("one", "ES256")
    provider.may_answer.set()
    wait_until(lambda: keys.counts["succeeded"] == 1, "keys")


def test_not_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lchook.identity.signing_keys._MAX_WAITING", 2)
    provider = Provider(key_set("one"))
    provider.may_answer.clear()
    keys = SigningKeys(provider, in_a_thread)
    found: list[Any] = []
    waiting = [threading.Thread(target=lambda: found.append(keys.find("one", "ES256"))) for _ in range(2)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: keys._waiting == 2, "both")
    with pytest.raises(TokenError, match="cannot be had now"):
        keys.find("one", "ES256")
    provider.may_answer.set()
    for thread in waiting:
        thread.join(5)
    assert len(found) == 2


# Over HTTP

GOOD = json.dumps({"keys": [public_jwk(KEY, "ES256", "one")]}).encode()
PAGES: dict[str, tuple[Callable[[Exchange], None], str]] = {
    "no JSON": (lambda exchange: exchange.answer(200, {}, b"<html>"), "no JSON"),
    "no object": (lambda exchange: exchange.answer(200, {}, b"[]"), "no key set"),
    "no list": (lambda exchange: exchange.answer(200, {}, b'{"keys": {}}'), "no key set"),
    "no keys": (lambda exchange: exchange.answer(200, {}, b'{"keys": []}'), "none of its 0 keys"),
    "only what is useless": (
        lambda exchange: exchange.answer(200, {}, b'{"keys": [{"kty": "oct", "k": "x"}]}'),
        "none of its 1",
    ),
    "too many": (lambda exchange: exchange.answer(200, {}, b'{"keys": [' + b"{}," * 200 + b"{}]}"), "more than"),
    "deep": (lambda exchange: exchange.answer(200, {}, b"[" * 100_000), "no JSON"),
    "endless": (lambda exchange: exchange.answer(200, {}, b'{"keys": "' + b"x" * 600_000 + b'"}'), "too long"),
    "not found": (lambda exchange: exchange.answer(404, {}, GOOD), "404"),
    "a redirect": (lambda exchange: exchange.answer(302, {"Location": "http://127.0.0.1/"}, GOOD), "none is followed"),
    "closed": (Exchange.hang_up, "no answer"),
    "reset": (Exchange.reset, "no answer"),
    "no HTTP": (Exchange.garbage, "no answer"),
}


@pytest.mark.parametrize(("handle", "words"), PAGES.values(), ids=PAGES)
def test_what_is_no_key_set_is_said_to_be_none(handle: Callable[[Exchange], None], words: str) -> None:
    with IdentityProvider() as provider:
        provider.handle = handle
        with pytest.raises(KeySetError, match=words):
            KeyFetch(provider.keys_url)()


def test_a_compressed_set_is_read_and_a_bomb_is_not() -> None:
    with IdentityProvider() as provider:
        provider.handle = lambda exchange: exchange.answer(200, {}, GOOD, coded=True)
        assert KeyFetch(provider.keys_url)().names == ["one (ES256)"]
        bomb = gzip.compress(b"x" * 10_000_000)
        provider.handle = lambda exchange: exchange.answer(200, {"Content-Encoding": "gzip"}, bomb)
        with pytest.raises(KeySetError, match="larger than"):
            KeyFetch(provider.keys_url)()


def test_a_provider_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lchook.identity.key_fetch._ANSWER_SECONDS", 0.5)
    gone = threading.Event()

    def drips(exchange: Exchange) -> None:
        exchange._handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not gone.wait(0.05):
            exchange._handler.wfile.write(b" ")

    with IdentityProvider() as provider:
        provider.handle = drips
        started = time.monotonic()
        with pytest.raises(KeySetError, match="no JSON, or was too long"):
            KeyFetch(provider.keys_url)()
        assert time.monotonic() - started < 3
        gone.set()


def test_nobody_is_there() -> None:
    with IdentityProvider() as provider:
        url = provider.keys_url
    with pytest.raises(KeySetError, match="nothing listens there"):
        KeyFetch(url)()


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with IdentityProvider() as proxy:
        proxy.handle = lambda exchange: exchange.answer(200, {}, GOOD if exchange.path == "http://idp.invalid/keys" else b"")
        monkeypatch.setenv("HTTP_PROXY", proxy.issuer)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert KeyFetch("http://idp.invalid/keys")().names == ["one (ES256)"]


def test_without_an_algorithm_of_its_own_an_rsa_key_is_good_for_two_and_no_more() -> None:
    entry = public_jwk(new_key("RS256"), "RS256", "one")
    del entry["alg"]
    keys = KeySet([entry])
    assert keys.names == ["one (RS256)", "one (PS256)"]
    for algorithm in ("ES256", "EdDSA", "HS256", "none"):
        assert keys.find("one", algorithm) is None


def test_a_token_that_names_no_key_is_verified_only_where_there_is_no_choice() -> None:
    assert key_set("one").find(None, "ES256") is not None
    assert key_set("one", "two").find(None, "ES256") is None


def test_where_no_task_can_be_started_the_next_try_may_succeed() -> None:
    def no_room(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    now, tasks = [0.0], [no_room, in_a_thread]
    keys = SigningKeys(Provider(key_set("one")), lambda *task: tasks.pop(0)(*task), clock=lambda: now[0])
    with pytest.raises(RuntimeError):
        keys.tick()
    now[0] = 10.0
    keys.tick()
    wait_until(lambda: keys.counts["succeeded"] == 1, "keys")
