"""Redis: which instance delivers to a customer, and whose turn it is to post for one."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from lchook.core.outbox_effects import Submission
from lchook.core.outcomes import LOST_OUTCOME, Outcome
from lchook.store import REMEMBER_SECONDS, REMEMBER_SENT_SECONDS, PutResult, Removal, StoreListener
from lchook.store.redis import RedisStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

Create = Callable[..., RedisStore]


class Heard:
    """A listener that notes what it hears."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, ...]] = []
        self.listener = StoreListener(
            due=lambda customer_id: self.notes.append(("due", customer_id)),
            elsewhere=lambda customer_id: self.notes.append(("elsewhere", customer_id)),
            now=lambda customer_id, text: self.notes.append(("now", customer_id, text)),
            reconnected=lambda: self.notes.append(("reconnected",)),
        )

    def wait_for(self, *what: str) -> None:
        wait_until(lambda: what in self.notes, lambda: f"{what}, not {self.notes}")


def client(server: RedisServer) -> redis.Redis:
    return server.client()


def die(server: RedisServer, prefix: str, store: RedisStore) -> None:
    """What Redis sees some seconds after the instance was killed."""
    with server.client() as redis_client:
        redis_client.delete(f"{prefix}alive:{store._instance}")


def message(key: str) -> list[Submission]:
    return [Submission(key, key, 1, "{}")]


def texts(store: RedisStore) -> list[str]:
    return [message.text for message in store.fetch("c", 0, 100).messages]


# Mailboxes


