"""Counts the functions that a gunicorn worker calls, from one signal to the next, for `benchmarks/calls.py`.

Python loads it at its start where this folder is in PYTHONPATH. The counts go to the file that CALLS_FILE names.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from types import FrameType
from typing import Any

_counts: Counter[Any] = Counter()


def _called(frame: FrameType, event: str, arg: Any) -> None:
    if event == "call":
        _counts[frame.f_code] += 1
    elif event == "c_call":
        _counts[f"{getattr(arg, '__qualname__', arg)} (C), from {frame.f_code.co_qualname}"] += 1


def _switch(*_: object) -> None:
    if sys.getprofile() is None:
        _counts.clear()
        sys.setprofile(_called)
        return
    sys.setprofile(None)
    with open(os.environ["CALLS_FILE"], "w", encoding="utf-8") as file:
        for what, count in _counts.most_common():
            name = what if isinstance(what, str) else f"{what.co_qualname} ({os.path.basename(what.co_filename)})"
            file.write(f"{count} {name}\n")


if "CALLS_FILE" in os.environ:
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGRTMIN, _switch))
