"""Log lines: where they go and how they look. Text from outside reaches them only through `%r`, which escapes it."""

from __future__ import annotations

import logging

from config import Settings

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def set_up_logs(settings: Settings) -> None:
    """Let LCH's loggers speak on stderr from `LOG_LEVEL` on, unless somebody (pytest, a host) has set up logging before."""
    ours = logging.getLogger("lchook")
    ours.setLevel(settings.log_level)
    if not logging.getLogger().handlers and not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        ours.addHandler(handler)
        ours.propagate = False
