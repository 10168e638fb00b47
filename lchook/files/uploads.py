"""Files from customers: who may upload what, and taking it in. Knows nothing of Socket.IO and HTTP but status numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lchook.core import events
from lchook.core.file_names import clean_name
from lchook.core.file_types import HEAD_BYTES, sniff
from lchook.core.rate_limiter import RateLimiter
from lchook.core.stored_files import GrantError, UploadGrant
from lchook.files import BucketFullError, FilesError
from lchook.files.file_store import FileStore, InfectedError, refusal_of
from lchook.files.links import PATH, link
from lchook.files.scanner import ScannerError
from lchook.files.spool import Incoming
from lchook.logs import Log

log = Log(__name__)

# A phone on a bad line, that asks for several and sends one after the other.
_GRANT_SECONDS = 900.0
_MAX_AT_ONCE = 64
_MAX_OF_CUSTOMER_AT_ONCE = 6
_READ_BYTES = 64 * 1024

Read = Callable[[int], bytes]


class UploadRefusedError(Exception):
    """The upload is not taken. Carries an HTTP status; the text is for the client."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        super().__init__(words)


@dataclass(frozen=True, kw_only=True)
class UploadBounds:
    """:ivar max_bytes: of one file. :ivar quota_bytes, quota_files: of all of one customer's that are kept."""

    max_bytes: int
    quota_bytes: int
    quota_files: int


@dataclass(slots=True)
class _Granted:
    """What a customer may upload and has not: until when, and how much."""

    sizes: dict[str, tuple[float, int]] = field(default_factory=dict)


