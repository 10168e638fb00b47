"""Where lines of the log go: a stream that never makes anybody wait and never fails.

A log may be a pipe that nobody reads, a full disk, a terminal that is gone. A write to it then blocks for good, or raises,
and whoever logs would stop with it. Here lines go into a bounded queue, and a thread of its own writes them. Lines that
cannot be written are dropped, the oldest first, and counted; when it works again, a line says how many are missing.

Knows nothing of what is in the lines. gevent appears only because its patching takes the system's threads and locks away.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from gevent.monkey import get_original

_allocate_lock = get_original("_thread", "allocate_lock")
_start_new_thread = get_original("_thread", "start_new_thread")
_sleep = get_original("time", "sleep")

# Half a second's worth of a process that does nothing but serve.
_MAX_LINES = 10_000
_MAX_CHARACTERS = 100_000
# So much goes into a pipe at once, unmixed with what other processes write: PIPE_BUF on Linux.
_MAX_BYTES = 4_096
# The first line after a silence is written at once; under load, lines of so much time are written together.
_PAUSE_SECONDS = 0.01
# Between tries, while it cannot be written.
_RETRY_SECONDS = 0.25
# At the end, lines that say why it ends have so much time to be written.
_EXIT_SECONDS = 1.0


# A text, or what makes one.
Line = str | tuple[Callable[..., str], tuple[Any, ...]]


class Output(io.TextIOBase):
    """A text stream for one file descriptor. Its thread starts with the first line, in each process anew."""

    # All of this process, for forks and for its end.
    _all: ClassVar[list[Output]] = []

    def __init__(self, descriptor: int | None) -> None:
        """:param descriptor: what to write to; `None` where there is nothing, and all lines are dropped."""
        super().__init__()
        # No descriptor at all: the system refuses each write.
        self._descriptor = -1 if descriptor is None else descriptor
        # The line that stands for so many that are missing. Ends with a line's end.
        self.notice: Callable[[int], str] = lambda count: f"{count} lines of the log could not be written\n"
        self.begin_anew()
        Output._all.append(self)

    def begin_anew(self) -> None:
        """As new: after a fork, what is queued is the other process's to write."""
        self._lines: deque[Line] = deque(maxlen=_MAX_LINES)
        # A line that had no place in what was written last.
        self._next: str | None = None
        # Lines that were dropped because too many waited, and because writing failed.
        self.crowded_out = 0
        self.not_written = 0
        self._said = 0
        self._started = False
        self._asleep = False
        self._busy = False
        self._wake = _allocate_lock()
        self._wake.acquire()
        # What was written last is the beginning of a line whose rest is lost.
        self._in_line = False

    def write(self, text: str, /) -> int:
        """Never waits: no lock either, since signal handlers write, and finalizers."""
        if not isinstance(text, str):
            raise TypeError("a text stream takes text")
        self._put(text)
        return len(text)

    def write_later(self, make: Callable[..., str], *args: Any) -> None:
        """As `write`, with what `make(*args)` returns.

        It is called in the thread, for many lines in a row, at a lower price than between other things. So it must not touch
        what is gevent's, and nobody may change its arguments.
        """
        self._put((make, args))

    def _put(self, line: Line) -> None:
        lines = self._lines
        if len(lines) == _MAX_LINES:
            self.crowded_out += 1
        lines.append(line)
        if self._asleep:
            self._asleep = False
            # Another thread's line may have woken it in the meantime.
            with contextlib.suppress(RuntimeError):
                self._wake.release()
        elif not self._started:
            self._started = True
            _start_new_thread(self._write_for_ever, (lines, self._wake))

    def flush(self) -> None:
        """Nothing: whoever asks for it must not wait. `finish` does."""

    def finish(self, within_seconds: float) -> None:
        """Wait until all is written, but no longer than this."""
        deadline = time.monotonic() + within_seconds
        while (self._lines or self._busy) and time.monotonic() < deadline:
            _sleep(0.002)

    def close(self) -> None:
        """Nothing: others hold it too."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        if self._descriptor < 0:
            raise io.UnsupportedOperation("there is nothing to write to")
        return self._descriptor

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    # What follows runs in the thread. `_busy` and `_asleep` are set before the queue is looked at, and the others look
    # after they have put something in.

    def _write_for_ever(self, lines: deque[Line], wake: Any) -> None:
        while True:
            self._busy = True
            while lines or self._next is not None:
                self._write_some(lines)
            self._busy = False
            _sleep(_PAUSE_SECONDS)
            self._asleep = True
            if not lines:
                wake.acquire()
            self._asleep = False

    def _write_some(self, lines: deque[Line]) -> None:
        missing = self.crowded_out + self.not_written - self._said
        if missing and not self._rest_of("\n" * self._in_line + self.notice(missing)):
            self._said += missing
        pieces: list[str] = []
        size, piece, self._next = 0, self._next, None
        with contextlib.suppress(IndexError):
            while True:
                if piece is None:
                    piece = _text_of(lines.popleft())
                size += len(piece)
                if pieces and size > _MAX_BYTES:
                    self._next = piece
                    break
                pieces.append(piece)
                piece = None
        rest = self._rest_of("".join(pieces))
        if rest:
            # The others would fare no better.
            self.not_written += rest.count(b"\n") + len(lines) + (self._next is not None)
            lines.clear()
            self._next = None
            _sleep(_RETRY_SECONDS)

    def _rest_of(self, text: str) -> bytes:
        """Write the text, however long that takes, and return what of it cannot be written."""
        data = text.encode("utf-8", "backslashreplace")
        while data:
            try:
                count = os.write(self._descriptor, data)
            except BlockingIOError:
                _sleep(_RETRY_SECONDS)
            except OSError:
                break
            else:
                self._in_line = not data.endswith(b"\n", 0, count)
                data = data[count:]
        return data


def _text_of(line: Line) -> str:
    if not isinstance(line, str):
        make, args = line
        try:
            line = make(*args)
        except Exception as error:
            line = f"a line of the log could not be made: {type(error).__name__}\n"
    return line if len(line) <= _MAX_CHARACTERS else line[:_MAX_CHARACTERS] + "…\n"


def take_over() -> None:
    """From now on all that this process says on standard output and standard error goes this way: its log, the libraries',
    the server's, and what Python itself has to say."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, f"__{name}__") is None:
            # It was closed at the start, and the next file or socket that is opened would get its number.
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor > 2:
                os.close(descriptor)
    sys.stdout = steady(sys.stdout)
    sys.stderr = steady(sys.stderr)
    # A handler whose file is full would otherwise say so with a trace, for each line.
    logging.raiseExceptions = False


def steady(stream: Any) -> Any:
    """In place of one of the process's own streams, one that never waits and never fails. Others (pytest's) stay."""
    if stream is None:
        return Output(None)
    if stream not in (sys.__stdout__, sys.__stderr__):
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    return Output(stream.fileno())


def dropped() -> dict[str, int]:
    """How many lines this process dropped, by reason."""
    return {
        "nobody_reads": sum(output.crowded_out for output in Output._all),
        "cannot_be_written": sum(output.not_written for output in Output._all),
    }


def finish(within_seconds: float = _EXIT_SECONDS) -> None:
    """Wait until all is written, but no longer than this."""
    deadline = time.monotonic() + within_seconds
    for output in Output._all:
        output.finish(max(0.0, deadline - time.monotonic()))


def _after_fork() -> None:
    for output in Output._all:
        output.begin_anew()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(finish)
