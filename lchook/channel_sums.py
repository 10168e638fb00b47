"""What all channels have together, for those who ask about the process: may it end, is it ready, what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lchook.flows.to_customer import ToCustomer
from lchook.flows.to_dms import ToDms
from lchook.store import CustomerBacklog, MailboxBacklog, OutboxBacklog, Store


class Stores:
    """Of several channels: as `Store`, as far as the process is concerned. Customers are named `connection/customer`."""

    def __init__(self, each: Callable[[], dict[str, Store]]) -> None:
        self._each = each

    def check(self) -> None:
        """Fails where one of them would not keep a message now."""
        for store in self._each().values():
            store.check()

    def close(self) -> None:
        for store in self._each().values():
            store.close()

    def mailbox_backlog(self) -> MailboxBacklog:
        each = [store.mailbox_backlog() for store in self._each().values()]
        return MailboxBacklog(
            sum(one.messages for one in each),
            sum(one.customers for one in each),
            max((one.oldest_seconds for one in each), default=0.0),
        )

    def customer_backlogs(self, limit: int) -> list[CustomerBacklog]:
        found = [
            CustomerBacklog(named(name, one.customer_id), one.messages, one.oldest_seconds)
            for name, store in self._each().items()
            for one in store.customer_backlogs(limit)
        ]
        return sorted(found, key=lambda one: -one.oldest_seconds)[:limit]

    def outbox_backlog(self) -> OutboxBacklog:
        each = [store.outbox_backlog() for store in self._each().values()]
        return OutboxBacklog(sum(one.messages for one in each), max((one.oldest_seconds for one in each), default=0.0))


class ToCustomers:
    """Of several channels: as `ToCustomer`, likewise."""

    def __init__(self, each: Callable[[], dict[str, ToCustomer]]) -> None:
        self._each = each

    @property
    def counts(self) -> Counter[str]:
        return sum((each.counts for each in self._each().values()), Counter())

    def customers(self) -> int:
        return sum(each.customers() for each in self._each().values())

    def unacknowledged(self) -> int:
        return sum(each.unacknowledged() for each in self._each().values())

    def whereabouts(self, customer_id: str) -> tuple[bool, int]:
        """:param customer_id: `connection/customer`."""
        name, _, inner = customer_id.partition("/")
        channel = self._each().get(name)
        return (False, 0) if channel is None else channel.whereabouts(inner)


class ToDmss:
    """Of several channels: as `ToDms`, likewise."""

    def __init__(self, each: Callable[[], dict[str, ToDms]]) -> None:
        self._each = each

    def stop(self) -> None:
        for each in self._each().values():
            each.stop()

    def pending(self) -> int:
        return sum(each.pending() for each in self._each().values())

    def unfinished(self) -> int:
        return sum(each.unfinished() for each in self._each().values())


def named(connection: str, customer_id: str) -> str:
    """A customer among those of several channels. Names of connections have no slash."""
    return f"{connection}/{customer_id}"
