"""Every setting: its variable, its default, its unit, its check.

Read once, at the start, from the environment and from a `.env` file (the environment wins). All problems
are reported together. Knows nothing of Flask.
"""

from __future__ import annotations

import codecs
import io
import ipaddress
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import idna
from dotenv.main import resolve_variables
from dotenv.parser import parse_stream

HERE = Path(__file__).resolve().parent
# Where the file .env is, and the folder instance. Installed as a package, LCH has them in the folder where it is started.
INSTALLED = HERE.name == "_top"
HOME = Path.cwd() if INSTALLED else HERE


class SettingsError(Exception):
    """Settings are missing or wrong. The text names every variable at fault and what it should be, never its value."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        lines = "\n".join(f"  {name}: {problem}" for name, problem in self.problems.items())
        super().__init__(f"LCH cannot start, because of these settings:\n{lines}\nSee README.md, Settings.")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What LCH runs with. Secrets are left out of the repr."""

    dms_url: str
    jwt_issuer: str
    jwt_secret: str = field(repr=False)
    # A secret that DMS may still sign with, while JWT_SECRET is being changed.
    jwt_secret_previous: str = field(default="", repr=False)
    # Set: a socket must prove who it is, with a token that the site's backend signs with this.
    customer_token_secret: str = field(default="", repr=False)
    customer_token_secret_previous: str = field(default="", repr=False)
    # Set: tokens of the site's identity provider count, by the keys that it has there; with the two things that are always
    # checked, and the claim that is the customer's id.
    customer_token_jwks_url: str = ""
    customer_token_issuer: str = ""
    customer_token_audience: str = ""
    customer_token_claim: str = "sub"  # noqa: S105  # a name
    # What becomes of customers without a name: an id each, one conversation for all, or a refusal.
    anonymous_customers: Literal["isolate", "shared", "reject"] = "isolate"
    # None: same origin only. "*": any. Otherwise exactly these.
    allowed_origins: tuple[str, ...] | Literal["*"] | None = None
    port: int = 5600
    webhook_auth: Literal["required", "off"] = "required"
    # How long a client may take to acknowledge a serverMessage before that is logged as an error.
    ack_timeout_seconds: float = 10.0
    # Lifetime of the tokens LCH signs. DMS accepts none older than 300 s, and one that lives for less is over on arrival
    # where this machine's clock is slow by as much.
    jwt_ttl_seconds: int = 300
    # DMS answers a healthy connection attempt at once; 5 s allows for one lost SYN and its repeat.
    dms_connect_timeout_seconds: float = 5.0
    # After this the outcome is "failed": the message may or may not have been taken.
    dms_read_timeout_seconds: float = 15.0
    # How long a message waits for a DMS that has surely not taken it, and for those before it. Later it is not worth much.
    outbox_ttl_seconds: float = 300.0
    # RETRY_BUDGET, the name of that in versions before, is what says so.
    outbox_ttl_is_retry_budget: bool = False
    # Where messages are kept: memory:, sqlite: (a file in the instance folder), sqlite:///path, redis://…
    store_url: str = field(default="sqlite:", repr=False)
    # How long a message waits for a customer who is not there. A chat is over after a day.
    mailbox_ttl_seconds: float = 86_400.0
    # Messages that wait for one customer; the oldest go first. An agent writes dozens, not hundreds, to somebody away.
    mailbox_size: int = 500
    # How long what both sides say is kept, for the customer's other tabs and devices, and for after a reload. 0: not at all.
    conversation_ttl_seconds: float = 0.0
    # Entries of one customer's conversation; the oldest go first.
    conversation_size: int = 500
    # Whether a client that only says whose it is may read a conversation. For demonstrations.
    conversation_unproven: Literal["off", "on"] = "off"
    # The heartbeat of Socket.IO connections, its own defaults: a dead one is noticed after both together.
    ping_interval_seconds: float = 25.0
    ping_timeout_seconds: float = 20.0
    # The largest event from a client, and the largest webhook: what Socket.IO allows by default.
    max_message_bytes: int = 1_000_000
    # Messages of one customer that may wait for DMS. A person never gets there; a runaway script does.
    max_queue_length: int = 100
    # Messages of all customers that may wait for DMS: five minutes of hundreds a second. Each is on the disk, or in Redis.
    outbox_size: int = 100_000
    # Fields of clients' messages that go to DMS besides those that it is known to take.
    forward_fields: tuple[str, ...] = ()
    # Where files are kept: file: (in the instance folder), file:///path, s3://bucket/prefix; empty: LCH takes no files.
    files_url: str = field(default="", repr=False)
    # LCH's own address, as browsers and DMS reach it: links to files begin with it.
    public_url: str = ""
    # How long a file can be had: as long as a message waits.
    files_ttl_seconds: float = 86_400.0
    # The largest file, either way: a photo of a phone has 2 to 8 MB.
    max_file_bytes: int = 10_000_000
    # Of one customer's files that are kept at a time: bytes, and how many.
    files_quota_bytes: int = 100_000_000
    files_quota: int = 100
    # Files that one customer may ask to send, a second; ten times that in a burst, as when several are dropped at once.
    file_rate: float = 2.0
    # Whose files LCH fetches, before their links die.
    attachment_hosts: tuple[str, ...] = ()
    # ClamAV's daemon, tcp://host:3310 or unix:///path; empty: files are not scanned.
    clamd_url: str = ""
    # Reverse proxies before LCH: so many entries of X-Forwarded-For, from the right, are theirs and can be believed.
    proxy_hops: int = 0
    # Packets from one socket, messages for one customer, connections from one address; each a second, ten times that
    # in a burst. 0: no limit. The known client sends a handful a second while somebody types, on many sockets; the
    # address may be a whole office's.
    socket_rate: float = 50.0
    customer_rate: float = 20.0
    connection_rate: float = 100.0
    # A client that has not finished connecting by then is closed. Browsers on bad lines take seconds.
    connect_timeout_seconds: float = 30.0
    # What /metrics asks for as a bearer token; empty: nothing.
    metrics_token: str = field(default="", repr=False)
    # What the console at /console asks for; empty: there is no console.
    console_token: str = field(default="", repr=False)
    # Whether logs and the console show what customers and agents say, or only how long it is.
    log_text: Literal["off", "on"] = "off"
    # A level for all of LCH ("") and, where wanted, one for some of its parts.
    log_levels: dict[str, str] = field(default_factory=lambda: {"": "INFO"})
    log_format: Literal["text", "json"] = "text"
    # The file that names several connections to Pega, and what each of them runs with: these settings, with its own over
    # them. Those here are the first one's.
    connections_file: str = ""
    connection_name: str = ""
    connections: tuple[Settings, ...] = ()

    @property
    def namespace(self) -> str:
        """Keeps what is stored for this connection apart; empty where it has what was stored before there were any."""
        return "" if self.connection_name == "default" else self.connection_name

    @property
    def customers_need_tokens(self) -> bool:
        """Must a socket prove who it is?"""
        return bool(self.customer_token_secret or self.customer_token_jwks_url)


