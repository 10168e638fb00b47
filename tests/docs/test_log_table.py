"""docs/troubleshooting.md's table of log lines has every warning and error that LCH logs, and no other."""

from __future__ import annotations

import re

from lchook.core import events
from lchook.core.events import LogEvent
from tests.docs.pages import page
from tests.support.log_events import all_logged

# python-engineio's own.
# Lines of libraries; gunicorn's, in words of ours; and what stands in a `reason`.
_OTHERS = {
    "is not an accepted origin",
    "LCH stays one process",
    "it waited longer than OUTBOX_TTL",
    "unknown: DMS may have it",
}


def quotations() -> list[str]:
    """The beginnings of lines that the table explains. Rows of what stands in a `reason` are not about lines."""
    table = page("docs/troubleshooting.md").text.partition("## By log line")[2]
    cells = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    return [quoted for cell in cells if "(in `reason`)" not in cell for quoted in re.findall(r"`([^`]+)`", cell)]


def explains(quoted: str, event: LogEvent) -> bool:
    return re.sub(r"^\{\w+\} ", "", event.text).startswith(quoted)


def test_every_warning_and_error_is_explained() -> None:
    logged = {logged.event for logged in all_logged() if logged.event and logged.level in ("warning", "error")}
    known = quotations()
    assert sorted(event.text for event in logged if not any(explains(quoted, event) for quoted in known)) == []


def test_what_is_explained_is_logged() -> None:
    unknown = [quoted for quoted in quotations() if not any(explains(quoted, event) for event in events.ALL.values())]
    assert set(unknown) == _OTHERS
