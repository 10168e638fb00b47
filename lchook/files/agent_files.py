"""Files from agents: their links die after minutes, LCH's own do not.

A message gets LCH's links when it comes in, before anything is fetched: it is kept and delivered at once, and nothing waits.
Each link also says, signed, where its file was. So whoever follows it gets the file, fetched by now or on this occasion, and
where it cannot be had, is sent on to the source, as if LCH had left the message alone.

What is to be fetched is noted in the bucket before the webhook is answered: the next process, or another instance, goes on.
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from lchook.core import events
from lchook.core.file_names import clean_name
from lchook.core.messages import MessageToCustomer
from lchook.core.stored_files import FileHeader, Pending
from lchook.files import FilesError, Start
from lchook.files.download import DownloadError, Downloads
from lchook.files.file_store import FileStore, InfectedError
from lchook.files.links import link
from lchook.logs import Log

log = Log(__name__)

# Of one message; further ones pass as they are.
_MAX_ATTACHMENTS = 20
_MAX_AT_ONCE = 4
_MAX_WAITING = 1_000
# How long the answer to a webhook waits for the note that something is to be fetched.
_NOTE_SECONDS = 1.0
# Tries after the first. The link is dead after 15 minutes.
_RETRY_SECONDS = (3.0, 20.0, 120.0)
# How long somebody who follows a link waits for its file.
_PATIENCE_SECONDS = 25.0
_MAX_FAILED = 1_000

Found = tuple[FileHeader, Iterator[bytes]]


class AgentFiles:
    """Fetches what agents send. Call from anywhere."""

    def __init__(
        self, store: FileStore, downloads: Downloads, *, public_url: str, ttl_seconds: float, start_task: Start
    ) -> None:
        self._store = store
        self._downloads = downloads
        self._public_url = public_url
        self._ttl_seconds = ttl_seconds
        self._start_task = start_task
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Pending, int]] = deque()
        self._workers = 0
        # What is being fetched, or waits for that, and who is told when it is over.
        self._under_way: dict[str, threading.Event] = {}
        self._retries: list[tuple[float, int, Pending]] = []
        # What could not be had, so that it is not tried again for each who looks.
        self._failed: OrderedDict[str, None] = OrderedDict()
        self.counts: Counter[str] = Counter()

    def under_way(self) -> int:
        """How many files are being fetched, or wait for that."""
        return len(self._under_way)

    def replace_links(self, message: MessageToCustomer, owner: str) -> tuple[MessageToCustomer, list[Pending]]:
        """The message with LCH's links, and what is to be fetched for them. Without I/O."""
        attachments = message.payload.get("attachments")
        if not isinstance(attachments, list):
            return message, []
        replaced: list[Any] = []
        pending: list[Pending] = []
        for attachment in attachments:
            url = attachment.get("url") if isinstance(attachment, dict) else None
            if len(pending) < _MAX_ATTACHMENTS and self._downloads.hosts.source(url) is not None:
                key = self._store.keys.new_key(owner, "a", ttl_seconds=self._ttl_seconds)
                one = Pending(key, str(url), clean_name(attachment.get("file_name")))
                pending.append(one)
                own = link(self._public_url, key, one.name, source=self._store.keys.sign_source(one))
                attachment = {**attachment, "url": own, "source_url": url}
            replaced.append(attachment)
        if not pending:
            return message, []
        return message._replace(payload={**message.payload, "attachments": replaced}), pending

    def fetch(self, pending: list[Pending]) -> None:
        """The message is stored: fetch what it names. Returns when that is noted, at the latest after a second."""
        until = time.monotonic() + _NOTE_SECONDS
        for one in pending:
            # First: who looks meanwhile, waits.
            self._enqueue(one)
        for one in pending:
            try:
                data = json.dumps(asdict(one)).encode()
                self._store.remember(one.key, data, within_seconds=max(0.05, until - time.monotonic()))
            except FilesError as error:
                log.warning(events.FETCH_NOT_NOTED, file=one.key, reason=error)

    def take_up(self, keys: list[str]) -> None:
        """What another process has left."""
        for key in keys:
            if key in self._under_way:
                continue
            try:
                data = self._store.remembered(key)
                if data is not None:
                    self._enqueue(Pending(**json.loads(data)))
            except (FilesError, ValueError, TypeError) as error:
                log.error(events.FILES_STORE_FAILED, file=key, reason=error)

    def open(self, key: str, source: str) -> Found | Pending | None:
        """The file; or where it was, if it cannot be had; `None` where there never was one.

        :param source: the signed part of the link.
        :raises FilesError: where the bucket fails, and the link does not say where it was.
        """
        pending = self._store.keys.verify_source(source, key) if source else None
        try:
            found = self._store.open(key)
            if found is None and pending is not None and not self._store.keys.is_over(key):
                with self._lock:
                    under_way = self._under_way.get(key)
                    failed = key in self._failed
                if under_way is None and not failed:
                    under_way = self._enqueue(pending)
                if under_way is not None:
                    under_way.wait(_PATIENCE_SECONDS)
                    found = self._store.open(key)
        except FilesError as error:
            if pending is None:
                raise
            log.error(events.FILES_STORE_FAILED, file=key, reason=error)
            return pending
        return found or pending

    def tick(self) -> None:
        """Look after what is to be tried again."""
        now = time.monotonic()
        while True:
            with self._lock:
                if not self._retries or self._retries[0][0] > now:
                    return
                _, tries, pending = heapq.heappop(self._retries)
            self._enqueue(pending, tries)

    def _enqueue(self, pending: Pending, tries: int = 0) -> threading.Event | None:
        with self._lock:
            event = self._under_way.get(pending.key)
            if event is not None:
                return event
            if len(self._waiting) >= _MAX_WAITING:
                # What is noted is found later.
                return None
            event = self._under_way[pending.key] = threading.Event()
            self._waiting.append((pending, tries))
            begins = self._workers < _MAX_AT_ONCE
            self._workers += begins
        if begins:
            self._start_task(self._work)
        return event

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._workers -= 1
                    return
                pending, tries = self._waiting.popleft()
            try:
                self._fetch(pending, tries)
            except Exception:
                log.exception(events.FETCH_FAILED_BADLY, file=pending.key)
            finally:
                with self._lock:
                    event = self._under_way.pop(pending.key)
                event.set()

    def _fetch(self, pending: Pending, tries: int) -> None:
        is_final = True
        try:
            if self._store.keys.is_over(pending.key):
                return
            if not self._store.is_there(pending.key):
                self._fetch_one(pending)
        except DownloadError as error:
            is_final = error.is_final or tries >= len(_RETRY_SECONDS)
            self._not_fetched(pending, str(error), is_final=is_final)
        except InfectedError:
            self.counts["infected"] += 1
            self._settled(pending, self._store.mark_infected, pending.name)
        except FilesError as error:
            is_final = tries >= len(_RETRY_SECONDS)
            self._not_fetched(pending, str(error), is_final=is_final)
        else:
            self._settled(pending)
        if not is_final:
            with self._lock:
                heapq.heappush(self._retries, (time.monotonic() + _RETRY_SECONDS[tries], tries + 1, pending))

    def _fetch_one(self, pending: Pending) -> None:
        started = time.monotonic()
        with self._store.incoming() as file:
            self._downloads.download(pending.source_url, file.write)
            header = self._store.keep(file, pending.key, pending.name)
        self.counts["fetched"] += 1
        seconds = time.monotonic() - started
        log.info(events.FILE_FETCHED, file=pending.key, type=header.type, size=header.size, seconds=round(seconds, 3))

    def _not_fetched(self, pending: Pending, words: str, *, is_final: bool) -> None:
        if not is_final:
            log.info(events.FILE_NOT_FETCHED_YET, file=pending.key, reason=words)
            return
        self.counts["not_fetched"] += 1
        log.warning(events.FILE_NOT_FETCHED, file=pending.key, reason=words)
        with self._lock:
            self._failed[pending.key] = None
            while len(self._failed) > _MAX_FAILED:
                self._failed.popitem(last=False)
        self._settled(pending)

    def _settled(self, pending: Pending, also: Callable[..., object] | None = None, *args: Any) -> None:
        try:
            if also is not None:
                also(pending.key, *args)
            self._store.settle(pending.key)
        except FilesError as error:
            # It is looked at again when what is left is swept up, and goes when its time is over.
            log.error(events.FILES_STORE_FAILED, file=pending.key, reason=error)
