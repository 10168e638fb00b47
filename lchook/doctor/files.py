"""Are files kept, is there a scanner, and does PUBLIC_URL lead here?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from config import Settings
from lchook.core.stored_files import FileKeys
from lchook.doctor.asking import HERE, WEBHOOK_PATH, ask_hook, why
from lchook.doctor.findings import Finding, quoted, within
from lchook.files import FilesError
from lchook.files.file_store import FileStore
from lchook.files.files import bucket_from_url
from lchook.files.scanner import Clamd
from lchook.files.spool import Spool

_MAX_SECONDS = 40.0


def examine_files(settings: Settings, *, folder: Path) -> Iterator[Finding]:
    """:param folder: the instance folder."""
    if not settings.files_url:
        yield Finding("files", "skipped", "LCH takes no files: FILES_URL is not set")
        return
    yield _bucket(settings, folder)
    yield _scanner(settings)
    yield _public_url(settings)
    if not settings.attachment_hosts:
        yield Finding(
            "files",
            "warning",
            "agents' files pass as they are, and their links die after 15 minutes: ATTACHMENT_HOSTS is not set",
            "Name the hosts of links that agents' files have: the log of a webhook's client, or Pega, shows them.",
        )


def _bucket(settings: Settings, folder: Path) -> Finding:
    def call(seconds: float, function: object, *args: object) -> object:
        return function(*args)  # type: ignore[operator]

    bucket = bucket_from_url(settings.files_url, folder=folder / "files")
    keys = FileKeys(settings.jwt_secret, clock=lambda: 0.0)
    store = FileStore(bucket, Spool(folder / "files" / ".incoming", call), keys, scanner=None, call=call)
    try:
        within(_MAX_SECONDS, store.check)
    except (FilesError, TimeoutError) as error:
        return Finding(
            "files",
            "problem",
            f"{store.place} cannot be used: {quoted(error)}",
            "See that it is there, that this user (these credentials) may read, write, list and delete there, and has room.",
        )
    return Finding("files", "ok", f"{store.place} kept something, gave it back and deleted it")


def _scanner(settings: Settings) -> Finding:
    if not settings.clamd_url:
        return Finding(
            "scanner",
            "warning",
            "files are not scanned for viruses: CLAMD_URL is not set",
            "Run ClamAV's daemon, and name it: CLAMD_URL=tcp://127.0.0.1:3310.",
        )
    try:
        within(_MAX_SECONDS, Clamd(settings.clamd_url).ping)
    except (FilesError, TimeoutError) as error:
        return Finding(
            "scanner",
            "problem",
            f"{settings.clamd_url}: {quoted(error)}; no file is taken until it answers",
            "Start clamd, and see that it listens there (TCPSocket, TCPAddr or LocalSocket in clamd.conf).",
        )
    return Finding("scanner", "ok", f"clamd answers at {settings.clamd_url}")


def _public_url(settings: Settings) -> Finding:
    address = f"{settings.public_url}{WEBHOOK_PATH}"
    if settings.public_url.startswith("http:"):
        advice = "DMS and browsers fetch files there: it should begin with https, but for a trial on this machine."
    else:
        advice = "PUBLIC_URL must lead to LCH from the internet: DMS fetches customers' files there."
    try:
        answer = ask_hook("GET", address)
    except OSError as error:
        return Finding("public url", "problem", f"{address} cannot be reached from here: {why(error)}", advice)
    if answer.status == 200 and answer.text.startswith(HERE):
        is_plain = settings.public_url.startswith("http:")
        return Finding("public url", "warning" if is_plain else "ok", f"{address} leads to LCH", advice if is_plain else "")
    return Finding("public url", "problem", f"{address} answers {answer.status}, and not as LCH does", advice)
