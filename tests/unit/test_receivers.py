"""On which of their connections a customer is reached."""

from __future__ import annotations

import pytest

from lchook.core.receivers import MAX_RESUMED, NEVER, Receivers


def on(current: str | None, *resumed: str, spoke_at: float = NEVER) -> Receivers:
    """A customer who is reached on that connection, while those resumed, in that order."""
    return Receivers(current, spoke_at, resumed=list(resumed))


@pytest.mark.parametrize(
    ("receivers", "spoke_at", "has_them"),
    [
        (on(None), None, True),
        (on("B"), None, True),
        (on("A"), None, False),
        (on("A", spoke_at=100), None, False),
        (on("A", spoke_at=100), 99, False),
        (on("A", spoke_at=100), 101, True),
        (on("A"), 1, True),
    ],
)
def test_one_that_resumes_stands_by_where_the_customer_spoke_later_on_another(
    receivers: Receivers, spoke_at: float | None, has_them: bool
) -> None:
    assert receivers.resumes("B", spoke_at, is_older=False) is has_them
    assert "B" in receivers.resumed


def test_in_place_of_one_that_was_dead_comes_the_first_that_resumed_since_it_last_answered() -> None:
    receivers = on("A", "A", "B")
    for connection in ("C", "D"):
        assert not receivers.resumes(connection, None, is_older=False)
    receivers.closed("A", was_dead=True)
    assert receivers.current == "C"
    assert not receivers.resumes("E", None, is_older=False), "C came in A's place"


def test_where_one_closed_another_is_reached_until_somebody_comes_back() -> None:
    receivers = on("A", "A", "B")
    receivers.closed("A", was_dead=False)
    assert receivers.current == "B"
    assert receivers.resumes("A again", None, is_older=False)


def test_who_spoke_last_but_one_is_not_fallen_back_on_unless_it_resumed() -> None:
    receivers = on("A")
    receivers.speaks("B", 100, is_older=False)
    receivers.closed("B", was_dead=False)
    assert receivers.current is None

    receivers = on("A", "A")
    receivers.speaks("B", 100, is_older=False)
    receivers.closed("B", was_dead=False)
    assert receivers.current == "A"


def test_a_younger_one_that_spoke_before_has_the_customer_again_where_an_older_one_closes() -> None:
    receivers = on("B")
    receivers.speaks("A", 100, is_older=True)
    receivers.closed("A", was_dead=False)
    assert receivers.current == "B"


def test_of_many_that_resumed_the_oldest_are_forgotten_but_not_the_current_one() -> None:
    receivers = on("0", "0")
    for number in range(1, 20):
        receivers.resumes(f"{number}", None, is_older=False)
    assert receivers.resumed[0] == "0"
    assert len(receivers.resumed) == MAX_RESUMED
    assert receivers.resumed[1:] == [f"{number}" for number in range(13, 20)]