class Uploads:
    """Permits and takes uploads. Call from anywhere."""

    def __init__(
        self,
        store: FileStore,
        *,
        public_url: str,
        ttl_seconds: float,
        bounds: UploadBounds,
        rate_limiter: RateLimiter,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._public_url = public_url
        self._ttl_seconds = ttl_seconds
        self._bounds = bounds
        self._rate_limiter = rate_limiter
        self._clock = clock
        self._lock = threading.Lock()
        self._granted: dict[str, _Granted] = {}
        self._under_way: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def under_way(self) -> int:
        """How many uploads come in now."""
        return self._under_way.total()

    def grant(self, customer_id: str, asked: dict[Any, Any], *, owner: str | None = None) -> dict[str, Any]:
        """The answer to `fileRequest`: how to upload the file, and where it will be; or why not.

        :param owner: whose files they are, if not simply the customer's.
        :param asked: `name`, `size`, and `type`, which is not believed.
        """
        try:
            answer = self._grant(owner or customer_id, asked)
        except UploadRefusedError as error:
            self.counts["request_refused"] += 1
            log.warning(events.FILE_REQUEST_REFUSED, customer=customer_id, reason=error)
            return {"error": str(error)}
        except FilesError as error:
            self.counts["store_failed"] += 1
            log.error(events.FILES_STORE_FAILED, customer=customer_id, reason=error)
            return {"error": "files cannot be taken at the moment: try again later"}
        self.counts["granted"] += 1
        return answer

    def _grant(self, owner: str, asked: dict[Any, Any]) -> dict[str, Any]:
        size, bounds = asked.get("size"), self._bounds
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise UploadRefusedError(400, "size must be the file's size in bytes, a whole number of at least 1")
        if size > bounds.max_bytes:
            raise UploadRefusedError(413, f"the file is too large: at most {_in_words(bounds.max_bytes)}")
        mark = self._store.keys.mark(owner)
        if not self._rate_limiter.allows(mark):
            raise UploadRefusedError(429, "too many files: wait a little")
        used = self._store.used(owner)
        key = self._store.keys.new_key(owner, "c", ttl_seconds=self._ttl_seconds)
        now = self._clock()
        with self._lock:
            granted = self._granted.setdefault(mark, _Granted())
            granted.sizes = {one: it for one, it in granted.sizes.items() if it[0] > now}
            promised = sum(promise for _, promise in granted.sizes.values())
            if used.files + len(granted.sizes) >= bounds.quota_files:
                raise UploadRefusedError(
                    429, f"too many files: at most {bounds.quota_files} of one person are kept at a time"
                )
            if used.size + promised + size > bounds.quota_bytes:
                raise UploadRefusedError(
                    429, f"there is no room for it: {_in_words(bounds.quota_bytes)} of one person are kept at a time"
                )
            granted.sizes[key] = (now + _GRANT_SECONDS, size)
        name = clean_name(asked.get("name"))
        token = self._store.keys.sign_upload(UploadGrant(key, name, size), ttl_seconds=_GRANT_SECONDS)
        expires_at = datetime.fromtimestamp(int(now + _GRANT_SECONDS), UTC).isoformat().replace("+00:00", "Z")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
        url = f"{self._public_url.rstrip('/')}{PATH}{key}"
        upload = {"url": url, "method": "PUT", "headers": headers, "expires_at": expires_at}
        return {"upload": upload, "attachment": {"url": link(self._public_url, key, name)}}

    def receive(self, key: str, token: str, length: int | None, read: Read) -> tuple[int, dict[str, Any]]:
        """Take an upload in. Returns the HTTP status and the answer's fields.

        :param token: of the Authorization header. :param length: as the client announced it.
        :param read: up to so many bytes of the body, empty at its end.
        """
        try:
            try:
                grant = self._store.keys.verify_upload(token, key)
            except GrantError as error:
                raise UploadRefusedError(403, str(error)) from error
            return self._receive(grant, length, read)
        except UploadRefusedError as error:
            status, words = error.status, str(error)
            self.counts["upload_refused"] += 1
            log.warning(events.UPLOAD_REFUSED, status=status, reason=words)
        except InfectedError:
            status, words = 422, "the virus scanner has found something in this file: it is not taken"
            self.counts["infected"] += 1
        except BucketFullError as error:
            status, words = 507, "there is no room for files at the moment: try again later"
            self._failed(error)
        except ScannerError as error:
            status, words = 503, "the file cannot be scanned for viruses at the moment: try again later"
            self._failed(error)
        except FilesError as error:
            status, words = 503, "files cannot be taken at the moment: try again later"
            self._failed(error)
        return status, {"error": words}

    def _failed(self, error: FilesError) -> None:
        self.counts["store_failed"] += 1
        log.error(events.FILES_STORE_FAILED, reason=error)

    def _receive(self, grant: UploadGrant, length: int | None, read: Read) -> tuple[int, dict[str, Any]]:
        if length is None:
            raise UploadRefusedError(411, "say the file's size in Content-Length")
        if length != grant.size:
            raise UploadRefusedError(400, f"fileRequest said {grant.size} bytes, and these are {length}")
        mark = grant.key.partition("/")[0]
        with self._lock:
            if self._under_way.total() >= _MAX_AT_ONCE or self._under_way[mark] >= _MAX_OF_CUSTOMER_AT_ONCE:
                raise UploadRefusedError(503, "too many uploads at once: try again in a moment")
            self._under_way[mark] += 1
        try:
            url = link(self._public_url, grant.key, grant.name)
            if self._store.is_there(grant.key):
                # The answer was lost, and the client sends it again. What is there stays.
                return 200, {"url": url, "repeated": True}
            with self._store.incoming() as file:
                self._take(file, grant, read)
                header = self._store.keep(file, grant.key, grant.name)
        finally:
            with self._lock:
                self._under_way[mark] -= 1
                if not self._under_way[mark]:
                    del self._under_way[mark]
        with self._lock:
            granted = self._granted.get(mark)
            if granted is not None:
                granted.sizes.pop(grant.key, None)
                if not granted.sizes:
                    del self._granted[mark]
        self.counts["stored"] += 1
        log.info(events.FILE_STORED, file=grant.key, type=header.type, size=header.size)
        return 201, {"url": url, "type": header.type, "size": header.size}

    def _take(self, file: Incoming, grant: UploadGrant, read: Read) -> None:
        while file.size < grant.size:
            piece = read(min(_READ_BYTES, grant.size - file.size))
            if not piece:
                raise UploadRefusedError(
                    400, f"the upload broke off after {file.size} of {grant.size} bytes, or was too slow"
                )
            was_short = len(file.head) < HEAD_BYTES
            file.write(piece)
            if was_short and (len(file.head) == HEAD_BYTES or file.size == grant.size):
                # As soon as it can be told: the rest need not be sent.
                kind = sniff(file.head)
                if not kind.is_accepted:
                    raise UploadRefusedError(415, refusal_of(kind))


def _in_words(size: int) -> str:
    return f"{size / 1_000_000:.3g} MB" if size >= 1_000_000 else f"{size / 1_000:.3g} KB"
