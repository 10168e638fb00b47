"""The whole application in this process, with the Flask-SocketIO test client, and a DMS over real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from config import Settings
from lchook import create_app
from lchook.sandbox.dms import SandboxDms
from tests.app.hook import Hook
from tests.support.jwts import ISSUER, SECRET

CreateHook = Callable[..., Hook]


@pytest.fixture
def create_hook(dms: SandboxDms) -> CreateHook:
    """Makes an application with other settings than the tests' usual ones."""

    def create(**settings: Any) -> Hook:
        usual: dict[str, Any] = {
            "dms_url": dms.url,
            "jwt_issuer": ISSUER,
            "jwt_secret": SECRET,
            "dms_connect_timeout_seconds": 1.0,
            "dms_read_timeout_seconds": 1.0,
            "outbox_ttl_seconds": 0.0,
            "store_url": "memory:",
        }
        return Hook(create_app(Settings(**{**usual, **settings})), dms)

    return create


@pytest.fixture
def hook(create_hook: CreateHook) -> Hook:
    return create_hook()


@pytest.fixture
def app(hook: Hook) -> Flask:
    return hook.app
