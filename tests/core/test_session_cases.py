"""core/session.py, one case at a time: what each input makes it do. The whole of it, in any order, is test_session.py's."""

from __future__ import annotations

from lchook.core.delivery import (
    Ask,
    Claim,
    Delivery,
    Effect,
    Fetch,
    Left,
    Message,
    Release,
    Removal,
    Remove,
    Retry,
    Send,
    StandsBy,
    TakenBack,
)
from lchook.core.session import FETCH_LIMIT, Session


def message(number: int) -> Message:
    return Message(number, f"<{number}>")


def sent(effects: list[Effect]) -> list[tuple[str, int]]:
    return [(effect.delivery.connection, effect.delivery.number) for effect in effects if isinstance(effect, Send)]


def here(*numbers: int, connection: str = "A") -> tuple[Session, list[Delivery]]:
    """A session whose customer spoke on a connection, and was sent these messages there."""
    session = Session("c")
    session.spoke(connection, 1.0)
    assert session.deliver_pending() == [Fetch(0)]
    effects = session.fetched([message(number) for number in numbers], "ours")
    assert sent(effects) == [(connection, number) for number in numbers]
    return session, [effect.delivery for effect in effects if isinstance(effect, Send)]


def test_a_message_is_sent_without_being_fetched_where_all_before_it_were_sent() -> None:
    session, _ = here(1)
    assert sent(session.stored(message(2), before=1)) == [("A", 2)]


def test_and_is_fetched_where_one_before_it_was_not() -> None:
    session, _ = here(1)
    assert session.stored(message(3), before=2) == [Fetch(1)]
    assert sent(session.fetched([message(2), message(3)], "ours")) == [("A", 2), ("A", 3)]


def test_or_where_the_store_does_not_say_its_number() -> None:
    session, _ = here(1)
    assert session.stored(Message(0, "<2>"), before=0) == [Fetch(1)]


def test_a_message_that_comes_while_others_are_fetched_is_fetched_after_them() -> None:
    session, _ = here()
    session.deliver_pending()
    assert session.stored(message(1), before=0) == []
    assert session.fetched([], "ours") == [Fetch(0)]


def test_as_many_as_can_be_fetched_may_not_be_all() -> None:
    session = Session("c")
    session.spoke("A", 1.0)
    session.deliver_pending()
    effects = session.fetched([message(number) for number in range(1, FETCH_LIMIT + 1)], "ours")
    assert effects[-1] == Fetch(FETCH_LIMIT)


def test_nothing_goes_to_a_newer_connection_while_messages_are_in_flight_on_an_older_one() -> None:
    session, (first,) = here(1)
    assert session.spoke("B", 2.0) == [Ask("A")]
    assert session.stored(message(2), before=1) == []
    assert session.acknowledged(first) == [Remove(), Fetch(1)]
    assert sent(session.fetched([message(1), message(2)], "ours")) == [("B", 2)], "what is acknowledged is not sent again"


def test_what_was_in_flight_on_a_connection_that_closed_comes_first() -> None:
    session, _ = here(1, 2)
    session.spoke("B", 2.0)
    session.stored(message(3), before=2)
    assert session.detached("A") == [TakenBack(2), Fetch(0)]
    assert sent(session.fetched([message(1), message(2), message(3)], "ours")) == [("B", 1), ("B", 2), ("B", 3)]


def test_messages_that_were_being_fetched_when_their_connection_closed_are_sent_to_nobody() -> None:
    session, _ = here()
    session.deliver_pending()
    assert session.detached("A") == [Left("A", elsewhere=False)]
    effects = session.fetched([message(1)], "ours")
    assert sent(effects) == []
    assert effects[-1] == Release(waiting=False)


def test_an_acknowledgement_counts_after_its_connection_closed_and_until_the_store_knows() -> None:
    session, (delivery,) = here(1)
    session.detached("A")
    session.released(Release(waiting=False))
    assert session.acknowledged(delivery) == [Remove()]
    assert not session.is_idle
    session.spoke("B", 2.0)
    session.deliver_pending()
    assert sent(session.fetched([message(1)], "ours")) == []


