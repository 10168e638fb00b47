"""A lock for decisions: held for a few steps, while nothing waits and nothing is called that might.

gevent puts a lock of its own, for greenlets that wait for each other, in place of Python's. No greenlet ever finds this one
taken, as none has waited while it had it; so the system's own does, at a tenth of the price.
"""

from __future__ import annotations

from typing import Any

from gevent.monkey import get_original

DecisionLock: Any = get_original("_thread", "allocate_lock")
