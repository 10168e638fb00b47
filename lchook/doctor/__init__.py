"""`flask --app wsgi doctor`: is everything as LCH needs it, and where not, what is to be done.

This module only puts the checks in order. A check never raises, never takes long, and never shows a secret or a token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from config import Settings
from lchook.doctor.dms import examine_dms
from lchook.doctor.files import examine_files
from lchook.doctor.findings import Finding
from lchook.doctor.port import examine_port
from lchook.doctor.probe import probe
from lchook.doctor.provider import examine_provider
from lchook.doctor.public_address import examine_public_address
from lchook.doctor.settings import examine_settings
from lchook.doctor.store import examine_store


def examine(settings: Settings, *, folder: Path, with_probe: bool, public_url: str | None) -> Iterator[Finding]:
    """All checks, each finding as soon as it is known.

    :param folder: where `sqlite:` has its file.
    :param with_probe: whether to post something to DMS.
    :param public_url: where DMS reaches this hook; None to leave that out.
    """
    for each in settings.connections or (settings,):
        yield from _of(each, _examine_connection(each, with_probe=with_probe))
    for each in settings.connections or (settings,):
        yield from _of(each, _guarded("store", lambda each=each: examine_store(each, folder=folder)))  # type: ignore[misc]
    yield from _guarded("files", lambda: examine_files(settings, folder=folder))
    yield from _guarded("port", lambda: examine_port(settings.port))
    if public_url is not None:
        for each in settings.connections or (settings,):
            found = _guarded("webhook", lambda each=each: examine_public_address(public_url, each))  # type: ignore[misc]
            yield from _of(each, found)
    else:
        yield Finding(
            "webhook",
            "skipped",
            "not tried: --public-url https://… tries the address that DMS posts to, with a right and a wrong key",
        )


def _of(settings: Settings, findings: Iterator[Finding]) -> Iterator[Finding]:
    """With several connections to Pega, each finding says whose it is."""
    for finding in findings:
        name = settings.connection_name
        yield replace(finding, check=f"{name} {finding.check}") if name else finding


def _examine_connection(settings: Settings, *, with_probe: bool) -> Iterator[Finding]:
    """What belongs to one connection to Pega."""
    timeout_seconds = settings.dms_connect_timeout_seconds
    yield from _guarded("settings", lambda: examine_settings(settings))
    yield from _guarded(
        "dms",
        lambda: examine_dms(settings.dms_url, timeout_seconds=timeout_seconds, token_ttl_seconds=settings.jwt_ttl_seconds),
    )
    if with_probe:
        yield from _guarded("probe", lambda: probe(settings))
    else:
        yield Finding("probe", "skipped", "DMS was not posted to: --probe posts a typing indicator for a test customer")
    yield from _guarded("keys", lambda: examine_provider(settings))


def _guarded(check: str, findings: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from findings()
    except Exception as error:
        # Whatever it is, the other checks are wanted too. Its text might quote a secret.
        yield Finding(
            check, "problem", f"the check itself failed ({type(error).__name__})", "This is a fault of LCH: report it."
        )
