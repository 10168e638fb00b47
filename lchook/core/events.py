"""Every event that LCH logs: its id, its text, the flow it belongs to, and how a message stands after it.

The log, the console, docs/troubleshooting.md and tests read this. Ids are stable; texts may change, together with the
documentation. The level of an event is set where it is logged. The doctor and the sandbox have words of their own.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Any, Literal

Flow = Literal["to_dms", "to_customer", "connections", "other"]
# `under_way`: a message has come in, or has been sent. `done`: its peer has it. `held`: it waits. `lost`: it failed, was
# refused or dropped.
EventOutcome = Literal["under_way", "done", "held", "lost", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class LogEvent:
    """A kind of line in the log. The text may name fields, as `str.format` does: they are shown there and nowhere else.

    To fill such a text costs some microseconds: frequent events have none.
    """

    id: str
    text: str
    flow: Flow
    outcome: EventOutcome = "none"
    # The fields that the text names.
    named: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = (name for _, name, _, _ in string.Formatter().parse(self.text) if name)
        object.__setattr__(self, "named", frozenset(names))

    def filled(self, fields: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The text with the fields that it names, and the other fields."""
        return self.text.format(**fields), {name: value for name, value in fields.items() if name not in self.named}


# To DMS

RECEIVED_FROM_CUSTOMER = LogEvent("received_from_customer", "received from the customer", "to_dms", "under_way")
CLIENT_MESSAGE_REJECTED = LogEvent("client_message_rejected", "clientMessage rejected", "to_dms", "lost")
FIELD_IGNORED = LogEvent("field_ignored", "a field is not forwarded: FORWARD_FIELDS can name it", "to_dms")
MESSAGE_ID_REUSED = LogEvent(
    "message_id_reused",
    "a client gives one message_id to several messages: equal ones among them would pass for repeats",
    "to_dms",
)
MESSAGE_REPEATED = LogEvent("message_repeated", "came again, is not forwarded again", "to_dms")
TYPING_DROPPED = LogEvent("typing_dropped", "typing is not posted: a message was first", "to_dms")
WAITS_FOR_STORE = LogEvent("waits_for_store", "a message waits for the store", "to_dms", "held")
NOT_FORWARDED = LogEvent("not_forwarded", "not forwarded: storage failed", "to_dms", "lost")
SENT_TO_DMS = LogEvent("sent_to_dms", "to DMS: sent", "to_dms", "done")
DMS_FAILED = LogEvent("dms_failed", "to DMS: failed", "to_dms", "lost")
DMS_REFUSED = LogEvent("dms_refused", "to DMS: refused", "to_dms", "lost")
FORWARDING_FAILED = LogEvent("forwarding_failed", "forwarding failed", "to_dms", "lost")
DMS_NOT_TAKEN_YET = LogEvent("dms_not_taken_yet", "to DMS: not taken yet", "to_dms", "held")
MESSAGE_DELAYED = LogEvent("message_delayed", "a message to DMS is delayed", "to_dms", "held")
MESSAGE_STORED = LogEvent("message_stored", "stored", "to_dms")
OUTBOX_TAKEN_OVER = LogEvent("outbox_taken_over", "messages that another process has left are taken over", "to_dms")
OUTBOX_FAILED = LogEvent("outbox_failed", "the store failed in a way that nobody thought of", "to_dms", "held")
STATUS_NOT_KEPT = LogEvent("status_not_kept", "what became of a message cannot be kept for its sender", "to_dms")
STATUSES_NOT_FETCHED = LogEvent("statuses_not_fetched", "what became of messages cannot be looked up now", "to_dms")
OUTCOME_NOT_TOLD = LogEvent("outcome_not_told", "telling an outcome failed", "to_dms")
DMS_ADDRESS_FAILS = LogEvent("dms_address_fails", "an address fails, another one works", "to_dms")
NAME_SERVICE_FAILS = LogEvent(
    "name_service_fails", "no answer of the name service: addresses that it told before are used", "to_dms"
)
NAME_SERVICE_BACK = LogEvent("name_service_back", "the name service answers again", "to_dms")

# To customer

