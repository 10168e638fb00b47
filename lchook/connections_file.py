"""The file that `CONNECTIONS` names: several connections to Pega, each with settings of its own over the environment's.

Each entry is read as if its keys were the variables of the same names, and what is wrong is named with the connection. Knows
nothing of what is built from it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import config

# Names are labels of metrics, and parts of keys and of files' names.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SECRETS = ("jwt_secret", "jwt_secret_previous", "customer_token_secret", "customer_token_secret_previous")
_KEYS = (
    "dms_url",
    "jwt_issuer",
    "allowed_origin",
    "anonymous_customers",
    "customer_token_jwks_url",
    "customer_token_issuer",
    "customer_token_audience",
    "customer_token_claim",
    *_SECRETS,
    *(f"{key}_env" for key in _SECRETS),
)
_MAX_BYTES = 1_000_000
_MAX_CONNECTIONS = 100

Problems = dict[str, str]


def read(
    path: Path, texts: Mapping[str, str], values: dict[str, Any], problems: Mapping[str, str]
) -> tuple[dict[str, Any], Problems]:
    """What `config.parse` returns, with `connections`.

    :param path: relative to the folder of `.env`. :param texts: the variables.
    :param values: what they say; :param problems: what is wrong with them, as if they were one connection's.
    """
    own = {key.upper() for key in _KEYS}
    # What each connection may say itself is looked at with the connection.
    found = {name: problem for name, problem in problems.items() if name not in own}
    try:
        entries = _entries(config.HOME / path)
    except _FileError as error:
        return values, {**found, "CONNECTIONS": str(error)}
    connections = []
    for number, entry in enumerate(entries, 1):
        settings, wrong = _one(entry, texts)
        where = _where(entry, number)
        found |= {f"{where}, {key}": problem for key, problem in wrong.items()}
        if settings is not None and not found:
            connections.append(settings)
    if not found:
        found = _together(connections)
    if found:
        return values, found
    first = {name: getattr(connections[0], name) for name in config.Settings.__dataclass_fields__}
    return {**first, "connections": tuple(connections), "connections_file": values["connections_file"]}, {}


class _FileError(Exception):
    """The file is of no use; the text follows its variable's name."""


def _entries(path: Path) -> list[Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _FileError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise _FileError(f"{path} is larger than {_MAX_BYTES} bytes")
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _FileError(f"{path} is not in UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Of what it says only where: it might quote a secret.
        place = re.search(r"\(at [^)]*\)", str(error))
        raise _FileError(f"{path} is no TOML {place[0] if place else ''}".strip()) from None
    entries = document.pop("connection", None)
    if document:
        raise _FileError(f"{path} has {', '.join(sorted(map(repr, document)))} outside of any [[connection]]")
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_CONNECTIONS:
        raise _FileError(f"{path} should have a [[connection]] for each, 1 to {_MAX_CONNECTIONS}")
    return entries


def _where(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    usable = isinstance(name, str) and _NAME.fullmatch(name)
    return f"CONNECTIONS, connection {name}" if usable else f"CONNECTIONS, connection number {number}"


def _one(entry: Any, texts: Mapping[str, str]) -> tuple[config.Settings | None, Problems]:
    """The settings of one connection, or what is wrong, by key."""
    if not isinstance(entry, dict):
        return None, {"name": "is missing: each [[connection]] is a table"}
    name = entry.get("name")
    problems: Problems = {}
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problems["name"] = "should be 1 to 32 small letters, digits and hyphens, none of these in front"
    own: dict[str, str] = {}
    for key, value in entry.items():
        if key == "name":
            continue
        if key not in _KEYS:
            problems[key] = f"is none of the keys: name, {', '.join(_KEYS)}"
        elif key == "allowed_origin" and isinstance(value, list) and all(isinstance(origin, str) for origin in value):
            own["ALLOWED_ORIGIN"] = ", ".join(value)
        elif not isinstance(value, str):
            problems[key] = "should be a text, in quotation marks"
        elif not key.endswith("_env"):
            own[key.upper()] = value
        elif key.removesuffix("_env") in entry:
            problems[key] = f"is there beside {key.removesuffix('_env')}: one of them is enough"
        elif not texts.get(value):
            problems[key] = "names a variable that is not set"
        else:
            own[key.removesuffix("_env").upper()] = texts[value]
    # An empty one counts as none, and so takes back what the environment says.
    merged = {variable: text for variable, text in {**texts, **own}.items() if text.strip()}
    values, wrong = config.parse(merged)
    for variable, problem in wrong.items():
        key = variable.lower()
        if key in _KEYS and key not in problems and f"{key}_env" not in problems:
            problems[f"{key}_env" if f"{key}_env" in entry else key] = problem
    if problems or any(variable.lower() not in _KEYS for variable in wrong):
        # The other variables are looked at once, for all connections.
        return None, problems
    return config.Settings(**{**values, "connection_name": name, "connections_file": ""}), {}


def _together(connections: list[config.Settings]) -> Problems:
    """What keeps connections from being told apart."""
    problems: Problems = {}
    for number, one in enumerate(connections):
        where = f"CONNECTIONS, connection {one.connection_name}"
        signs, customers = _secrets(one, "jwt_secret"), _secrets(one, "customer_token_secret")
        for other in connections[:number]:
            if one.connection_name == other.connection_name:
                problems[f"{where}, name"] = "is another connection's, too: each has one of its own"
            elif one.jwt_issuer == other.jwt_issuer and signs & _secrets(other, "jwt_secret"):
                problems[f"{where}, jwt_issuer"] = (
                    f"is, with its secret, that of {other.connection_name}, too: a webhook could be either's"
                )
            if customers & _secrets(other, "jwt_secret") or signs & _secrets(other, "customer_token_secret"):
                problems[f"{where}, customer_token_secret"] = (
                    f"or that of {other.connection_name} is a secret that one of them shares with DMS"
                )
    return problems


def _secrets(settings: config.Settings, name: str) -> set[str]:
    return {getattr(settings, name), getattr(settings, f"{name}_previous")} - {""}
