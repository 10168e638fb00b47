"""The deployment files, as far as they can be tried without the engines that they are for: Docker, Render, Grafana.

nginx.conf is run for real in test_nginx.py.
"""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

import config
from lchook.web.metrics import _OLD_NAMES, Metrics
from tests.docs.pages import page
from tests.support.jwts import ISSUER, SECRET
from tests.support.servers import environment, free_port
from tests.support.tools import ROOT, needs
from tests.support.waiting import wait_until

DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
VARIABLES = {name for name, _, _ in config._VARIABLES}
REQUIRED = set(config._REQUIRED)


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# Render


@pytest.fixture
def render() -> dict[str, Any]:
    (service,) = read_yaml(ROOT / "render.yaml")["services"]
    return dict(service)


def test_render_builds_and_starts_lch_as_the_readme_says(render: dict[str, Any]) -> None:
    readme = page("README.md").text
    assert f"| Build Command | `{render['buildCommand']}` |" in readme
    assert f"| Start Command | `{render['startCommand']}` |" in readme
    assert f"| `{render['healthCheckPath']}` |" in readme
    assert (render["type"], render["runtime"]) == ("web", "python")


def test_render_asks_for_what_is_required_and_knows_no_secret(render: dict[str, Any]) -> None:
    variables = {entry["key"]: entry for entry in render["envVars"]}
    assert variables.keys() - {"PYTHON_VERSION"} <= VARIABLES
    assert {name for name, entry in variables.items() if entry.get("sync") is False} == REQUIRED | {"ALLOWED_ORIGIN"}
    assert all(isinstance(entry["value"], str) for entry in variables.values() if "value" in entry)
    readme = page("README.md").text
    for name in ("PYTHON_VERSION", "PROXY_HOPS"):
        assert f"| `{name}` | `{variables[name]['value']}`" in readme


def test_everybody_waits_long_enough_for_lch_to_end(render: dict[str, Any]) -> None:
    unit = (DEPLOY / "lch.service").read_text()
    (systemd,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    services = read_yaml(DEPLOY / "compose.yaml")["services"]
    compose = [services[name]["stop_grace_period"].removesuffix("s") for name in ("lch-1", "lch-2")]

    assert {render["maxShutdownDelaySeconds"], int(systemd), *map(int, compose)} == {30}
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)
    assert int(graceful) <= 25


# Docker


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile's last stage: name and argument."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", "")
    stage = text[text.rindex("\nFROM ") :]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in stage.splitlines() if line]


def arguments(dockerfile: list[tuple[str, str]], name: str) -> list[str]:
    return [argument for instruction, argument in dockerfile if instruction == name]