RECEIVED_FROM_DMS = LogEvent("received_from_dms", "received from DMS", "to_customer", "under_way")
WEBHOOK_REFUSED = LogEvent("webhook_refused", "a webhook was refused", "to_customer", "lost")
WEBHOOK_REPEATED = LogEvent("webhook_repeated", "a repeated webhook is not delivered again", "to_customer")
# Its text is REQUEST_FAILED's: of that one nobody knows what the request was.
WEBHOOK_FAILED = LogEvent("webhook_failed", "a request failed", "to_customer", "lost")
POST_MISDIRECTED = LogEvent(
    "post_misdirected", "a post came to an address that takes none: the webhook's, in Pega, ends in /webhook", "to_customer"
)
MESSAGE_NOT_STORED = LogEvent("message_not_stored", "the message cannot be kept", "to_customer", "lost")
TRANSIENT_LOST = LogEvent("transient_lost", "a message that is not kept is lost", "to_customer", "lost")
MAILBOX_FULL = LogEvent("mailbox_full", "mailbox full: the oldest messages are dropped", "to_customer", "lost")
MESSAGES_EXPIRED = LogEvent("messages_expired", "messages are dropped: their time to live is over", "to_customer", "lost")
WAITS_FOR_CUSTOMER = LogEvent("waits_for_customer", "kept until the customer comes", "to_customer", "held")
WAITS_ELSEWHERE = LogEvent("waits_elsewhere", "kept; another instance has the customer, or none", "to_customer", "held")
WAITS_FOR_SOCKET = LogEvent("waits_for_socket", "messages wait for the next socket", "to_customer", "held")
SENT_TO_CUSTOMER = LogEvent("sent_to_customer", "sent to the customer", "to_customer", "under_way")
SENDING_FAILED = LogEvent("sending_failed", "sending failed", "to_customer", "held")
ACKNOWLEDGED = LogEvent("acknowledged", "acknowledged", "to_customer", "done")
ACKNOWLEDGED_LATE = LogEvent("acknowledged_late", "acknowledged late", "to_customer", "done")
# It is stored all the same, and may yet arrive.
NOT_ACKNOWLEDGED = LogEvent("not_acknowledged", "not acknowledged within {seconds:g} s", "to_customer", "held")
FETCH_FAILED = LogEvent("fetch_failed", "messages cannot be fetched now", "to_customer", "held")
CLAIM_FAILED = LogEvent("claim_failed", "the customer cannot be claimed now", "to_customer", "held")
RELEASE_FAILED = LogEvent("release_failed", "the store cannot be told that the customer is gone", "to_customer")
REMOVE_FAILED = LogEvent("remove_failed", "delivered messages cannot be removed now", "to_customer")
EXPIRE_FAILED = LogEvent("expire_failed", "the store could not be tidied", "to_customer")
CLEAR_FAILED = LogEvent("clear_failed", "the mailbox could not be emptied", "to_customer")
SESSION_ENDED = LogEvent("session_ended", "the customer ended the session: waiting messages are dropped", "to_customer")

# Files

FILE_REQUEST_REFUSED = LogEvent("file_request_refused", "a file is not taken", "to_dms")
UPLOAD_REFUSED = LogEvent("upload_refused", "an upload was refused", "to_dms")
FILE_STORED = LogEvent("file_stored", "a customer's file is kept", "to_dms")
FILE_INFECTED = LogEvent("file_infected", "the virus scanner has found something: the file is not kept", "other")
FILE_FETCHED = LogEvent("file_fetched", "an agent's file is fetched", "to_customer")
FILE_NOT_FETCHED_YET = LogEvent(
    "file_not_fetched_yet", "an agent's file cannot be had now: it is tried again", "to_customer"
)
FILE_NOT_FETCHED = LogEvent(
    "file_not_fetched", "an agent's file cannot be had: its link leads on to the original", "to_customer"
)
FETCH_NOT_NOTED = LogEvent(
    "fetch_not_noted", "it cannot be noted that a file is to be fetched: no other process goes on with it", "to_customer"
)
FETCH_FAILED_BADLY = LogEvent("fetch_failed_badly", "fetching a file failed", "to_customer")
FILE_NOT_SERVED = LogEvent("file_not_served", "a file cannot be handed out now", "other")
FILES_STORE_FAILED = LogEvent("files_store_failed", "the place for files, or the virus scanner, cannot be used", "other")
FILES_EXPIRED = LogEvent("files_expired", "files are deleted: their time is over", "other")
FILES_FORGOTTEN = LogEvent("files_forgotten", "a customer's files are deleted", "other")
FILES_UNSCANNED = LogEvent("files_unscanned", "files are taken without a virus scanner: CLAMD_URL names one", "other")

# Connections

