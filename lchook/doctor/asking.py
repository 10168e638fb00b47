"""Asking a hook: requests with time limits, of whose answers only the beginning is read."""

from __future__ import annotations

from dataclasses import dataclass

import requests
from urllib3.exceptions import HTTPError

from lchook.dms.failures import cause_in_words
from lchook.doctor.findings import within

# How `GET /webhook` begins where LCH answers.
HERE = "LCH's webhook is here."
WEBHOOK_PATH = "/webhook"
CONNECT_SECONDS, _READ_SECONDS, MAX_SECONDS = 5.0, 10.0, 30.0
_MAX_BYTES = 2048


@dataclass(frozen=True, slots=True)
class HookAnswer:
    status: int
    text: str
    location: str


def ask_hook(
    method: str, url: str, *, body: str | None = None, headers: dict[str, str] | None = None, trust_environment: bool = True
) -> HookAnswer:
    """The answer, its text cut short; redirects are not followed.

    :raises OSError: where there is none; requests's errors and TimeoutError are such.
    """

    def ask() -> HookAnswer:
        with requests.Session() as session:
            session.trust_env = trust_environment
            # A .netrc file must not replace the Authorization header.
            session.auth = lambda request: request
            timeout = (CONNECT_SECONDS, _READ_SECONDS)
            with session.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
            ) as response:
                try:
                    start = response.raw.read(_MAX_BYTES, decode_content=True)
                except HTTPError as error:
                    raise OSError("the answer breaks off") from error
                text = start.decode("utf-8", "replace")
                return HookAnswer(response.status_code, text, response.headers.get("Location", ""))

    return within(MAX_SECONDS, ask)


def why(error: BaseException) -> str:
    return cause_in_words(error) or type(error).__name__
