"""Redis: which instance delivers to a customer, and whose turn it is to post for one."""

from __future__ import annotations

from collections.abc import Callable

import redis

from lchook.store import REMEMBER_OUTCOME_SECONDS, REMEMBER_SECONDS, Bell, Kept, Removal
from lchook.store.redis import RedisStore
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

Create = Callable[..., RedisStore]


class Heard:
    """A bell that notes what rings."""

    def __init__(self) -> None:
        self.rang: list[tuple[str, ...]] = []
        self.bell = Bell(
            due=lambda customer_id: self.rang.append(("due", customer_id)),
            elsewhere=lambda customer_id: self.rang.append(("elsewhere", customer_id)),
            now=lambda customer_id, text: self.rang.append(("now", customer_id, text)),
            turn=lambda customer_id: self.rang.append(("turn", customer_id)),
            reconnected=lambda: self.rang.append(("reconnected",)),
        )

    def wait_for(self, *what: str) -> None:
        wait_until(lambda: what in self.rang, lambda: f"{what}, not {self.rang}")


def client(server: RedisServer) -> redis.Redis:
    return server.client()


def die(server: RedisServer, prefix: str, store: RedisStore, *, places_too: bool = True) -> None:
    """What Redis sees some seconds after the instance was killed."""
    with server.client() as redis_client:
        redis_client.delete(f"{prefix}alive:{store._instance}")
        if places_too:
            redis_client.delete(f"{prefix}line-of:{store._instance}")


def texts(store: RedisStore) -> list[str]:
    return [letter.text for letter in store.fetch("c", 0, 100).letters]


# Mailboxes


