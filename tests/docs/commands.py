"""What runs the commands that the pages show. test_pages.py compares this with the pages, and looks for each test."""

from __future__ import annotations

# Command → the test that runs it, or the step of CI.
RUN_BY = {
    "make demo": "tests/docs/test_commands.py::test_make_demo_prints_an_address_where_one_can_chat",
    "make test": ".ci/run",
    'make test ARGS="tests/unit -x"': "tests/docs/test_commands.py::test_make_hands_arguments_on_to_pytest",
    "make lint": "tests/docs/test_commands.py::test_make_knows_what_the_pages_name",
    "make format": "tests/docs/test_commands.py::test_make_knows_what_the_pages_name",
    "make requirements": "tests/docs/test_commands.py::test_make_knows_what_the_pages_name",
    "python -m tests.upstream": "tests/upstream/test_tools.py::test_the_command_says_that_all_is_well_or_what_to_read",
    "pip install -r requirements.txt": ".ci/runtime-alone",
    "pip install .": "tests/field/test_package.py::bin_folder",
    "lch demo": "tests/field/test_package.py::test_46_lch_demo_answers_from_any_folder",
    "lch serve": "tests/field/test_package.py::test_46_lch_serve_has_its_settings_and_its_store_where_it_is_started",
    "gunicorn wsgi:app": ".ci/runtime-alone",
    "gunicorn --access-logfile - wsgi:app": "tests/live/test_start.py::test_gunicorns_access_log_has_webhooks_and_polls",
    "flask --app wsgi doctor": "tests/live/test_doctor.py::test_where_all_is_well_it_says_so_and_ends_with_0",
    "cp .env.example .env": "tests/docs/test_commands.py::test_hook_and_sandbox_of_the_example_settings_find_each_other",
    "flask --app wsgi run --debug --port 5600": "tests/docs/test_commands.py::"
    "test_hook_and_sandbox_of_the_example_settings_find_each_other",
    "flask --app wsgi sandbox": "tests/docs/test_commands.py::test_hook_and_sandbox_of_the_example_settings_find_each_other",
    "python3 -m http.server 8000 --bind 127.0.0.1": "tests/live/test_chat_element.py::"
    "test_the_page_of_the_documentation_talks",
    "curl -fsS http://127.0.0.1:5600/readyz": "tests/docs/test_commands.py::test_readiness_can_be_asked_with_curl",
    "python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))'"
    " instance/lchook.sqlite3 copy.sqlite3": "tests/docs/test_commands.py::test_a_store_in_use_can_be_copied",
}

_UNIT = "needs systemd as the first process; the unit is verified by tests/deploy/test_files.py"
_ENGINE = "needs Docker; tests/deploy/test_files.py checks the files, and starts LCH from what the image would hold"

# Command → why nothing runs it, and what is done instead.
NOT_RUN = {
    "useradd --system --home-dir /var/lib/lch --shell /usr/sbin/nologin lch": _UNIT,
    "git clone REPOSITORY /opt/lch": _UNIT,
    "python3 -m venv /opt/lch/.venv": _UNIT,
    "/opt/lch/.venv/bin/pip install -r /opt/lch/requirements.txt": _UNIT,
    "install -D -m 600 /opt/lch/.env.example /etc/lch/lch.env": _UNIT,
    "install -m 644 /opt/lch/deploy/lch.service /etc/systemd/system/lch.service": _UNIT,
    "systemctl daemon-reload": _UNIT,
    "systemctl enable --now lch": _UNIT,
    "systemctl restart lch": _UNIT,
    "journalctl -u lch -f": _UNIT,
    "git pull": _UNIT,
    "docker build -t lch .": _ENGINE,
    "docker run --env-file .env -p 5600:5600 -v lch:/app/instance lch": _ENGINE,
    "docker compose -f deploy/compose.yaml up --build": _ENGINE,
    "docker compose -f deploy/compose.yaml build": _ENGINE,
    "docker compose -f deploy/compose.yaml up -d --no-deps --wait lch-1": _ENGINE,
    "docker compose -f deploy/compose.yaml up -d --no-deps --wait lch-2": _ENGINE,
    "docker compose -f deploy/compose.yaml exec nginx nginx -s reload": _ENGINE,
}