def test_the_instance_to_which_the_customer_came_last_delivers(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    assert texts(first) == ["1"]
    first.remove([Removal("c", [first.fetch("c", 0, 1).messages[0].number], last=True)])
    second.enqueue("c", message("1"), take=True)

    assert not first.put("c", "2", None).here
    assert first.fetch("c", 0, 100).state == "elsewhere"
    assert second.put("c", "3", None).here
    assert texts(second) == ["2", "3"]


def test_a_repeat_rings_for_the_customers_instance_which_may_not_know_that_the_first_was_kept(create_redis: Create) -> None:
    heard = Heard()
    owner, other = create_redis(listener=heard.listener), create_redis()
    owner.claim("c", seconds_ago=0)
    owner.put("c", "1", "same")
    assert owner.put("c", "1", "same") == PutResult(kept=False, here=True)
    assert heard.notes == []

    assert other.put("c", "1", "same") == PutResult(kept=False, here=False)
    heard.wait_for("due", "c")


def test_a_claim_that_had_to_wait_does_not_take_a_customer_who_moved_on_since(create_redis: Create) -> None:
    late, later = create_redis(), create_redis()
    later.claim("c", seconds_ago=0)
    late.claim("c", seconds_ago=5)
    assert late.fetch("c", 0, 1).state == "elsewhere"

    late.claim("c", seconds_ago=0)
    assert late.fetch("c", 0, 1).state == "ours"


def test_the_customer_of_a_dead_instance_is_taken_whenever_they_came(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    dead, living = create_redis(), create_redis()
    dead.claim("c", seconds_ago=0)
    die(redis_server, redis_prefix, dead)
    living.claim("c", seconds_ago=5)

    assert living.fetch("c", 0, 1).state == "ours"


def test_messages_on_their_way_elsewhere_are_waited_for(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    (message,) = first.fetch("c", 0, 100).messages
    second.claim("c", seconds_ago=0)
    second.put("c", "2", None)
    assert second.fetch("c", 0, 100).state == "held"

    first.remove([Removal("c", [message.number], last=True)])
    assert texts(second) == ["2"]


def test_messages_on_their_way_in_a_dead_instance_are_sent_again(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    first.fetch("c", 0, 100)
    second.claim("c", seconds_ago=0)
    assert second.fetch("c", 0, 100).state == "held"
    die(redis_server, redis_prefix, first)

    assert texts(second) == ["1"]


def test_an_instance_that_lets_go_leaves_the_messages_to_the_next(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    first.fetch("c", 0, 100)
    first.release("c", waiting=False)
    second.claim("c", seconds_ago=0)

    assert texts(second) == ["1"]


def test_others_are_told_of_messages_moves_and_what_is_not_kept(create_redis: Create) -> None:
    heard = Heard()
    listening, other = create_redis(listener=heard.listener), create_redis()
    listening.claim("c ü:1", seconds_ago=0)
    other.put("c ü:1", "1", None)
    heard.wait_for("due", "c ü:1")
    other.pass_on("c ü:1", '{"type": "typing_indicator"}')
    heard.wait_for("now", "c ü:1", '{"type": "typing_indicator"}')
    other.enqueue("c ü:1", message("1"), take=True)
    heard.wait_for("elsewhere", "c ü:1")


def test_a_notice_that_was_not_heard_is_swept_up(create_redis: Create, redis_server: RedisServer, redis_prefix: str) -> None:
    heard = Heard()
    listening, other = create_redis(listener=heard.listener), create_redis()
    listening.claim("c", seconds_ago=0)
    # What the notice leaves behind, without the notice.
    with client(redis_server) as redis_client:
        redis_client.sadd(f"{redis_prefix}due:{listening._instance}", "swept up")
    heard.wait_for("due", "swept up")
    other.close()


def test_after_the_connection_was_lost_all_customers_are_looked_after(
    create_redis: Create, redis_server: RedisServer
) -> None:
    heard = Heard()
    create_redis(listener=heard.listener)
    with client(redis_server) as redis_client:
        wait_until(lambda: redis_client.client_list(_type="pubsub"), "a subscription")
        redis_client.client_kill_filter(_type="pubsub")
    heard.wait_for("reconnected")


# Messages to DMS: test_store_outbox.py has what holds for all stores


def test_when_redis_is_back_nobody_is_taken_for_dead_who_could_not_say_that_they_live(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    one, other = create_redis(), create_redis()
    one.enqueue("c", message("1"), take=True)
    die(redis_server, redis_prefix, one)
    other._back_at = time.monotonic()
    assert other.orphans(10) == []
    other._back_at = time.monotonic() - 10
    assert other.orphans(10) == ["c"]


def test_marks_of_the_version_before_are_known(create_redis: Create, redis_server: RedisServer, redis_prefix: str) -> None:
    store, old = create_redis(), create_redis()
    old.check()
    with client(redis_server) as redis_client:
        for key, mark in (
            ("done", 'd {"status":"sent","dms_status":200}'),
            ("waits", f"p {old._instance} 1"),
            ("posted", f"s {old._instance} 2"),
            ("left", "p dead 3"),
        ):
            redis_client.set(f"{redis_prefix}to_dms:{key}", mark)
    states = {key: store.enqueue("c", message(key), take=True).answers[0] for key in ("done", "waits", "posted", "left")}
    assert {key: answer.state for key, answer in states.items()} == {
        "done": "done",
        "waits": "pending",
        "posted": "pending",
        "left": "done",
    }
    assert states["done"].outcome == Outcome("sent", dms_status=200)
    assert states["left"].outcome == Outcome("failed", error=LOST_OUTCOME)


def test_an_instance_that_died_and_left_nothing_is_forgotten(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    dead, living = create_redis(), create_redis()
    dead.check()
    living.check()
    die(redis_server, redis_prefix, dead)
    assert living.orphans(10) == []
    with client(redis_server) as redis_client:
        assert redis_client.smembers(f"{redis_prefix}instances") == {living._instance}


def test_when_all_is_done_nothing_is_left_but_what_is_remembered(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    store = create_redis()
    queued = store.enqueue("c", message("key"), take=True).taken.first
    assert queued is not None
    sent = Outcome("sent", dms_status=200)
    store.complete("c", queued, sent, take=True, tell_later=False, remember_seconds=REMEMBER_SENT_SECONDS)
    with client(redis_server) as redis_client:
        left = {str(key).removeprefix(redis_prefix) for key in redis_client.scan_iter(f"{redis_prefix}*")}
        assert redis_client.get(f"{redis_prefix}outbox_size") == "0"
    assert left == {
        "to_dms:key",
        "owner:c",
        f"alive:{store._instance}",
        "instances",
        "outbox_number",
        "outbox_size",
    }


def test_an_instance_that_ended_regularly_is_not_alive_again_for_its_last_words(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    ended = create_redis()
    ended.claim("c", seconds_ago=0)
    ended.close()
    ended.release("c", waiting=False)

    with client(redis_server) as redis_client:
        assert not redis_client.exists(f"{redis_prefix}alive:{ended._instance}")


def test_a_redis_that_was_emptied_numbers_messages_on(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    store = create_redis()
    store.put("c", "before", None)
    (before,) = store.fetch("c", 0, 1).messages
    with client(redis_server) as redis_client:
        redis_client.delete(*redis_client.keys(f"{redis_prefix}*"))
    store.put("c", "after", None)

    assert [message.text for message in store.fetch("c", before.number, 100).messages] == ["after"]


def test_a_webhook_is_remembered_for_minutes_and_a_clients_message_for_a_day(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    store = create_redis()
    store.put("c", "1", "fingerprint")
    queued = store.enqueue("c", message("key"), take=True).taken.first
    assert queued is not None
    with client(redis_server) as redis_client:
        assert 590 < redis_client.ttl(f"{redis_prefix}seen:fingerprint") <= REMEMBER_SECONDS
        assert 86_390 < redis_client.ttl(f"{redis_prefix}to_dms:key") <= REMEMBER_SENT_SECONDS
        store.complete("c", queued, Outcome("sent"), take=True, tell_later=False, remember_seconds=REMEMBER_SENT_SECONDS)
        assert 86_390 < redis_client.ttl(f"{redis_prefix}to_dms:key") <= REMEMBER_SENT_SECONDS


def test_scripts_that_go_out_together_have_each_its_own_answer_or_error(create_redis: Create) -> None:
    store = create_redis()
    kept, failed, backlog = store._groups.run(("put", "c", "1", "", 600, 10, 0, 500), ("put",), ("outbox_backlog",))
    assert kept[0] == 1
    assert isinstance(failed, redis.ResponseError)
    assert backlog == ["0", "0"]
    assert texts(store) == ["1"]


def test_scripts_that_redis_has_forgotten_are_told_anew(create_redis: Create, redis_server: RedisServer) -> None:
    store = create_redis()
    store.put("c", "1", None)
    with client(redis_server) as redis_client:
        redis_client.script_flush()
    kept, backlog = store._groups.run(("put", "c", "2", "", 600, 10, 0, 500), ("outbox_backlog",))
    assert (kept[0], backlog) == (1, ["0", "0"])
    assert texts(store) == ["1", "2"]
