"""Notices clients that give one message_id to several messages, so that the log can say so. No I/O.

They lose nothing by it but this: LCH takes equal words under an equal id for a repeat.
"""

from __future__ import annotations

from collections import OrderedDict

from lchook.core.messages import MessageToDms
from lchook.locks import DecisionLock

# What is remembered is bounded: to miss one now and then does no harm.
_MAX_MESSAGES = 4_000
_MAX_CUSTOMERS = 1_000


class ReusedIds:
    """Call from anywhere."""

    def __init__(self) -> None:
        self._lock = DecisionLock()
        # Of the latest messages what is equal for equal ids, and the key; as numbers, which are small.
        self._keys: OrderedDict[int, int] = OrderedDict()
        self._told: set[str] = set()

    def notices(self, message: MessageToDms) -> bool:
        """Has this id been seen with other content, for the first time of this customer?"""
        if message.key is None:
            return False
        name, key = hash((message.customer_id, message.type, message.message_id)), hash(message.key)
        with self._lock:
            before = self._keys.get(name, key)
            self._keys[name] = key
            if len(self._keys) > _MAX_MESSAGES:
                self._keys.popitem(last=False)
            if before == key or message.customer_id in self._told or len(self._told) >= _MAX_CUSTOMERS:
                return False
            self._told.add(message.customer_id)
            return True