def copied(dockerfile: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What goes from the project into the image: source and target."""
    for argument in arguments(dockerfile, "COPY"):
        if not argument.startswith("--from="):
            *sources, target = argument.split()
            for source in sources:
                yield source, source if target.endswith("/") else target


def test_docker_is_sent_what_the_image_needs_and_nothing_else(dockerfile: list[tuple[str, str]]) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    everything, *rules = [line for line in lines if line and line[0] != "#"]
    let_in = {rule[1:] for rule in rules if rule[0] == "!"}

    assert everything == "*"
    assert let_in == {source for source, _ in copied(dockerfile)} | {"requirements.txt"}
    assert all((ROOT / source).exists() for source in let_in)
    kept_out = [rule.removeprefix("**/") for rule in rules if rule[0] != "!"]
    assert any(fnmatch.fnmatch("__pycache__", rule) for rule in kept_out)


def test_the_container_is_not_root_and_starts_gunicorn_itself(dockerfile: list[tuple[str, str]]) -> None:
    names = [name for name, _ in dockerfile]
    assert int(arguments(dockerfile, "USER")[-1]) > 0
    assert "RUN" not in names[names.index("USER") :]
    assert json.loads(arguments(dockerfile, "CMD")[-1]) == ["gunicorn", "wsgi:app"]
    assert arguments(dockerfile, "EXPOSE") == [str(config.Settings(dms_url="", jwt_issuer="", jwt_secret="").port)]


def test_what_the_image_holds_is_enough_to_start_and_to_be_found_healthy(
    dockerfile: list[tuple[str, str]], tmp_path: Path
) -> None:
    for source, target in copied(dockerfile):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path / target)
    port = free_port()
    settings = environment(PORT=str(port), DMS_URL="https://dms.invalid/", JWT_ISSUER=ISSUER, JWT_SECRET=SECRET)
    # As in the image: nothing is written beside the code but in `instance`.
    settings["PYTHONDONTWRITEBYTECODE"] = "1"
    (variables,) = [line for line in arguments(dockerfile, "ENV") if line.startswith("GUNICORN_CMD_ARGS")]
    settings["GUNICORN_CMD_ARGS"] = shlex.split(variables)[0].partition("=")[2]
    _, check = arguments(dockerfile, "HEALTHCHECK")[0].split(" CMD ")
    program, *rest = json.loads(check)
    assert program == "python"

    def is_healthy() -> bool:
        done = subprocess.run([sys.executable, *rest], env=settings, capture_output=True, timeout=10, check=False)
        return done.returncode == 0

    assert not is_healthy()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "wsgi:app"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=settings, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(is_healthy, lambda: (tmp_path / "log").read_text(), timeout_seconds=20)
        assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    finally:
        process.terminate()
        process.wait(20)
    written = {path.name for path in tmp_path.iterdir()} - {"log"}
    assert written == {target for _, target in copied(dockerfile)} | {"instance"}


# Compose


def test_compose_starts_two_instances_on_one_redis_behind_nginx() -> None:
    compose = read_yaml(DEPLOY / "compose.yaml")
    services = compose["services"]
    instances = [name for name in services if name.startswith("lch-")]
    assert instances == ["lch-1", "lch-2"]
    for name in instances:
        service = services[name]
        assert service["environment"].keys() <= VARIABLES
        values = {**service["environment"], "DMS_URL": "https://dms.invalid/", "JWT_ISSUER": ISSUER, "JWT_SECRET": SECRET}
        settings = config.load(values, dotenv=None)
        assert settings.store_url.startswith("redis://redis:")
        assert settings.proxy_hops == 1
        assert f"server {name}:{settings.port} " in (DEPLOY / "nginx.conf").read_text()
        assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        assert service["user"] if "user" in service else service["cap_drop"] == ["ALL"]
    assert (DEPLOY / services["nginx"]["volumes"][0].partition(":")[0]).is_file()
    assert services["redis"]["command"][1:5] == ["--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    assert "ports" not in services["redis"]
    assert compose["networks"]["inside"] == {"internal": True}
    assert services["redis"]["networks"] == ["inside"]


# nginx, beyond what test_nginx.py shows


def test_nginx_waits_longer_than_a_heartbeat_and_lets_the_largest_message_through() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    settings = config.Settings(dms_url="", jwt_issuer="", jwt_secret="")
    (body,) = re.findall(r"client_max_body_size (\d+)k;", text)
    assert settings.max_message_bytes < int(body) * 1024 < 2 * settings.max_message_bytes
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        (seconds,) = re.findall(rf"{name} (\d+)s;", text)
        assert int(seconds) > settings.ping_interval_seconds + settings.ping_timeout_seconds


# systemd


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text, count = re.subn(r"^ExecStart=\S+", f"ExecStart={sys.executable}", (DEPLOY / "lch.service").read_text(), flags=re.M)
    assert count == 1
    (tmp_path / "lch.service").write_text(text)
    return tmp_path / "lch.service"


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in verified.stderr.splitlines() if "lch.service" in line]
    assert (verified.returncode, ours) == (0, []), verified.stderr


def test_systemd_finds_the_unit_hardly_exposed(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", unit]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd-analyze cannot judge a file")
    assert judged.returncode == 0, judged.stdout[-500:] + judged.stderr


def test_the_unit_allows_as_many_files_as_lch_can_use() -> None:
    (files,) = re.findall(r"^LimitNOFILE=(\d+)$", (DEPLOY / "lch.service").read_text(), re.MULTILINE)
    compose = read_yaml(DEPLOY / "compose.yaml")["services"]["lch-1"]["ulimits"]["nofile"]
    (clients, others) = (12_000, 2_000)
    text = (ROOT / "gunicorn.conf.py").read_text()
    assert f"min({clients:_}, soft - OTHER_FILES)" in text
    assert f"OTHER_FILES = {others:_}" in text
    assert min(int(files), compose) >= clients + others


# Prometheus and Grafana


def documented_metrics() -> dict[str, set[str]]:
    """Each metric of the table in docs/operations.md, with its labels. test_pages.py compares it with the real ones."""
    rows = re.findall(r"^\| `(lch_\w+)` \| \w+ \| (.*?) \|", page("docs/operations.md").text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def expressions() -> Iterator[str]:
    for group in read_yaml(ALERTS)["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_alerts_and_dashboard_ask_only_for_metrics_and_labels_that_exist() -> None:
    metrics = documented_metrics()
    # Of scraping; and of each series, where there are several connections to Pega.
    of_all = {"job", "instance", "connection"}
    for expression in expressions():
        for name, selectors in re.findall(r"\b(lch_\w+)(?:\{(.*?)\})?", expression):
            series = re.sub(r"_(bucket|sum|count)$", "", name)
            assert series in metrics, f"{name} in {expression}"
            labels = {label.strip() for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors)}
            assert labels <= metrics[series] | of_all, f"{labels} in {expression}"
        for labels in re.findall(r"by \((.*?)\)", expression):
            known = set().union(*(metrics[re.sub(r"_bucket$", "", name)] for name in re.findall(r"lch_\w+", expression)))
            assert {label.strip() for label in labels.split(",")} <= known | of_all, expression


def test_alerts_name_only_outcomes_that_are_counted() -> None:
    documented = page("docs/operations.md").text
    for expression in expressions():
        for values in re.findall(r'(?:outcome|event|reason)(?:=|=~|!=)"(.*?)"', expression):
            for value in values.split("|"):
                assert f"`{value}`" in documented, f"{value} in {expression}"


def test_every_alert_says_what_it_is_and_how_bad() -> None:
    rules = [rule for group in read_yaml(ALERTS)["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"])
    assert [name for name in documented_metrics() if name not in shown and name not in _OLD_NAMES.values()] == []
    assert [old for old in _OLD_NAMES.values() if old in shown] == []


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize("what", [["check", "rules", ALERTS], ["test", "rules", ROOT / "tests/deploy/alerts_test.yml"]])
def test_prometheus_understands_the_alerts_and_they_fire_when_they_should(what: list[str | Path]) -> None:
    done = subprocess.run([needs("promtool"), *what], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"dashboard:{number}", "expr": expression} for number, expression in enumerate(asked)]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [needs("promtool"), "check", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_published_without_traffic_has_no_process_metrics() -> None:
    """The dashboard has panels for LCH's own figures; memory and CPU are the platform's to tell."""
    assert b"process_" not in Metrics().text()
