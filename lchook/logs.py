"""The log: one event of `lchook.core.events` a line, with named fields, as text or as JSON.

A line never holds the text of a message, a token or a secret. Text from outside is a field, and fields are escaped, so that
nobody can forge a line. A customer and a message have the same names (`customer`, `message`) on every line of their way.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from lchook.core import events
from lchook.core.events import LogEvent
from lchook.log_output import Output, steady

_LEVELS = {level: logging.getLevelName(level) for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)}
# A field is an id, a type, a reason. Whoever sends more than this as one need not be repeated in full.
_MAX_CHARACTERS = 200
_LARGE = 10**_MAX_CHARACTERS
# `json.dumps` would make an encoder for each line.
_json = json.JSONEncoder(default=str).encode


class Redacted:
    """What a customer or agent says, as a field. Shows only how long it is, unless `LOG_TEXT` is on."""

    __slots__ = ("_text",)
    shown = False

    def __init__(self, text: object) -> None:
        self._text = text

    def __str__(self) -> str:
        if self._text is None:
            return ""
        if Redacted.shown:
            return str(self._text)
        parts = self._text if isinstance(self._text, list) else [self._text]
        return f"({sum([len(str(part)) for part in parts])} characters)"


class LazyMessage(NamedTuple):
    """What a log record holds instead of a text."""

    event_id: str
    text: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return self.text + "".join([f" {name}={_short(value)!r}" for name, value in self.fields.items()])


# Time (seconds since 1970), level, part, message, what went wrong → a line.
Render = Callable[[float, str, str, "LazyMessage | str", "str | None"], str]


class LogEntry(NamedTuple):
    """An event that was logged. `at` is in seconds since 1970; `text` is the event's, filled."""

    at: float
    level: str
    part: str
    event: LogEvent
    text: str
    fields: dict[str, Any]


class Log:
    """A module's logger. Each line is an event and its fields."""

    # The latest entries of all loggers, whatever their level, oldest first; kept only where somebody may want to see them.
    history: ClassVar[deque[LogEntry] | None] = None
    # Where lines go without a log record, which would cost more than all else about them. None: through `logging`.
    output: ClassVar[Output | None] = None
    render: ClassVar[Render]
    # Says for which connection to Pega something runs, where there are several.
    connection: ClassVar[Callable[[], str] | None] = None

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"lchook.{_part_of(name)}")
        self._part = _part_of(name)

    def debug(self, event: LogEvent, /, **fields: Any) -> None:
        if self._logger.isEnabledFor(logging.DEBUG):
            self._write(logging.DEBUG, event, fields)

    def info(self, event: LogEvent, /, **fields: Any) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: LogEvent, /, **fields: Any) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: LogEvent, /, **fields: Any) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: LogEvent, /, **fields: Any) -> None:
        """An error that nobody expected; with where it came from."""
        self._write(logging.ERROR, event, fields, exc_info=True)

    def unexpected(self, event: LogEvent, error: BaseException, /, **fields: Any) -> None:
        """As `exception`, for an error that is not being handled just now."""
        self._write(logging.ERROR, event, fields, exc_info=error)

    def _write(self, level: int, event: LogEvent, fields: dict[str, Any], *, exc_info: bool | BaseException = False) -> None:
        text = event.text
        if Log.connection is not None and (connection := Log.connection()):
            fields["connection"] = connection
        if event.named:
            text, fields = event.filled(fields)
        if Log.history is not None and level > logging.DEBUG:
            Log.history.append(LogEntry(time.time(), _LEVELS[level].lower(), self._part, event, text, fields))
        if not self._logger.isEnabledFor(level):
            return
        message = LazyMessage(event.id, text, fields)
        if Log.output is None or exc_info:
            self._logger.log(level, message, exc_info=exc_info)
        else:
            Log.output.write_later(Log.render, time.time(), _LEVELS[level], self._part, message, None)