CONNECTED = LogEvent("connected", "connected", "connections")
DISCONNECTED = LogEvent("disconnected", "disconnected", "connections")
CONNECTION_REFUSED = LogEvent("connection_refused", "connection refused", "connections", "lost")
CONNECTIONS_TOO_MANY = LogEvent(
    "connections_too_many", "connections are refused: too many from one address; they will try again", "connections"
)
NEVER_CONNECTED = LogEvent(
    "never_connected", "an engine connection is closed: it did not connect within {seconds:g} s", "connections"
)
RESUMES = LogEvent("resumes", "resumes", "connections")
STANDS_BY = LogEvent("stands_by", "stands by: the customer is on another socket", "connections")
DETACHED = LogEvent("detached", "mapping removed: the socket is closed", "connections")
ON_ANOTHER_INSTANCE = LogEvent("on_another_instance", "now on another instance", "connections")
TOKEN_EXPIRED = LogEvent("token_expired", "the token has expired: the socket is closed", "connections")
KEYS_FETCHED = LogEvent("keys_fetched", "the identity provider's keys are here", "connections")
KEYS_NOT_FETCHED = LogEvent(
    "keys_not_fetched",
    "the identity provider's keys cannot be fetched; known ones count for an hour, it is tried again",
    "connections",
    "lost",
)
ADDRESSES_HIDDEN = LogEvent(
    "addresses_hidden",
    "visitors without a name and a session come from an address that could be anybody's: a conversation of their own for"
    " each connection",
    "connections",
)
NOT_READING = LogEvent("not_reading", "the socket is closed: it does not read what it is sent", "connections")
PACKET_UNREADABLE = LogEvent("packet_unreadable", "a packet that is no Socket.IO", "connections")
EVENT_UNNAMED = LogEvent("event_unnamed", "an event without a name", "connections")
EVENT_FAILED = LogEvent("event_failed", "handling an event failed", "connections", "lost")
CONNECTION_FAILED = LogEvent("connection_failed", "opening or closing a connection failed", "connections", "lost")
ACK_NOT_DELIVERED = LogEvent("ack_not_delivered", "the socket is gone, and its acknowledgement with it", "connections")
RECEIVING_FAILED = LogEvent("receiving_failed", "receiving failed; the connection is closed", "connections", "lost")
WEBSOCKET_FAILED = LogEvent(
    "websocket_failed", "handling what a WebSocket brought failed; it is closed", "connections", "lost"
)
WEBSOCKET_NOT_WRITABLE = LogEvent("websocket_not_writable", "a WebSocket cannot be written to", "connections")
PROTOCOL_BROKEN = LogEvent("protocol_broken", "a WebSocket is closed: its client broke the protocol", "connections")
CHANNEL_ADDED = LogEvent("channel_added", "a connection to Pega is new: {name}", "connections")
CHANNEL_CHANGED = LogEvent("channel_changed", "a connection to Pega goes on with new settings: {name}", "connections")
CHANNEL_REMOVED = LogEvent(
    "channel_removed", "a connection to Pega is there no more, and its clients are closed: {name}", "connections"
)
NOT_RELOADED = LogEvent("not_reloaded", "the settings were not loaded anew, and the former ones stay: {reason}", "other")
CONNECTIONS_EXHAUSTED = LogEvent(
    "connections_exhausted",
    "hardly any connections are left: start more instances, or raise the limit of open files",
    "connections",
)

# Conversations

CONVERSATION_FOLLOWED = LogEvent("conversation_followed", "follows the conversation", "connections")
CONVERSATION_REFUSED = LogEvent("conversation_refused", "may not follow the conversation", "connections")
CONVERSATION_NOT_READ = LogEvent("conversation_not_read", "the conversation cannot be read now", "to_customer", "held")
CONVERSATION_UNPROVEN = LogEvent(
    "conversation_unproven",
    "CONVERSATION_UNPROVEN=on: anybody who knows a customer's id reads what was said. For demonstrations only.",
    "other",
)
CUSTOMER_FORGOTTEN = LogEvent("customer_forgotten", "all that was kept of a customer is removed", "other")

# The console

CONSOLE_REFUSED = LogEvent("console_refused", "a console was refused: wrong token", "other")
CONSOLE_CONNECTED = LogEvent("console_connected", "a console is connected", "other")
CONSOLE_DISCONNECTED = LogEvent("console_disconnected", "a console is gone", "other")
CONSOLE_NOT_READING = LogEvent("console_not_reading", "a console is closed: it does not read what it is sent", "other")
CONSOLE_FAILED = LogEvent("console_failed", "telling consoles failed; it goes on", "other", "lost")