def test_what_was_fetched_before_it_was_removed_is_not_sent_again() -> None:
    session, (delivery,) = here(1)
    session.detached("A")
    session.released(Release(waiting=False))
    session.spoke("B", 2.0)
    assert session.deliver_pending() == [Fetch(0)]
    session.acknowledged(delivery)
    removal = session.removal()
    assert removal == Removal("c", [1], last=False)
    session.removed(removal)
    assert sent(session.fetched([message(1)], "ours")) == [], "the store answered the fetch first"


def test_a_customer_who_comes_back_while_the_store_hears_that_they_left_is_claimed_again() -> None:
    session, _ = here()
    assert session.detached("A") == [Left("A", elsewhere=False), Release(waiting=False)]
    session.spoke("B", 2.0)
    assert session.deliver_pending() == []
    assert session.released(Release(waiting=False)) == [Claim(2.0, is_weak=False)]
    assert session.claimed() == [Fetch(0)]


def test_a_customer_who_spoke_here_while_the_store_said_that_they_are_elsewhere_is_here() -> None:
    session, _ = here()
    session.deliver_pending()
    session.spoke("A", 2.0)
    assert session.fetched([], "elsewhere") == [Fetch(0)]
    assert session.connection == "A"


def test_one_that_another_instance_has_is_there_unless_only_a_connection_resumed_there_and_this_one_is_alive() -> None:
    session, _ = here()
    session.deliver_pending()
    assert session.fetched([], "elsewhere", is_weak=True) == [Left("A", elsewhere=True), Ask("A")]
    assert not session.is_idle
    assert session.alive("A") == [Claim(1.0, is_weak=False)]


def test_who_resumes_stands_by_and_gets_the_customer_when_theirs_is_dead() -> None:
    session, _ = here(1)
    assert session.resumed("B", 2.0) == [StandsBy("B"), Ask("A")]
    assert session.detached("A", was_dead=True)[:2] == [TakenBack(1), Ask("B")]
    assert session.connection == "B"


def test_a_failed_fetch_may_have_leased_messages_and_the_lease_is_given_back() -> None:
    session, _ = here()
    session.deliver_pending()
    assert session.fetch_failed() == [Retry()]
    assert session.inflight.leased
    assert session.detached("A") == [Left("A", elsewhere=False), Release(waiting=False)]
    session.released(Release(waiting=False))
    assert session.is_idle


def test_a_lease_is_over_when_nothing_is_in_flight_any_more_and_not_before() -> None:
    session, (first, second) = here(1, 2)
    session.acknowledged(first)
    assert session.removal() == Removal("c", [1], last=False)
    session.acknowledged(second)
    removal = session.removal()
    assert removal == Removal("c", [1, 2], last=True)
    session.removed(removal)
    assert not session.inflight.leased


def test_while_another_instance_waits_for_acknowledgements_one_looks_again_later() -> None:
    session, _ = here()
    session.deliver_pending()
    assert session.fetched([], "held") == [Retry()]
    assert session.retry() == [Fetch(0)]


def test_where_too_much_is_in_flight_the_next_acknowledgement_makes_room() -> None:
    session, (first,) = here(1)
    large = Message(2, "x" * 4_000_000)
    assert session.stored(large, before=1) == [Fetch(1)]
    assert session.fetched([large], "ours") == []
    assert session.acknowledged(first) == [Remove(), Fetch(1)]
    assert sent(session.fetched([large], "ours")) == [("A", 2)]


def test_who_types_first_on_a_connection_is_claimed_since_the_store_does_not_hear_of_typing() -> None:
    session = Session("c")
    session.spoke("A", 1.0, claim=True)
    assert session.deliver_pending() == [Claim(1.0, is_weak=False)]
    assert session.claimed() == [Fetch(0)]
    session.fetched([], "ours")
    session.spoke("A", 2.0, claim=True)
    assert session.deliver_pending() == [Fetch(0)]


def test_who_speaks_where_they_spoke_before_is_looked_for_where_another_instance_may_have_had_them() -> None:
    """Another tab spoke on another instance meanwhile, and this one was not told: what came for it there stayed there."""
    session, _ = here()
    session.calls.heard()
    session.fetched([], "ours")
    assert session.spoke("A", 2.0) == []
    assert session.calls.heard() == []
    assert session.spoke("A", 3.0) == []
    assert session.calls.heard(may_have_been_elsewhere=True) == [Fetch(0)]
