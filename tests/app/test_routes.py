"""Every route of the application, and how whoever calls it is authenticated."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from lchook.sandbox.web import create_blueprint
from tests.app.conftest import CreateHook
from tests.app.hook import Hook
from tests.support.jwts import mint

# A new route goes here, after a thought about who may call it.
ROUTES = {
    ("GET", "/webhook"): "public",
    ("POST", "/webhook"): "DMS's token",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "METRICS_TOKEN, if that is set",
    ("GET", "/client/"): "public",
    ("GET", "/client/<path:path>"): "public",
}


def test_every_route_declares_how_it_is_authenticated(app: Flask) -> None:
    found = {
        (method, rule.rule) for rule in app.url_map.iter_rules() for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert found == set(ROUTES)


@pytest.mark.parametrize(("method", "path", "authentication"), [(*route, how) for route, how in ROUTES.items()])
def test_routes_do_as_they_declare(create_hook: CreateHook, method: str, path: str, authentication: str) -> None:
    web = create_hook(metrics_token="of the tests").app.test_client()
    for headers in ({}, {"Authorization": "Bearer garbage"}, {"Authorization": f"Bearer {mint(iss='another')}"}):
        response = web.open(path, method=method, data=b"{}", headers=headers)

        assert (response.status_code == 401) is (authentication != "public")


def test_a_bug_is_answered_500_in_json_and_says_nothing_of_itself(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Any:
        raise ZeroDivisionError("inner secret")

    app.add_url_rule("/fails", view_func=fail)

    response = app.test_client().get("/fails")

    assert response.status_code == 500
    assert response.json == {"error": "internal error"}
    assert "inner secret" in caplog.text


def test_the_page_at_the_root_gives_way_to_a_route_for_it(hook: Hook) -> None:
    hook.app.register_blueprint(create_blueprint(hook.dms))

    assert "This is LCH" not in hook.get("/").text
    assert hook.get("/").status_code == 200
