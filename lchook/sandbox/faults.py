"""The faults in force, and what DMS answers under them. No I/O, no HTTP: `dms` and `webhooks` act on it."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lchook.sandbox.files import LINK_SECONDS, MAX_LINK_SECONDS

STATUS_FAULTS = ("400", "401", "404", "429", "500", "502", "503", "504")
DMS_FAULTS = ("none", "slow", "hang", "refused", "reset", "garbage", "redirect", "unknown_type", "gateway", *STATUS_FAULTS)
# What DMS is known to do, what gateways between make of a webhook, and what goes wrong.
HABITS = ("string_text", "numeric_id", "rewritten", "reused_id", "out_of_order", "agent_leaves", "dead_links")
GATEWAY_FAULTS = ("gzip", "bom", "charset", "chunked", "slash")
WEBHOOK_FAULTS = (
    "none",
    *HABITS,
    *GATEWAY_FAULTS,
    "duplicate",
    "bad_signature",
    "fast_clock",
    "slow_clock",
    "silence",
    "slow",
)

# Statuses with which a real DMS may say when to come back.
_WITH_RETRY_AFTER = ("429", "503")
# These come from the proxies before DMS, which speak HTML.
_FROM_A_PROXY = ("502", "504")
_LONGEST_SECONDS = 3600
_MAX_TIMES = 1_000_000


class FaultsError(ValueError):
    """The faults asked for are no faults. The text says what is wrong and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultState:
    """Which faults are in force."""

    dms: str = "none"
    # How long "slow" waits before it answers, and "hang" before it closes the connection without an answer.
    delay_seconds: float = 2.0
    # What 429 and 503 say in Retry-After; None for no such header.
    retry_after_seconds: int | None = 1
    # The DMS fault goes away after this many posts; None for never.
    times: int | None = None
    webhook: str = "none"
    # How long the links to attachments work.
    link_seconds: int = LINK_SECONDS

    def __post_init__(self) -> None:
        _check("dms", self.dms in DMS_FAULTS, f"one of {', '.join(DMS_FAULTS)}")
        _check("webhook", self.webhook in WEBHOOK_FAULTS, f"one of {', '.join(WEBHOOK_FAULTS)}")
        _check("delay_seconds", _is_duration(self.delay_seconds), f"a number of seconds, 0 to {_LONGEST_SECONDS}")
        _check(
            "retry_after_seconds",
            self.retry_after_seconds is None or _is_whole(self.retry_after_seconds, 0, _LONGEST_SECONDS),
            f"whole seconds, 0 to {_LONGEST_SECONDS}, or null",
        )
        _check("times", self.times is None or _is_whole(self.times, 1, _MAX_TIMES), "a number of posts, or null")
        _check("link_seconds", _is_whole(self.link_seconds, 1, MAX_LINK_SECONDS), f"whole seconds, 1 to {MAX_LINK_SECONDS}")
        if self.dms == "refused" and self.times is not None:
            raise FaultsError("times must be null with refused: a refused connection cannot be counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What DMS answers to one post.

    `body`: bytes and str are sent as they are, a mapping as JSON, None as what DMS says for that status.
    `coded`: gzipped and in chunks, as a gateway may send it on.
    `broken`: instead of an answer the connection is closed, reset, or gets bytes that are no HTTP.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | str | Mapping[str, Any] | None = None
    delay_seconds: float = 0.0
    coded: bool = False
    broken: Literal["hang_up", "reset", "garbage"] | None = None


class Faults:
    """The faults in force. Safe to use from several threads."""

    def __init__(self, on_change: Callable[[FaultState], None] | None = None) -> None:
        """`on_change` is called after each `set`, in the thread that set."""
        self._state = FaultState()
        self._on_change = on_change
        self._lock = threading.Lock()

    @property
    def state(self) -> FaultState:
        return self._state

    def set(self, **fields: Any) -> None:
        """Replace the whole state: what is not named goes back to its default (see `FaultState`).

        :raises FaultsError: in words; the state then stays as it was.
        """
        try:
            state = FaultState(**fields)
        except TypeError as error:
            known = ", ".join(each.name for each in dataclasses.fields(FaultState))
            raise FaultsError(f"the only fields are {known}") from error
        with self._lock:
            self._state = state
        if self._on_change:
            self._on_change(state)

    def clear(self) -> None:
        self.set()

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self._state)

    def take(self) -> FaultState:
        """The faults for one post, which counts towards `times`."""
        if self._state.dms == "none":
            return self._state
        with self._lock:
            state = self._state
            if state.dms != "none" and state.times is not None:
                left = state.times - 1
                self._state = (
                    dataclasses.replace(state, times=left) if left else dataclasses.replace(state, dms="none", times=None)
                )
            return state


def answer_under(state: FaultState, *, moved_to: str) -> Answer | None:
    """What takes the place of DMS's own answer, or None where DMS decides itself (no fault, "slow" and "gateway").

    :param moved_to: where "redirect" sends the client.
    """
    if state.dms in STATUS_FAULTS:
        headers = {}
        if state.dms in _WITH_RETRY_AFTER and state.retry_after_seconds is not None:
            headers["Retry-After"] = str(state.retry_after_seconds)
        if state.dms == "401":
            headers["WWW-Authenticate"] = "Bearer"
        html = f"<html><body><h1>{state.dms}</h1>The sandbox was asked for this.</body></html>"
        return Answer(status=int(state.dms), headers=headers, body=html if state.dms in _FROM_A_PROXY else None)
    match state.dms:
        case "hang":
            return Answer(delay_seconds=state.delay_seconds, broken="hang_up")
        case "reset":
            return Answer(broken="reset")
        case "garbage":
            return Answer(broken="garbage")
        case "unknown_type":
            return Answer(status=400, body={"error": "DMS does not know a message of this type"})
        case "redirect":
            return Answer(status=302, headers={"Location": moved_to})
        case "refused":
            # A post that was already on its way when the listener closed.
            return Answer(broken="hang_up")
    return None


def _check(name: str, fits: bool, should_be: str) -> None:
    if not fits:
        raise FaultsError(f"{name} must be {should_be}")


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= _LONGEST_SECONDS
    )