def load(environ: Mapping[str, str] | None = None, dotenv: Path | None = HOME / ".env") -> Settings:
    """Read the settings.

    :param environ: variable names to texts; the process's environment if not given.
    :param dotenv: a file whose variables count where the environment has none; `None` for no file.
    :raises SettingsError: naming every variable that is missing or wrong, or the file that cannot be read.
    """
    in_file = {} if dotenv is None else _read_dotenv(dotenv)
    in_environment = _environment_besides(in_file) if environ is None else environ
    # An empty variable counts as none, and so switches off what the file says.
    texts = {name: text for name, text in {**in_file, **in_environment}.items() if text and text.strip()}

    values, problems = parse(texts)
    if "CONNECTIONS" in texts and "CONNECTIONS" not in problems:
        # Only those who have several connections load what reads them.
        from lchook.connections_file import read

        values, problems = read(Path(texts["CONNECTIONS"].strip()), texts, values, problems)
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def parse(texts: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Fields of `Settings`, and by variable what is wrong.

    :param texts: by variable; none of them empty.
    """
    texts = dict(texts)
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    old_names = {}
    if "RETRY_BUDGET" in texts and "OUTBOX_TTL" not in texts:
        texts["OUTBOX_TTL"], old_names["OUTBOX_TTL"] = texts["RETRY_BUDGET"], "RETRY_BUDGET"
        values["outbox_ttl_is_retry_budget"] = True
    for name, parse, should_be in _VARIABLES:
        if name in texts:
            text = texts[name].strip()
            try:
                text.encode()
                values[_FIELDS.get(name, name.lower())] = parse(text)
            except ValueError as error:
                problems[old_names.get(name, name)] = f"is wrong: it should be {should_be}{_why(text, error)}"
        elif name in _REQUIRED:
            problems[name] = f"is missing: it should be {should_be}"
    if "files_url" in values and "PUBLIC_URL" not in texts:
        problems["PUBLIC_URL"] = f"is missing: with FILES_URL it should be {_PUBLIC_URL}"
    webhook_secrets = {values.get("jwt_secret"), values.get("jwt_secret_previous")}
    for name in ("CUSTOMER_TOKEN_SECRET", "CUSTOMER_TOKEN_SECRET_PREVIOUS"):
        if values.get(name.lower()) in webhook_secrets - {None}:
            # Whoever holds a token of one kind could otherwise, with luck, use it as one of the other.
            problems[name] = "is wrong: it should be a secret of its own, not the one that LCH shares with DMS"
    problems |= _provider_problems(values, problems)
    return values, problems


def _provider_problems(values: Mapping[str, Any], problems: Mapping[str, str]) -> dict[str, str]:
    """What does not fit together of the settings for an identity provider."""
    companions = {"CUSTOMER_TOKEN_ISSUER": "iss", "CUSTOMER_TOKEN_AUDIENCE": "aud"}
    if "customer_token_jwks_url" in values:
        found = {
            name: f"is missing: beside CUSTOMER_TOKEN_JWKS_URL it should be what the provider's tokens have as {claim}"
            for name, claim in companions.items()
            if name.lower() not in values and name not in problems
        }
        if find_spec("cryptography") is None:
            found |= {"CUSTOMER_TOKEN_JWKS_URL": "needs the package cryptography: pip install -r requirements.txt"}
        return found
    if "CUSTOMER_TOKEN_JWKS_URL" in problems:
        return {}
    return {
        name: "is wrong: it means something only together with CUSTOMER_TOKEN_JWKS_URL"
        for name in (*companions, "CUSTOMER_TOKEN_CLAIM")
        if name.lower() in values
    }


def _environment_besides(in_file: Mapping[str, str | None]) -> Mapping[str, str]:
    """The environment without what flask has put there: it reads the same file, and replaces what looks like a variable."""
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
        return os.environ
    replaced = resolve_variables(in_file.items(), override=True)
    return {name: text for name, text in os.environ.items() if name not in in_file or text != replaced[name]}


class _WrongError(ValueError):
    """A value is wrong in a way that can be named without showing it."""


def in_quotes(text: str) -> bool:
    """Does it begin and end with a quotation mark? Docker's --env-file and systemd's Environment= keep those."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"


def _why(text: str, error: ValueError) -> str:
    if isinstance(error, UnicodeEncodeError):
        return ", and it is not in UTF-8"
    if in_quotes(text):
        return ", without the quotation marks around it: Docker and systemd do not take them away"
    return f"; {error}" if isinstance(error, _WrongError) else ""


def _read_dotenv(path: Path) -> Mapping[str, str | None]:
    """The variables of a `.env` file, as they stand there: `${…}` in a secret is part of it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except IsADirectoryError:
        raise SettingsError(
            {
                str(
                    path
                ): "is a folder, and should be a file. A container makes one where the file to be mounted was not there"
            }
        ) from None
    except OSError as error:
        raise SettingsError({str(path): f"cannot be read: {error.strerror}"}) from None
    bindings = list(parse_stream(io.StringIO(_decoded(path, data))))
    unreadable = [str(binding.original.line) for binding in bindings if binding.error]
    if unreadable:
        says = f"cannot be read at line {', '.join(unreadable)}: each line should be NAME=value, and quotation marks closed"
        raise SettingsError({str(path): says})
    return {binding.key: binding.value for binding in bindings if binding.key is not None}


def _decoded(path: Path, data: bytes) -> str:
    """PowerShell and Windows's editors write UTF-16, or a mark before UTF-8."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError({str(path): f"is not in UTF-8 (line {line}): save it in that encoding"}) from None
    if "\0" in text:
        raise SettingsError({str(path): "is not in UTF-8, more likely in UTF-16: save it in UTF-8"})
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not text.isascii() or not text.isprintable():
        raise ValueError
    _ = parts.port  # raises ValueError where it is no number
    return text


def _header_value(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError
    return text


def _origins(text: str) -> tuple[str, ...] | Literal["*"]:
    if text == "*":
        return "*"
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise ValueError
    origins: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            origins.append(_origin(entry))
        except ValueError as error:
            which = f"number {number} of these " if len(entries) > 1 else "this one "
            raise _WrongError(f"{which}{error if isinstance(error, _WrongError) else 'is none'}") from None
    return tuple(dict.fromkeys(origins))


# What browsers and app shells send: a scheme and a host (`capacitor://localhost`, `app://.`), with a port or without.
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^/\s?#@*:\[\]\\]*)(?::(\d{1,5}))?")


def _origin(entry: str) -> str:
    """An entry of ALLOWED_ORIGIN as a browser sends it."""
    if entry.lower() == "null":
        return "null"
    if "*" in entry:
        raise _WrongError("has a *, which stands only for all origins, alone: name each site")
    if "://" not in entry:
        raise _WrongError("has no scheme: it begins with https:// or the like")
    if "@" in entry:
        raise _WrongError("has a user's name: an origin has none")
    scheme, _, rest = entry.partition("://")
    found = _ORIGIN.fullmatch(f"{scheme}://{rest.rstrip('/')}".lower())
    if found is None or (not found[2] and (found[1] in ("http", "https") or found[3])):
        if re.search(r"[/?#]", rest.rstrip("/")):
            raise _WrongError("has a path: nothing follows an origin's name and port")
        raise ValueError
    if found[3] and not 0 < int(found[3]) < 65536:
        raise _WrongError("has a port that is none")
    return as_browsers_send_it(f"{found[1]}://{_host(found[2])}" + (f":{found[3]}" if found[3] else ""))


def _host(name: str) -> str:
    """Browsers send names of other scripts in ASCII, and IPv6 addresses in their shortest form."""
    if name.startswith("["):
        return f"[{ipaddress.IPv6Address(name[1:-1])}]"
    return name if name.isascii() else idna.encode(name, uts46=True).decode()


def as_browsers_send_it(origin: str) -> str:
    """An origin in lower case, without its scheme's own port."""
    origin = origin.lower()
    if origin.startswith("https:"):
        return origin.removesuffix(":443")
    return origin.removesuffix(":80") if origin.startswith("http:") else origin


def _store_url(text: str) -> str:
    parts = urlsplit(text)
    known = {
        "memory": not parts.netloc and not parts.path,
        "sqlite": not parts.netloc and parts.path != "/" and parts.query in ("", "synchronous=full"),
        "redis": bool(parts.hostname),
        "rediss": bool(parts.hostname),
    }
    if not known.get(parts.scheme, False):
        raise ValueError
    _ = parts.port
    return text


def _files_url(text: str) -> str:
    parts = urlsplit(text)
    known = {
        "file": not parts.netloc and parts.path != "/" and not parts.query,
        "s3": bool(parts.hostname)
        and set(parse_qs(parts.query, strict_parsing=bool(parts.query))) <= {"region", "endpoint"},
    }
    if not known.get(parts.scheme, False) or parts.fragment:
        raise ValueError
    return text


def _public_url(text: str) -> str:
    parts = urlsplit(_http_url(text))
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError
    return text.rstrip("/")


def _attachment_hosts(text: str) -> tuple[str, ...]:
    # Not above: the package imports this module.
    from lchook.core.fetch_rules import AttachmentHosts

    entries = tuple(entry.strip() for entry in text.split(",") if entry.strip())
    AttachmentHosts(entries)
    return entries


def _clamd_url(text: str) -> str:
    parts = urlsplit(text)
    _ = parts.port
    is_known = (
        parts.scheme == "tcp" and parts.hostname
        if not parts.path.strip("/")
        else parts.scheme == "unix" and not parts.netloc
    )
    if not is_known:
        raise ValueError
    return text


def _one_of(*choices: str, **old_words: str) -> Callable[[str], str]:
    """:param old_words: for choices that had another word once."""

    def parse(text: str) -> str:
        choice = old_words.get(text.lower(), text.lower())
        if choice not in choices:
            raise ValueError
        return choice

    return parse


def _field_names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names or not all(name.isprintable() and len(name) <= 64 for name in names):
        raise ValueError
    return names


def _secret(text: str) -> str:
    if len(text) < _MIN_SECRET_CHARACTERS:
        raise ValueError
    return text


def _token(text: str) -> str:
    if len(text) < _MIN_TOKEN_CHARACTERS:
        raise ValueError
    return _header_value(text)


def _rate(text: str) -> float:
    return _seconds(0, 1_000_000)(text)


def _log_levels(text: str) -> dict[str, str]:
    levels = {"": "INFO"}
    for entry in text.split(","):
        part, _, level = entry.strip().rpartition("=")
        if level.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ValueError
        levels[part.strip()] = level.upper()
    return levels


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError
        return number

    return parse


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = float(text)
        if not math.isfinite(number) or not least <= number <= most:
            raise ValueError
        return number

    return parse


_MIN_SECRET_CHARACTERS = 32
_MIN_TOKEN_CHARACTERS = 16
_PUBLIC_URL = "LCH's own address as browsers and DMS reach it, https://…"
_REQUIRED = ("DMS_URL", "JWT_ISSUER", "JWT_SECRET")

# Fields whose name is not just the variable's in lower case: fields carry their unit.
_FIELDS = {
    "ALLOWED_ORIGIN": "allowed_origins",
    "CONNECTIONS": "connections_file",
    "LOG_LEVEL": "log_levels",
    "ACK_TIMEOUT": "ack_timeout_seconds",
    "JWT_TTL": "jwt_ttl_seconds",
    "DMS_CONNECT_TIMEOUT": "dms_connect_timeout_seconds",
    "DMS_READ_TIMEOUT": "dms_read_timeout_seconds",
    "CONNECT_TIMEOUT": "connect_timeout_seconds",
    "OUTBOX_TTL": "outbox_ttl_seconds",
    "MAILBOX_TTL": "mailbox_ttl_seconds",
    "FILES_TTL": "files_ttl_seconds",
    "CONVERSATION_TTL": "conversation_ttl_seconds",
    "PING_INTERVAL": "ping_interval_seconds",
    "PING_TIMEOUT": "ping_timeout_seconds",
}

# Variable, parser (raises ValueError), what it should be in words.
_VARIABLES: tuple[tuple[str, Callable[[str], Any], str], ...] = (
    ("DMS_URL", _http_url, "the address that Pega shows for the channel's digital messaging, https://…"),
    ("JWT_ISSUER", _header_value, "the connection id that Pega shows, printable ASCII"),
    ("JWT_SECRET", str, "the secret that Pega shows beside the connection id"),
    ("JWT_SECRET_PREVIOUS", str, "the secret that JWT_SECRET replaces"),
    ("CUSTOMER_TOKEN_SECRET", _secret, "a secret of at least 32 characters that only your backend knows"),
    ("CUSTOMER_TOKEN_SECRET_PREVIOUS", _secret, "the secret that CUSTOMER_TOKEN_SECRET replaces"),
    ("CUSTOMER_TOKEN_JWKS_URL", _http_url, "the address of your identity provider's key set (jwks_uri), https://…"),
    ("CUSTOMER_TOKEN_ISSUER", str, "what the provider's tokens have as iss"),
    ("CUSTOMER_TOKEN_AUDIENCE", str, "what the provider's tokens for this chat have as aud"),
    ("CUSTOMER_TOKEN_CLAIM", str, "the name of the claim that is the customer's id"),
    ("ANONYMOUS_CUSTOMERS", _one_of("isolate", "shared", "reject"), "isolate, shared or reject"),
    ("ALLOWED_ORIGIN", _origins, "https://chat.example.com, several of the kind separated by commas, or *"),
    ("CONNECTIONS", str, "the path of a TOML file with a [[connection]] for each"),
    ("PORT", _whole(1, 65535), "a port number, 1 to 65535"),
    ("WEBHOOK_AUTH", _one_of("required", "off"), "required or off"),
    ("ACK_TIMEOUT", _seconds(0.1, 600), "seconds, 0.1 to 600"),
    ("JWT_TTL", _whole(5, 300), "whole seconds, 5 to 300"),
    ("DMS_CONNECT_TIMEOUT", _seconds(0.1, 120), "seconds, 0.1 to 120"),
    ("DMS_READ_TIMEOUT", _seconds(0.1, 300), "seconds, 0.1 to 300"),
    ("OUTBOX_TTL", _seconds(0, 43_200), "seconds, 0 to 43200 (12 hours)"),
    ("STORE_URL", _store_url, "memory:, sqlite:, sqlite:///path or redis://host:port/0"),
    ("MAILBOX_TTL", _seconds(1, 31_536_000), "seconds, 1 to 31536000 (a year)"),
    ("MAILBOX_SIZE", _whole(1, 100_000), "a number of messages, 1 to 100000"),
    ("CONVERSATION_TTL", _seconds(0, 31_536_000), "seconds, 0 (off) to 31536000 (a year)"),
    ("CONVERSATION_SIZE", _whole(1, 10_000), "a number of messages, 1 to 10000"),
    ("CONVERSATION_UNPROVEN", _one_of("off", "on"), "off or on"),
    ("PING_INTERVAL", _seconds(0.5, 300), "seconds, 0.5 to 300"),
    ("PING_TIMEOUT", _seconds(0.5, 300), "seconds, 0.5 to 300"),
    ("MAX_MESSAGE_BYTES", _whole(1_000, 100_000_000), "bytes, 1000 to 100000000"),
    ("MAX_QUEUE_LENGTH", _whole(1, 100_000), "a number of messages, 1 to 100000"),
    ("OUTBOX_SIZE", _whole(1, 10_000_000), "a number of messages, 1 to 10000000"),
    ("FORWARD_FIELDS", _field_names, "names of fields, separated by commas"),
    ("FILES_URL", _files_url, "file:, file:///path or s3://bucket/prefix"),
    ("PUBLIC_URL", _public_url, _PUBLIC_URL),
    ("FILES_TTL", _seconds(60, 31_536_000), "seconds, 60 to 31536000 (a year)"),
    ("MAX_FILE_BYTES", _whole(1_000, 1_000_000_000), "bytes, 1000 to 1000000000"),
    ("FILES_QUOTA_BYTES", _whole(1_000, 1_000_000_000_000), "bytes, 1000 to 1000000000000"),
    ("FILES_QUOTA", _whole(1, 100_000), "a number of files, 1 to 100000"),
    ("FILE_RATE", _rate, "files a second, 0 for no limit"),
    (
        "ATTACHMENT_HOSTS",
        _attachment_hosts,
        "files.example.com, *.example.com, or an origin such as http://127.0.0.1:5601, separated by commas",
    ),
    ("CLAMD_URL", _clamd_url, "tcp://host:3310 or unix:///run/clamav/clamd.ctl"),
    ("PROXY_HOPS", _whole(0, 10), "the number of reverse proxies before LCH, 0 to 10"),
    ("SOCKET_RATE", _rate, "packets a second, 0 for no limit"),
    ("CUSTOMER_RATE", _rate, "messages a second, 0 for no limit"),
    ("CONNECTION_RATE", _rate, "connections a second, 0 for no limit"),
    ("CONNECT_TIMEOUT", _seconds(0.5, 600), "seconds, 0.5 to 600"),
    ("METRICS_TOKEN", _header_value, "a token that only your Prometheus knows"),
    ("CONSOLE_TOKEN", _token, "a token of at least 16 characters that only your operators know"),
    ("LOG_TEXT", _one_of("off", "on"), "off or on"),
    (
        "LOG_LEVEL",
        _log_levels,
        "debug, info, warning or error, and for parts to_dms=debug and the like, separated by commas",
    ),
    ("LOG_FORMAT", _one_of("text", "json", people="text"), "text or json"),
)