# The store

STORE_OPENED = LogEvent("store_opened", "messages are kept in {place}", "other")
STORE_UNUSABLE = LogEvent(
    "store_unusable", "the store cannot be used; webhooks are answered with 503 until it can", "other", "lost"
)
STORE_NOT_CLOSED = LogEvent("store_not_closed", "the store's file could not be closed", "other")
STORE_FILE_REPLACED = LogEvent("store_file_replaced", "the file was deleted or replaced; it is opened anew", "other", "lost")
STORE_ON_NETWORK = LogEvent(
    "store_on_network",
    "the store's file lies on a network file system ({kind}): it may stall or lose its locks, and SQLite's write-ahead log"
    " does not work between hosts: use a local disk, or STORE_URL=redis://…",
    "other",
)
STORE_WAL_GROWS = LogEvent(
    "store_wal_grows", "the write-ahead log has {mib} MiB and grows: another process goes on reading the file", "other"
)
REDIS_AWAY = LogEvent("redis_away", "Redis cannot be reached; webhooks are answered with 503 until it can", "other", "lost")
REDIS_REFUSES = LogEvent(
    "redis_refuses",
    "Redis does not take what is to be kept; webhooks are answered with 503 until it does",
    "other",
    "lost",
)
REDIS_BACK = LogEvent("redis_back", "Redis is back", "other")
REDIS_NOT_TOLD_OF_END = LogEvent("redis_not_told_of_end", "Redis could not be told that this instance ends", "other")
LISTENING_FAILED = LogEvent("listening_failed", "listening to other instances failed; it goes on", "other", "lost")
SWEEPING_FAILED = LogEvent("sweeping_failed", "sweeping failed; it goes on", "other", "lost")

# The process

WEBHOOK_AUTH_OFF = LogEvent(
    "webhook_auth_off",
    "WEBHOOK_AUTH=off: ANYBODY who knows the webhook's address can speak to your customers in your agents' name."
    " Never use this on a public address.",
    "other",
)
RETRY_BUDGET_READ = LogEvent(
    "retry_budget_read",
    "RETRY_BUDGET is an old name: it is read as OUTBOX_TTL={seconds:g}, which is 300 if unset. Set OUTBOX_TTL instead.",
    "other",
)
SECRET_SHORT = LogEvent("secret_short", "JWT_SECRET is shorter than {bytes} bytes and could be guessed.", "other")
ANY_ORIGIN = LogEvent(
    "any_origin",
    "ALLOWED_ORIGIN=* without CUSTOMER_TOKEN_SECRET: any website can read a customer's answers by their id.",
    "other",
)
FILES_ALLOWED = LogEvent(
    "files_allowed",
    "ALLOWED_ORIGIN lets in pages from files (null): any site can show a page that says it is one.",
    "other",
)
SETTINGS_QUOTED = LogEvent(
    "settings_quoted", "{settings} begin and end with a quotation mark: is it really part of the value?", "other"
)
DMS_IN_THE_CLEAR = LogEvent(
    "dms_in_the_clear", "DMS_URL is http: messages and tokens go over the network in the clear.", "other"
)
KEYS_IN_THE_CLEAR = LogEvent(
    "keys_in_the_clear",
    "CUSTOMER_TOKEN_JWKS_URL is http: whoever is on the way can put in keys of their own and be any customer.",
    "other",
)
NOT_READY = LogEvent("not_ready", "not ready", "other")
METRICS_WITHOUT_STORE = LogEvent("metrics_without_store", "metrics without the store", "other")
REQUEST_FAILED = LogEvent("request_failed", "a request failed", "other", "lost")
REQUEST_REFUSED = LogEvent("request_refused", "a request was refused", "other")
ANSWERING_FAILED = LogEvent("answering_failed", "answering a request failed", "other", "lost")
TASK_FAILED = LogEvent("task_failed", "a task failed", "other", "lost")
PERIODIC_TASK_FAILED = LogEvent("periodic_task_failed", "a regular task failed; it goes on", "other", "lost")
STOPPING = LogEvent("stopping", "stopping after {seconds:.1f} s", "other")
LINES_DROPPED = LogEvent("lines_dropped", "lines could not be written here", "other")

ALL: dict[str, LogEvent] = {event.id: event for event in list(globals().values()) if isinstance(event, LogEvent)}
