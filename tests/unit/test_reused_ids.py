"""reused_ids.py: who gives one id to several messages is noticed once, with bounded memory."""

from __future__ import annotations

import pytest

from lchook.core.messages import MessageToDms, dms_from_client
from lchook.flows import reused_ids
from lchook.flows.reused_ids import ReusedIds


def message(customer_id: str, message_id: object, text: str, type_: str = "text") -> MessageToDms:
    fields = {"type": type_, "customer_id": customer_id, "message_id": message_id, "text": [text]}
    return dms_from_client(fields, max_bytes=1000, resolve_customer=str)


@pytest.mark.parametrize("message_id", [0, 1, "1", 1.5])
def test_it_is_noticed_once_of_a_customer(message_id: object) -> None:
    ids = ReusedIds()
    told = [ids.notices(message(customer, message_id, text)) for customer in "ab" for text in "xxyxz"]

    assert told == [False, False, True, False, False] * 2


def test_other_ids_types_and_customers_are_nothing_to_notice() -> None:
    ids = ReusedIds()
    said = [message("a", 1, "x"), message("a", "1", "y"), message("a", 2, "z"), message("b", 1, "y")]
    said += [message("a", 1, "x", "customer_end_session"), message("a", None, "x"), message("a", None, "y")]

    assert not any(map(ids.notices, said))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reused_ids, "_MAX_MESSAGES", 3)
    monkeypatch.setattr(reused_ids, "_MAX_CUSTOMERS", 2)
    ids = ReusedIds()
    for number in range(10):
        ids.notices(message("a", number, "x"))

    assert not ids.notices(message("a", 0, "y")), "forgotten"
    assert ids.notices(message("a", 9, "y"))
    for customer, told in (("b", True), ("c", False)):
        ids.notices(message(customer, 1, "x"))
        assert ids.notices(message(customer, 1, "y")) is told
