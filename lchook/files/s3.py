"""A bucket at S3, or at whoever speaks like it. The library is loaded only where this is used."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lchook.files import BucketFullError, FilesError

_CONNECT_SECONDS = 5
# For one request: a part of at most `_PART_BYTES`.
_REQUEST_SECONDS = 20
_RETRY_SECONDS = 10
_PART_BYTES = 5 * 1024 * 1024
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"Server returned non-2xx status code: (\d{3})")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "EntityTooLarge")


class S3Bucket:
    """Objects of one bucket, below a prefix."""

    def __init__(self, url: str) -> None:
        """Without network activity.

        :param url: `s3://KEY:SECRET@bucket/prefix?region=…&endpoint=…`. What it leaves out comes from the environment, as
            all of AWS's tools read it (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL`, a role of the machine).
        """
        import obstore
        from obstore.store import S3Store

        self._obstore: Any = obstore
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        options: dict[str, Any] = {name: query[name][0] for name in ("region", "endpoint") if name in query}
        if parts.username:
            options["access_key_id"] = unquote(parts.username)
            options["secret_access_key"] = unquote(parts.password or "")
        self._store = S3Store(
            parts.hostname or "",
            prefix=parts.path.strip("/") or None,
            client_options={
                "allow_http": options.get("endpoint", "").startswith("http:"),
                "connect_timeout": f"{_CONNECT_SECONDS}s",
                "timeout": f"{_REQUEST_SECONDS}s",
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
            **options,
        )
        self.place = f"s3://{parts.hostname}{parts.path}"

    def put(self, key: str, file: Path) -> None:
        with _in_words():
            # One part at a time: each is in memory.
            self._obstore.put(self._store, key, file, chunk_size=_PART_BYTES, max_concurrency=1)

    def put_bytes(self, key: str, data: bytes) -> None:
        with _in_words():
            self._obstore.put(self._store, key, data)

    def read(self, key: str, start: int, length: int) -> bytes | None:
        with _in_words():
            try:
                return bytes(self._obstore.get_range(self._store, key, start=start, length=length))
            except FileNotFoundError:
                return None

    def delete(self, keys: list[str]) -> None:
        with _in_words():
            for key in keys:
                with contextlib.suppress(FileNotFoundError):
                    self._obstore.delete(self._store, key)

    def objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with _in_words():
            for page in self._obstore.list(self._store, prefix or None, chunk_size=1000):
                for found in page:
                    yield found["path"], found["size"]


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except FilesError:
        raise
    except Exception as error:
        # obstore's (0.12.1) texts have pages, and addresses with signatures in them.
        text = str(error)
        code, status = _CODE.search(text), _STATUS.search(text)
        if code and code[1] in _FULL:
            raise BucketFullError(f"the bucket takes no more ({code[1]})") from error
        if code or status:
            raise FilesError(
                f"S3 answers {status[1] if status else 'with an error'}{f' {code[1]}' if code else ''}"
            ) from error
        if "error sending request" in text:
            raise FilesError("S3 cannot be reached, or does not answer") from error
        raise FilesError(f"S3 failed ({type(error).__name__})") from error