def test_the_instance_to_which_the_customer_came_last_delivers(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    assert texts(first) == ["1"]
    first.remove([Removal("c", [first.fetch("c", 0, 1).letters[0].number], last=True)])
    second.arrive("c", "1", None)

    assert not first.put("c", "2", None).here
    assert first.fetch("c", 0, 100).state == "elsewhere"
    assert second.put("c", "3", None).here
    assert texts(second) == ["2", "3"]


def test_a_repeat_rings_for_the_customers_instance_which_may_not_know_that_the_first_was_kept(create_redis: Create) -> None:
    heard = Heard()
    owner, other = create_redis(bell=heard.bell), create_redis()
    owner.claim("c", seconds_ago=0)
    owner.put("c", "1", "same")
    assert owner.put("c", "1", "same") == Kept(kept=False, here=True)
    assert heard.rang == []

    assert other.put("c", "1", "same") == Kept(kept=False, here=False)
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


def test_letters_on_their_way_elsewhere_are_waited_for(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    (letter,) = first.fetch("c", 0, 100).letters
    second.claim("c", seconds_ago=0)
    second.put("c", "2", None)
    assert second.fetch("c", 0, 100).state == "held"

    first.remove([Removal("c", [letter.number], last=True)])
    assert texts(second) == ["2"]


def test_letters_on_their_way_in_a_dead_instance_are_sent_again(
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


def test_an_instance_that_lets_go_leaves_the_letters_to_the_next(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    first.claim("c", seconds_ago=0)
    first.put("c", "1", None)
    first.fetch("c", 0, 100)
    first.leave("c", waiting=False)
    second.claim("c", seconds_ago=0)

    assert texts(second) == ["1"]


def test_others_are_told_of_letters_moves_turns_and_what_is_not_kept(create_redis: Create) -> None:
    heard = Heard()
    listening, other = create_redis(bell=heard.bell), create_redis()
    listening.claim("c ü:1", seconds_ago=0)
    other.put("c ü:1", "1", None)
    heard.wait_for("due", "c ü:1")
    other.pass_on("c ü:1", '{"type": "typing_indicator"}')
    heard.wait_for("now", "c ü:1", '{"type": "typing_indicator"}')
    other.arrive("c ü:1", "1", None)
    heard.wait_for("elsewhere", "c ü:1")
    listening.arrive("c ü:1", "2", None)
    other.finish("c ü:1", "1", None, "{}")
    heard.wait_for("turn", "c ü:1")


def test_a_notice_that_was_not_heard_is_swept_up(create_redis: Create, redis_server: RedisServer, redis_prefix: str) -> None:
    heard = Heard()
    listening, other = create_redis(bell=heard.bell), create_redis()
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
    create_redis(bell=heard.bell)
    with client(redis_server) as redis_client:
        wait_until(lambda: redis_client.client_list(_type="pubsub"), "a subscription")
        redis_client.client_kill_filter(_type="pubsub")
    heard.wait_for("reconnected")


# Messages to DMS


def turns(store: RedisStore, *tickets: str) -> list[bool | None]:
    return [store.turn("c", ticket, f"key {ticket}") for ticket in tickets]


def test_messages_get_their_turns_in_the_order_in_which_they_came_in_anywhere(create_redis: Create) -> None:
    first, second = create_redis(), create_redis()
    assert first.arrive("c", "1", "key 1").turn
    assert not second.arrive("c", "2", "key 2").turn
    assert not first.arrive("c", "3", "key 3").turn
    assert first.arrive("other", "4", "key 4").turn

    first.finish("c", "1", "key 1", "{}")
    assert turns(first, "3") == [False]
    assert turns(second, "2") == [True]
    second.finish("c", "2", "key 2", "{}")
    assert turns(first, "3") == [True]


def test_the_places_of_a_dead_instance_are_given_up(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    dead, living = create_redis(), create_redis()
    for ticket in ("1", "2"):
        dead.arrive("c", ticket, f"key {ticket}")
    living.arrive("c", "3", "key 3")
    assert turns(living, "3") == [False]
    die(redis_server, redis_prefix, dead)

    assert turns(living, "3") == [True]


def test_a_message_that_waited_in_a_dead_instance_keeps_its_place_and_one_being_posted_is_lost(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    dead, living = create_redis(), create_redis()
    dead.arrive("c", "1", "posted")
    dead.arrive("c", "2", "waiting")
    living.arrive("c", "3", "key 3")
    assert living.arrive("c", "5", "posted").state == "pending"
    assert living.arrive("c", "6", "waiting").state == "pending"
    die(redis_server, redis_prefix, dead, places_too=False)

    assert living.arrive("c", "5", "posted").state == "lost"
    arrival = living.arrive("c", "6", "waiting")
    assert (arrival.state, arrival.before) == ("first", "3")
    die(redis_server, redis_prefix, dead)
    assert living.turn("c", "6", "waiting") is True


def test_an_instance_that_was_taken_for_dead_does_not_post_what_another_has_now(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    paused, other = create_redis(), create_redis()
    other.arrive("c", "0", "key 0")
    paused.arrive("c", "1", "key 1")
    die(redis_server, redis_prefix, paused)
    assert other.arrive("c", "2", "key 1").state == "first"

    assert paused.turn("c", "1", "key 1") is None
    assert paused.arrive("c", "1", "key 1").state == "pending"


def test_an_instance_that_was_taken_for_dead_gets_places_anew_in_its_own_order(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    paused, other = create_redis(), create_redis()
    paused.arrive("c", "1", "key 1")
    other.arrive("c", "2", "key 2")
    paused.arrive("c", "3", "key 3")
    die(redis_server, redis_prefix, paused)
    assert turns(other, "2") == [True]
    assert turns(paused, "1") == [False]
    other.finish("c", "2", "key 2", "{}")

    assert turns(paused, "1") == [True]
    paused.finish("c", "1", "key 1", "{}")
    assert turns(paused, "3") == [True]


def test_a_failed_arrival_gets_the_place_that_it_has_among_its_own(create_redis: Create) -> None:
    store, other = create_redis(), create_redis()
    other.arrive("c", "1", "key 1")
    store.arrive("c", "3", "key 3")
    assert store.arrive("c", "2", "key 2", before="3").before == "3"
    other.finish("c", "1", "key 1", "{}")

    assert turns(store, "3", "2") == [False, True]


def test_an_instance_that_ended_regularly_is_not_alive_again_for_its_last_words(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    ended = create_redis()
    ended.claim("c", seconds_ago=0)
    ended.close()
    ended.leave("c", waiting=False)

    with client(redis_server) as redis_client:
        assert not redis_client.exists(f"{redis_prefix}alive:{ended._instance}")


def test_a_redis_that_was_emptied_numbers_letters_on(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    store = create_redis()
    store.put("c", "before", None)
    (before,) = store.fetch("c", 0, 1).letters
    with client(redis_server) as redis_client:
        redis_client.delete(*redis_client.keys(f"{redis_prefix}*"))
    store.put("c", "after", None)

    assert [letter.text for letter in store.fetch("c", before.number, 100).letters] == ["after"]


def test_a_webhook_is_remembered_for_minutes_and_a_clients_message_for_a_day(
    create_redis: Create, redis_server: RedisServer, redis_prefix: str
) -> None:
    store = create_redis()
    store.put("c", "1", "fingerprint")
    store.arrive("c", "1", "key")
    with client(redis_server) as redis_client:
        assert 590 < redis_client.ttl(f"{redis_prefix}seen:fingerprint") <= REMEMBER_SECONDS
        assert 86_390 < redis_client.ttl(f"{redis_prefix}to_dms:key") <= REMEMBER_OUTCOME_SECONDS
        store.finish("c", "1", "key", "{}")
        assert 86_390 < redis_client.ttl(f"{redis_prefix}to_dms:key") <= REMEMBER_OUTCOME_SECONDS