def set_up_logs(levels: dict[str, str], log_format: str, *, show_text: bool) -> None:
    """Let LCH's loggers speak on stderr, unless somebody (pytest, a host) has set up logging before.

    :param levels: by logger name; "" for all of LCH.
    :param log_format: "text" or "json".
    """
    Redacted.shown = show_text
    ours = logging.getLogger("lchook")
    if not logging.getLogger().handlers and not ours.handlers:
        stream = steady(sys.stderr)
        Log.render = staticmethod(json_line if log_format == "json" else text_line)
        if isinstance(stream, Output):
            Log.output = stream
            Log.output.notice = _notice
        handler = logging.StreamHandler(stream)
        handler.setFormatter(_Formatter(Log.render))
        for name in ("lchook", "engineio", "socketio"):
            logger = logging.getLogger(name)
            logger.addHandler(handler)
            logger.propagate = False
        if log_format == "json":
            # Whoever reads objects must not find anything else between: what other libraries say, and Python's warnings.
            logging.getLogger().addHandler(handler)
            logging.captureWarnings(True)
    for name, level in levels.items():
        logging.getLogger(f"lchook.{name}" if name else "lchook").setLevel(level)
    # On INFO they log whole packets, and with them what customers say; their warnings are of what single clients do. Where
    # its own logger has no level, python-engineio (4.15.1) adds a handler that writes escape sequences as they come.
    for name in ("engineio", "engineio.server", "socketio", "socketio.server"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It warns of each connection that it does not keep, and of each retry; the log says what became of the message.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _notice(count: int) -> str:
    """Stands in the log for lines that are missing there."""
    message = LazyMessage(events.LINES_DROPPED.id, events.LINES_DROPPED.text, {"count": count})
    return Log.render(time.time(), "WARNING", "log", message, None)


def text_line(at: float, level: str, part: str, what: LazyMessage | str, error: str | None) -> str:
    """`2026-11-22 23:49:50.123 INFO    to_dms: to DMS: sent customer='c1' message=17`, with the line's end."""
    second = int(at)
    said = str(what)
    if not said.isprintable():
        said = said.encode("unicode_escape").decode()
    line = f"{_local(second)}.{int((at - second) * 1000):03d} {level:<7} {part}: {said}"
    return f"{line} error={error!r}\n" if error else line + "\n"


def json_line(at: float, level: str, part: str, what: LazyMessage | str, error: str | None) -> str:
    """One JSON object: `time` (UTC, ISO 8601), `level`, `part`, `id`, `event` (the text), and the event's fields; with the
    line's end. What other libraries log has no id."""
    second = int(at)
    entry: dict[str, Any] = {
        "time": f"{_utc(second)}.{int((at - second) * 1000):03d}Z",
        "level": level.lower(),
        "part": part,
    }
    if isinstance(what, LazyMessage):
        entry["id"] = what.event_id
        entry["event"] = what.text
        for name, value in what.fields.items():
            entry[name] = _short(value)
    else:
        entry["event"] = what
    if error:
        entry["error"] = error
    return _json(entry) + "\n"


def _part_of(name: str) -> str:
    """What lines and levels call a module: by its name, without the folder where the name says enough."""
    return re.sub(r"^lchook\.(?:(?:core|flows|web)\.)?", "", name)


@functools.lru_cache(maxsize=2)
def _local(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@functools.lru_cache(maxsize=2)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class _Formatter(logging.Formatter):
    """For what comes through `logging`: the libraries' lines, and errors with a trace."""

    def __init__(self, render: Render) -> None:
        super().__init__()
        self._render = render

    def format(self, record: logging.LogRecord) -> str:
        what = record.msg if isinstance(record.msg, LazyMessage) else record.getMessage()
        part = _part_of(record.name)
        return self._render(record.created, record.levelname, part, what, _error(record)).rstrip("\n")


def _short(value: Any) -> Any:
    """A field as it is shown: what nobody can make longer than it should be as it is, all else as text, cut short."""
    if value.__class__ is str and len(value) <= _MAX_CHARACTERS:
        return value
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < _LARGE):
        return value
    text = str(value)
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "…"


def _error(record: logging.LogRecord) -> str | None:
    """What went wrong and where, without the error's own text: that may quote a message. On debug, all of it."""
    if not record.exc_info or record.exc_info[1] is None:
        return None
    if logging.getLogger("lchook").isEnabledFor(logging.DEBUG):
        return logging.Formatter().formatException(record.exc_info)
    trace = record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(record.exc_info[1]).__name__}{where} (LOG_LEVEL=debug shows more)"
