"""On which of their sockets a customer is reached."""

from __future__ import annotations

import threading

import pytest

from lchook.flows.customers import Customer

NEVER = float("-inf")


def on(sid: str | None, *resumed: str, spoke_at: float = NEVER) -> Customer:
    """A customer who is reached on that socket, while those resumed, in that order."""
    customer = Customer("c", threading.Lock(), sid, spoke_at=spoke_at)
    customer.resumed = list(resumed)
    return customer


@pytest.mark.parametrize(
    ("customer", "spoke_at", "stands_by"),
    [
        (on(None), None, False),
        (on("B"), None, False),
        (on("A"), None, True),
        (on("A", spoke_at=100), None, True),
        (on("A", spoke_at=100), 99, True),
        (on("A", spoke_at=100), 101, False),
        (on("A"), 1, False),
    ],
)
def test_a_socket_that_resumes_stands_by_where_the_customer_is_on_one_on_which_they_spoke_later(
    customer: Customer, spoke_at: float | None, stands_by: bool
) -> None:
    assert customer.stand_by("B", spoke_at) is stands_by
    assert "B" in customer.resumed


def test_in_place_of_one_that_was_dead_comes_the_first_that_resumed_since_it_last_answered() -> None:
    customer = on("A", "A", "B")
    for sid in ("C", "D"):
        assert customer.stand_by(sid, None)
    customer.drop("A", silently=True)
    assert customer.sid == "C"
    assert customer.stand_by("E", None), "C came in A's place"


def test_where_one_closed_another_is_reached_until_somebody_comes_back() -> None:
    customer = on("A", "A", "B")
    customer.drop("A", silently=False)
    assert customer.sid == "B"
    assert not customer.stand_by("A again", None)


def test_who_spoke_last_but_one_is_not_fallen_back_on_unless_it_resumed() -> None:
    customer = on("A")
    customer.move_to("B", 100)
    customer.drop("B", silently=False)
    assert customer.sid is None

    customer = on("A", "A")
    customer.move_to("B", 100)
    customer.drop("B", silently=False)
    assert customer.sid == "A"


def test_of_many_sockets_that_resumed_the_oldest_are_forgotten_but_not_the_customers_own() -> None:
    customer = on("0", "0")
    forgotten = []
    for number in range(1, 20):
        customer.stand_by(f"{number}", None)
        forgotten.append(customer.too_many())
    assert customer.resumed[0] == "0"
    assert len(customer.resumed) == 8
    assert forgotten[-1] == "12"
