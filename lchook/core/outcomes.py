"""What became of a message to DMS, as its sender, the store and the log know it. Pure: no I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lchook.core.canonical import compact_json
from lchook.core.retry_policy import PostResult

UNKNOWN_OUTCOME = "unknown: DMS may have it"
EXPIRED_OUTCOME = "it waited longer than OUTBOX_TTL"
LOST_OUTCOME = "the store lost it; DMS may have it"

MessageId = str | int | float | None
OutcomeStatus = Literal["sent", "failed", "rejected"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message. `dms_status` is DMS's last HTTP status, `error` says in words why it failed.

    `is_repeated`: it is an earlier message's, of which this one is a repeat. `is_quiet`: nothing went wrong, and there is no
    `serverError` beside the acknowledgement.
    """

    status: OutcomeStatus
    message_id: MessageId = None
    dms_status: int | None = None
    error: str | None = None
    is_repeated: bool = field(default=False, compare=False)
    is_quiet: bool = field(default=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The acknowledgement as clients get it."""
        if self.status == "sent":
            return {"status": "sent", "message_id": self.message_id, "dms_status": self.dms_status}
        if self.status == "rejected":
            return {"status": "rejected", "error": self.error}
        return {
            "status": "failed",
            "message_id": self.message_id,
            "dms_status": self.dms_status,
            "error": self.error,
        }

    def as_text(self) -> str:
        """For the store. Without the id: whoever asks knows it, and of a day's messages it is a third of what is kept."""
        if self.status == "sent" and self.error is None and self.dms_status is not None:
            # By far the most of them, at a tenth of the cost.
            return f'{{"status":"sent","dms_status":{self.dms_status:d}}}'
        fields = {"status": self.status, "dms_status": self.dms_status, "error": self.error}
        return compact_json({name: value for name, value in fields.items() if value is not None})

    @staticmethod
    def from_text(text: str) -> Outcome:
        """Of an earlier message."""
        fields = json.loads(text)
        return Outcome(fields["status"], None, fields.get("dms_status"), fields.get("error"), is_repeated=True)

    def of(self, message_id: MessageId, *, is_repeated: bool | None = None) -> Outcome:
        """The same, for the message with this id."""
        return replace(self, message_id=message_id, is_repeated=self.is_repeated if is_repeated is None else is_repeated)


def too_many(most: int) -> Outcome:
    """The outcome of a message for which a customer's queue has no place."""
    return Outcome("rejected", error=f"more than {most} messages are waiting: slow down")


def message_status(message_id: MessageId, outcome: Outcome) -> str:
    """The payload (JSON) of the event `messageStatus` that tells an outcome."""
    fields = {"status": outcome.status, "dms_status": outcome.dms_status, "error": outcome.error}
    return compact_json({"message_id": message_id, **{name: value for name, value in fields.items() if value is not None}})


def outcome_of(result: PostResult, message_id: MessageId) -> Outcome:
    """What a post that is not repeated makes of the message."""
    if result.is_taken:
        return Outcome("sent", message_id, result.status)
    error = result.error if result.status is None else f"DMS answered {result.status}"
    return Outcome("failed", message_id, result.status, error)
