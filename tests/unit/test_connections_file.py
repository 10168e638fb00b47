"""The file of several connections to Pega: what is read, and that each mistake is named with its connection."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from config import Settings, SettingsError, load
from lchook import create_app
from lchook.core.tokens import Tokens
from lchook.doctor import examine

SECRETS = {"NORTH": "the secret of north, of more than 32 bytes", "SOUTH": "the secret of south, of more than 32 bytes"}
NORTH = """
[[connection]]
name = "north"
dms_url = "https://dms.example.com/north"
jwt_issuer = "n"
jwt_secret_env = "NORTH"
"""
SOUTH = NORTH.replace("north", "south").replace("NORTH", "SOUTH").replace('"n"', '"s"')


def read(folder: Path, text: str, **variables: str) -> Settings:
    path = folder / "connections.toml"
    path.write_text(text, encoding="utf-8")
    return load({"CONNECTIONS": str(path), **SECRETS, **variables}, dotenv=None)


def problems(folder: Path, text: str, **variables: str) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(folder, text, **variables)
    assert not any(secret in str(caught.value) for secret in SECRETS.values())
    return caught.value.problems


def test_each_connection_has_its_own_over_what_the_environment_says(tmp_path: Path) -> None:
    more = 'allowed_origin = ["https://south.example", "https://www.south.example"]\ncustomer_token_secret = ""\n'
    settings = read(
        tmp_path, NORTH + SOUTH + more, ALLOWED_ORIGIN="https://a.example", CUSTOMER_TOKEN_SECRET="x" * 40, PORT="5700"
    )
    north, south = settings.connections
    assert (north.connection_name, north.dms_url, north.jwt_issuer) == ("north", "https://dms.example.com/north", "n")
    assert (north.jwt_secret, south.jwt_secret) == (SECRETS["NORTH"], SECRETS["SOUTH"])
    assert (north.allowed_origins, north.customer_token_secret) == (("https://a.example",), "x" * 40)
    assert south.allowed_origins == ("https://south.example", "https://www.south.example")
    assert (south.customer_token_secret, south.customers_need_tokens) == ("", False)
    assert (settings.port, south.port, settings.dms_url) == (5700, 5700, north.dms_url)
    assert SECRETS["SOUTH"] not in repr(settings)


def test_without_the_file_there_is_one_connection() -> None:
    settings = load({"DMS_URL": "https://dms.example.com", "JWT_ISSUER": "i", "JWT_SECRET": "s"}, dotenv=None)
    assert settings.connections == ()


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "CONNECTIONS", "a [[connection]] for each"),
        ("x = 1", "CONNECTIONS", "'x' outside of any"),
        ("connection = 5", "CONNECTIONS", "a [[connection]] for each"),
        ("[[connection", "CONNECTIONS", "is no TOML (at "),
        ("[[connection]]\n", "CONNECTIONS, connection number 1, name", "small letters"),
        (NORTH + "name2 = 1", "CONNECTIONS, connection north, name2", "none of the keys"),
        (NORTH.replace("north", "No/rth"), "CONNECTIONS, connection number 1, name", "small letters"),
        (NORTH.replace("https://dms", "dms"), "CONNECTIONS, connection north, dms_url", "https://…"),
        (NORTH.replace('"n"', "5"), "CONNECTIONS, connection north, jwt_issuer", "a text, in quotation marks"),
        (NORTH.replace("NORTH", "NOWHERE"), "CONNECTIONS, connection north, jwt_secret_env", "not set"),
        (NORTH + 'jwt_secret = "x"', "CONNECTIONS, connection north, jwt_secret_env", "one of them is enough"),
        (NORTH + 'allowed_origin = "chat"', "CONNECTIONS, connection north, allowed_origin", "no scheme"),
        (NORTH + "allowed_origin = [1]", "CONNECTIONS, connection north, allowed_origin", "a text"),
        (
            NORTH + 'customer_token_jwks_url = "https://idp.example/keys"',
            "CONNECTIONS, connection north, customer_token_issuer",
            "is missing",
        ),
        (NORTH + SOUTH.replace("jwt_secret_env", "#"), "CONNECTIONS, connection south, jwt_secret", "is missing"),
        (NORTH + NORTH.replace('"n"', '"m"'), "CONNECTIONS, connection north, name", "another connection's, too"),
        (
            NORTH + SOUTH.replace('"s"', '"n"').replace("SOUTH", "NORTH"),
            "CONNECTIONS, connection south, jwt_issuer",
            "could be either's",
        ),
        (
            NORTH + SOUTH + f'customer_token_secret = "{SECRETS["NORTH"]}"',
            "CONNECTIONS, connection south, customer_token_secret",
            "shares with DMS",
        ),
    ],
)
def test_each_mistake_is_named_with_its_connection(tmp_path: Path, text: str, name: str, words: str) -> None:
    assert words in problems(tmp_path, text)[name]


def test_all_mistakes_are_told_at_once_those_of_the_environment_once(tmp_path: Path) -> None:
    both = (NORTH + SOUTH).replace("https://", "ftp://")
    assert sorted(problems(tmp_path, both, PORT="x")) == [
        "CONNECTIONS, connection north, dms_url",
        "CONNECTIONS, connection south, dms_url",
        "PORT",
    ]


def test_two_connections_may_have_one_id_with_secrets_of_their_own(tmp_path: Path) -> None:
    assert len(read(tmp_path, NORTH + SOUTH.replace('"s"', '"n"')).connections) == 2


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load({"CONNECTIONS": str(tmp_path / "nowhere.toml")}, dotenv=None)
    with pytest.raises(SettingsError, match="cannot be read"):
        load({"CONNECTIONS": str(tmp_path)}, dotenv=None)
    (tmp_path / "latin").write_bytes(b"x = '\xe9'")
    with pytest.raises(SettingsError, match="not in UTF-8"):
        load({"CONNECTIONS": str(tmp_path / "latin")}, dotenv=None)


def test_doctor_and_token_know_each_connection(tmp_path: Path) -> None:
    text = (NORTH + SOUTH).replace("https://dms.example.com", "http://127.0.0.1:9")
    settings = read(tmp_path, text, STORE_URL="memory:")
    checks = {found.check for found in examine(settings, folder=tmp_path, with_probe=False, public_url=None)}
    assert {"north settings", "south settings", "north connection", "south store", "port"} <= checks
    commands = create_app(settings).test_cli_runner()
    headers = commands.invoke(args=["token", "--connection", "south", "--header"]).output.splitlines()
    assert headers[1] == "connection_id: s"
    token = headers[0].removeprefix("Authorization: Bearer ")
    assert Tokens(issuer="s", secret=SECRETS["SOUTH"], clock=time.time).verify(token)
    assert commands.invoke(args=["token", "--connection", "south", "explain", token]).exit_code == 0
    assert commands.invoke(args=["token", "explain", token]).exit_code == 1
    assert "there are north, south" in commands.invoke(args=["token", "--connection", "west"]).output
