"""config.py: the settings from an environment and a .env file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from config import Settings, SettingsError, load
from tests.support.servers import run_to_its_end

REQUIRED = {"DMS_URL": "https://dms.example.com/in", "JWT_ISSUER": "conn-1", "JWT_SECRET": "s" * 32}


def problems_of(**variables: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load({**REQUIRED, **variables}, dotenv=None)
    return caught.value.problems


def test_three_variables_are_enough() -> None:
    settings = load(REQUIRED, dotenv=None)

    assert settings == Settings(dms_url="https://dms.example.com/in", jwt_issuer="conn-1", jwt_secret="s" * 32)
    assert settings.port == 5600
    assert settings.webhook_auth == "required"
    assert settings.allowed_origins is None
    assert settings.ack_timeout_seconds == 10
    assert settings.jwt_ttl_seconds == 300


def test_files_need_an_address_of_their_own() -> None:
    assert set(problems_of(FILES_URL="file:")) == {"PUBLIC_URL"}
    secret = "s3://key:sec-ret@bucket/prefix?region=eu-west-1&endpoint=https://minio.example.com"
    settings = load(
        {**REQUIRED, "FILES_URL": secret, "PUBLIC_URL": "https://hook.example.com/", "CLAMD_URL": "unix:///run/clamd.ctl"},
        dotenv=None,
    )
    assert settings.public_url == "https://hook.example.com"
    assert "sec-ret" not in repr(settings)


def test_every_missing_variable_is_named_in_one_message() -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, dotenv=None)

    for name in ("DMS_URL", "JWT_ISSUER", "JWT_SECRET"):
        assert f"{name}: is missing" in str(caught.value)


def test_missing_and_wrong_variables_are_named_together() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"DMS_URL": "ftp://dms", "JWT_ISSUER": "x", "PORT": "many"}, dotenv=None)

    assert set(caught.value.problems) == {"DMS_URL", "JWT_SECRET", "PORT"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DMS_URL", "dms.example.com/in"),
        ("DMS_URL", "ftp://dms.example.com"),
        ("DMS_URL", "https://"),
        ("DMS_URL", "https://dms.example.com:port/"),
        ("DMS_URL", "https://dms.example.com:99999/"),
        ("DMS_URL", "https://dms.example.com/\u00e4"),
        ("DMS_URL", "https://dms.example.com/\nX-Evil: 1"),
        ("JWT_ISSUER", "conn\r\nX-Evil: 1"),
        ("JWT_ISSUER", "caf\u00e9"),
        ("FILES_URL", "ftp://files"),
        ("FILES_URL", "file://host/path"),
        ("FILES_URL", "file:///"),
        ("FILES_URL", "s3:///prefix"),
        ("FILES_URL", "s3://bucket/prefix?regoin=x"),
        ("PUBLIC_URL", "hook.example.com"),
        ("PUBLIC_URL", "https://hook.example.com/?x=y"),
        ("PUBLIC_URL", "https://user@hook.example.com"),
        ("ATTACHMENT_HOSTS", "*"),
        ("ATTACHMENT_HOSTS", "files.example.com, 10.0.0.1"),
        ("CLAMD_URL", "http://127.0.0.1:3310"),
        ("CLAMD_URL", "tcp://127.0.0.1:many"),
        ("CLAMD_URL", "tcp:///run/clamd.ctl"),
        ("ALLOWED_ORIGIN", "chat.example.com"),
        ("ALLOWED_ORIGIN", "https://chat.example.com/path"),
        ("ALLOWED_ORIGIN", "https://*.example.com"),
        ("ALLOWED_ORIGIN", "https://a.example.com, *"),
        ("ALLOWED_ORIGIN", ","),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "http"),
        ("WEBHOOK_AUTH", "false"),
        ("WEBHOOK_AUTH", "no"),
        ("ACK_TIMEOUT", "0"),
        ("ACK_TIMEOUT", "nan"),
        ("ACK_TIMEOUT", "inf"),
        ("ACK_TIMEOUT", "10s"),
        ("JWT_TTL", "301"),
        ("JWT_TTL", "1.5"),
        ("DMS_CONNECT_TIMEOUT", "-1"),
        ("DMS_READ_TIMEOUT", "0"),
        ("MAX_MESSAGE_BYTES", "1"),
        ("MAX_QUEUE_LENGTH", "0"),
        ("FORWARD_FIELDS", ","),
        ("FORWARD_FIELDS", "x" * 65),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_with_what_it_should_be(name: str, text: str) -> None:
    problems = problems_of(**{name: text})

    assert list(problems) == [name]
    assert problems[name].startswith("is wrong: it should be ")


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("DMS_URL", "http://localhost:8080/x?y=1", "dms_url", "http://localhost:8080/x?y=1"),
        ("ALLOWED_ORIGIN", "*", "allowed_origins", "*"),
        ("ALLOWED_ORIGIN", "https://chat.example.com", "allowed_origins", ("https://chat.example.com",)),
        ("ALLOWED_ORIGIN", "https://a.com, http://b:8080", "allowed_origins", ("https://a.com", "http://b:8080")),
        # Browsers send origins in lower case, without a slash and without the usual port.
        ("ALLOWED_ORIGIN", "HTTPS://Chat.Example.com:443/", "allowed_origins", ("https://chat.example.com",)),
        ("ALLOWED_ORIGIN", "http://a.com:80", "allowed_origins", ("http://a.com",)),
        ("ALLOWED_ORIGIN", "https://a.com:80", "allowed_origins", ("https://a.com:80",)),
        (
            "ALLOWED_ORIGIN",
            "https://a.com,capacitor://localhost",
            "allowed_origins",
            ("https://a.com", "capacitor://localhost"),
        ),
        ("PORT", " 10000 ", "port", 10000),
        ("WEBHOOK_AUTH", "OFF", "webhook_auth", "off"),
        ("ACK_TIMEOUT", "0.5", "ack_timeout_seconds", 0.5),
        ("JWT_TTL", "60", "jwt_ttl_seconds", 60),
        ("DMS_CONNECT_TIMEOUT", "2", "dms_connect_timeout_seconds", 2.0),
        ("DMS_READ_TIMEOUT", "20.5", "dms_read_timeout_seconds", 20.5),
        ("MAX_MESSAGE_BYTES", "5000", "max_message_bytes", 5000),
        ("MAX_QUEUE_LENGTH", "7", "max_queue_length", 7),
        ("FORWARD_FIELDS", "a, b,,a ,c d", "forward_fields", ("a", "b", "c d")),
        ("LOG_LEVEL", "debug", "log_levels", {"": "DEBUG"}),
        ("LOG_FORMAT", "text", "log_format", "text"),
        ("LOG_FORMAT", "people", "log_format", "text"),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
    ],
)
def test_a_good_value_is_taken(name: str, text: str, field: str, value: object) -> None:
    assert getattr(load({**REQUIRED, name: text}, dotenv=None), field) == value


def test_no_value_shows_in_the_message_or_the_repr() -> None:
    secret = "this is the secret"
    with pytest.raises(SettingsError) as caught:
        load({"DMS_URL": "https:/secret.example.com", "JWT_SECRET": secret, "PORT": "5600 12345"}, dotenv=None)

    for value in (secret, "secret.example.com", "12345"):
        assert value not in str(caught.value)
    assert secret not in repr(load({**REQUIRED, "JWT_SECRET": secret}, dotenv=None))


def test_the_dotenv_file_counts_where_the_environment_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('# LCH\nDMS_URL=https://from.file/\nexport JWT_ISSUER="from file"\nJWT_SECRET=x\nPORT=1234\n')

    settings = load({"DMS_URL": "https://from.environment/"}, dotenv=file)

    assert settings.dms_url == "https://from.environment/"
    assert settings.jwt_issuer == "from file"
    assert settings.port == 1234


def test_an_empty_variable_counts_as_none_and_switches_the_dotenv_file_off(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("ALLOWED_ORIGIN=*\nJWT_SECRET=x\n")

    assert load({**REQUIRED, "ALLOWED_ORIGIN": ""}, dotenv=file).allowed_origins is None
    with pytest.raises(SettingsError, match="JWT_SECRET: is missing"):
        load({**REQUIRED, "JWT_SECRET": " "}, dotenv=file)


def test_a_missing_dotenv_file_is_no_problem(tmp_path: Path) -> None:
    assert load(REQUIRED, dotenv=tmp_path / "nothing").port == 5600


def test_the_example_file_is_complete() -> None:
    load({}, dotenv=Path(__file__).resolve().parents[2] / ".env.example")


@pytest.mark.parametrize(
    ("variables", "seconds", "is_old"),
    [
        ({}, 300.0, False),
        ({"OUTBOX_TTL": "60"}, 60.0, False),
        ({"RETRY_BUDGET": "30"}, 30.0, True),
        ({"RETRY_BUDGET": "30", "OUTBOX_TTL": "600"}, 600.0, False),
    ],
    ids=str,
)
def test_the_old_name_of_outbox_ttl_is_still_read(variables: dict[str, str], seconds: float, is_old: bool) -> None:
    settings = load({**REQUIRED, **variables}, dotenv=None)
    assert (settings.outbox_ttl_seconds, settings.outbox_ttl_is_retry_budget) == (seconds, is_old)


def test_what_is_wrong_is_called_by_the_name_that_was_used() -> None:
    with pytest.raises(SettingsError) as caught:
        load({**REQUIRED, "RETRY_BUDGET": "long"}, dotenv=None)
    assert set(caught.value.problems) == {"RETRY_BUDGET"}


# An identity provider

PROVIDER = {
    "CUSTOMER_TOKEN_JWKS_URL": "https://idp.example.com/keys",
    "CUSTOMER_TOKEN_ISSUER": "https://idp.example.com",
    "CUSTOMER_TOKEN_AUDIENCE": "chat",
}


def test_an_identity_provider_needs_issuer_and_audience_and_these_need_it() -> None:
    usual = {"DMS_URL": "https://dms.example.com", "JWT_ISSUER": "i", "JWT_SECRET": "s"}
    settings = load({**usual, **PROVIDER}, dotenv=None)
    assert (settings.customer_token_claim, settings.customers_need_tokens) == ("sub", True)
    for name in ("CUSTOMER_TOKEN_ISSUER", "CUSTOMER_TOKEN_AUDIENCE"):
        with pytest.raises(SettingsError, match=f"{name}: is missing"):
            load({**usual, **PROVIDER, name: ""}, dotenv=None)
        with pytest.raises(SettingsError, match=f"{name}: is wrong: it means something only together"):
            load({**usual, name: "x"}, dotenv=None)


def test_without_the_package_cryptography_lch_runs_and_says_what_an_identity_provider_needs() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "import config, lchook\n"
        "usual = {'DMS_URL': 'https://dms.example.com', 'JWT_ISSUER': 'i', 'JWT_SECRET': 's' * 32, 'STORE_URL': 'memory:'}\n"
        "lchook.create_app(config.load(usual, dotenv=None))\n"
        f"try: config.load({{**usual, **{PROVIDER!r}}}, dotenv=None)\n"
        "except config.SettingsError as error: print(error)\n"
    )
    ran = run_to_its_end([sys.executable, "-c", code])
    assert ran.returncode == 0, ran.stdout
    assert "CUSTOMER_TOKEN_JWKS_URL: needs the package cryptography" in ran.stdout
