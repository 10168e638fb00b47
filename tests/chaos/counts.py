"""Counting at both ends: what was promised, what arrived, how often, in which order; and where a repeat has its reason."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

from lchook.sandbox.inbox import Received
from tests.support.chaos_clients import ChaosClient, Receipt

_STORED = re.compile(r"stored customer='([^']*)' message='?(\d+)")
_ACKNOWLEDGED = re.compile(r"acknowledged(?: late)? customer='([^']*)' message='([^']*)' socket='([^']*)'")


@dataclass(slots=True)
class Count:
    """Of one flow. `problems` says in words what went wrong.

    Of the doubled ones could not be avoided: `in_flight`, whose acknowledgement LCH never saw, for the connection or LCH
    itself died before; `interrupted`, where LCH was killed between seeing it and noting it in the store; `unacknowledged`,
    by clients that acknowledge nothing, and so leave nothing to go by when their connection dies.
    """

    messages: int = 0
    # Where there are several connections to Pega: those that came to a customer, or to the DMS, of another one.
    crossed: int = 0
    lost: int = 0
    doubled: int = 0
    in_flight: int = 0
    interrupted: int = 0
    unacknowledged: int = 0
    out_of_order: int = 0
    # Out of order at clients that acknowledge nothing: nothing is held back for them until their old connection is dead.
    loosely_ordered: int = 0
    # To DMS: how many were reported to their sender as failed, and of how many of these nobody knows whether DMS has them.
    failed: int = 0
    unknown: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        unavoidable = self.in_flight + self.interrupted + self.unacknowledged
        return not self.crossed and not self.lost and not self.out_of_order and self.doubled == unavoidable

    def __iadd__(self, other: Count) -> Count:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        return self


class Acknowledgements:
    """What the instances logged of acknowledgements: on which socket each message's came, and how that life ended."""

    def __init__(self, lives: Iterable[tuple[str, str]]) -> None:
        """:param lives: the log of each, and "killed" or how else it ended."""
        self._seen: dict[tuple[str, str, str], str] = {}
        for log, end in lives:
            for customer, message, sid in _ACKNOWLEDGED.findall(log):
                self._seen[customer, message, sid] = end

    def fate(self, customer_id: str, receipt: Receipt) -> str | None:
        """How the life ended that saw the acknowledgement which the client sent; None where none saw it."""
        return self._seen.get((customer_id, f"m{receipt.number}", receipt.sid))


def to_customer(client: ChaosClient, kept: Sequence[int], acknowledgements: Acknowledgements) -> Count:
    """:param kept: the numbers of the messages that LCH answered with 200, in that order."""
    count = Count(messages=len(kept), crossed=client.crossed)
    if client.crossed:
        count.problems.append(f"{client.customer_id} of {client.pega}: {client.crossed} were another connection's")
    got: dict[int, list[Receipt]] = defaultdict(list)
    last_on: dict[str, int] = {}
    highest = -1
    disorder: list[str] = []
    for receipt in client.receipts:
        if receipt.number not in got:
            if receipt.number < highest:
                disorder.append(f"{client.customer_id}: {receipt.number} came after {highest}")
            highest = max(highest, receipt.number)
        elif receipt.number <= last_on.get(receipt.sid, -1):
            disorder.append(f"{client.customer_id}: {receipt.number} came after {last_on[receipt.sid]} on one socket")
        last_on[receipt.sid] = receipt.number
        got[receipt.number].append(receipt)
    if client.kind == "silent":
        count.loosely_ordered = len(disorder)
    else:
        count.out_of_order = len(disorder)
        count.problems += disorder
    for number in kept:
        if number not in got:
            count.lost += 1
            count.problems.append(f"{client.customer_id}: {number} never came")
    for number, receipts in got.items():
        for before, _again in itertools.pairwise(receipts):
            count.doubled += 1
            fate = acknowledgements.fate(client.customer_id, before)
            if not before.acknowledged:
                count.unacknowledged += 1
            elif fate is None:
                count.in_flight += 1
            elif fate == "killed":
                count.interrupted += 1
            else:
                count.problems.append(f"{client.customer_id}: {number} came again, though acknowledged on {before.sid}")
    return count


class Stored:
    """What the instances logged of messages that they have stored: from then on these must not be lost."""

    def __init__(self, logs: Iterable[str]) -> None:
        self._numbers: dict[str, set[int]] = defaultdict(set)
        for log in logs:
            for customer, message in _STORED.findall(log):
                self._numbers[customer].add(int(message))

    def of(self, customer_id: str) -> list[int]:
        return sorted(self._numbers[customer_id])


def to_dms(clients: Iterable[ChaosClient], received: Iterable[Received], stored: Stored, pega: str = "") -> Count:
    """A post that was answered with 200, or with nothing (reset, hung up), has reached DMS.

    :param pega: the connection that this DMS, and these clients, belong to.
    """
    count = Count()
    reached: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    for post in received:
        if post.body.get("type") == "text" and post.body.get("context_data", {}).get("pega", "") != pega:
            count.crossed += 1
            count.problems.append(f"a message of {post.body.get('context_data')} reached the DMS of {pega}")
        elif post.body.get("type") == "text" and post.status in (200, None):
            reached[post.body["customer_id"]].append((post.body["message_id"], post.status))
    for client in clients:
        posts = reached[client.customer_id]
        # One that does not wait for outcomes uses two sockets at once: the order is that of each of them.
        highest: dict[str, int] = defaultdict(lambda: -1)
        times: dict[int, int] = defaultdict(int)
        for number, _ in posts:
            times[number] += 1
            sid = client.sent_on.get(number, "") if client.kind == "deaf" else ""
            if times[number] > 1:
                count.doubled += 1
                count.problems.append(f"{client.customer_id}: message {number} reached DMS again")
            elif number < highest[sid]:
                count.out_of_order += 1
                count.problems.append(f"{client.customer_id}: message {number} reached DMS after {highest[sid]}")
            highest[sid] = max(highest[sid], number)
        taken = {number for number, status in posts if status == 200}
        if client.kind == "deaf":
            _count_what_was_stored(count, client, stored.of(client.customer_id), taken)
            continue
        for number, told in client.told.items():
            count.messages += 1
            if told.outcome is None:
                count.lost += 1
                count.problems.append(f"{client.customer_id}: nobody said what became of message {number}")
            elif told.outcome["status"] == "failed":
                count.failed += 1
                count.unknown += "may have" in told.outcome["error"]
            elif number not in taken:
                count.lost += 1
                count.problems.append(f"{client.customer_id}: message {number} was called sent, and DMS has not taken it")
    return count


def _count_what_was_stored(count: Count, client: ChaosClient, stored: Sequence[int], taken: set[int]) -> None:
    """Of a client that sends each message once, and looks at no outcome."""
    for number in stored:
        count.messages += 1
        told = client.told.get(number)
        outcomes = [outcome for outcome in (told and told.outcome, client.statuses.get(number)) if outcome]
        failures = [outcome for outcome in outcomes if outcome["status"] == "failed"]
        if failures:
            count.failed += 1
            count.unknown += "may have" in failures[0]["error"]
        elif number not in taken:
            count.lost += 1
            count.problems.append(f"{client.customer_id}: message {number} was stored, and DMS has not taken it")
