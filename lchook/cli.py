"""The commands of `flask --app wsgi …` besides flask's own: doctor, token, forget, sandbox. They read options and print."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import click
from flask import Flask

from config import Settings
from lchook.core import events
from lchook.core.tokens import MAX_AGE_SECONDS, CustomerTokens, Tokens
from lchook.doctor import examine
from lchook.doctor.findings import Finding, as_json, has_problems, shown
from lchook.doctor.token import explain
from lchook.files import FilesError
from lchook.logs import Log
from lchook.store import StoreError

log = Log(__name__)

_CUSTOMER_TTL_SECONDS = 3600


def register(app: Flask, settings: Settings) -> None:
    """Add the commands to the application."""
    app.cli.add_command(_doctor(settings, Path(app.instance_path)))
    app.cli.add_command(_token(settings))
    app.cli.add_command(_forget(app, settings))

    @app.cli.command("sandbox")
    @click.option("--port", default=5601, show_default=True, help="Where the chat page is served.")
    @click.option("--dms-port", default=5602, show_default=True, help="Where the sandbox takes posts: DMS_URL's port.")
    @click.option("--hook", default=f"http://127.0.0.1:{settings.port}", show_default=True, help="Where LCH runs.")
    def sandbox(port: int, dms_port: int, hook: str) -> None:
        """Run a DMS to develop against, and a chat page, beside an LCH that runs on its own."""
        from lchook.sandbox.standalone import run

        run(settings, port=port, dms_port=dms_port, hook=hook)


def _doctor(settings: Settings, folder: Path) -> click.Command:
    @click.command("doctor")
    @click.option(
        "--probe", is_flag=True, help="Post a typing indicator for a test customer to DMS, and explain the answer."
    )
    @click.option("--public-url", callback=_checked_url, help="Where DMS reaches this hook: its webhook is tried there.")
    @click.option("--json", "in_json", is_flag=True, help="One JSON object instead of lines.")
    def doctor(probe: bool, public_url: str | None, in_json: bool) -> None:
        """Check settings, DMS, clock, store and webhook, and say what to do about what is wrong.

        The exit status is 0 where all is well (warnings may be left), 1 where there are problems, 2 for wrong options, 3
        where settings are missing or wrong. Run it as the user that LCH runs as, with the same environment.
        """
        findings: list[Finding] = []
        for finding in examine(settings, folder=folder, with_probe=probe, public_url=public_url):
            findings.append(finding)
            if not in_json:
                _print(finding)
        if in_json:
            click.echo(as_json(findings))
        elif has_problems(findings):
            click.echo(f"Problems: {sum(finding.status == 'problem' for finding in findings)}.")
        else:
            click.echo("No problems.")
        sys.exit(1 if has_problems(findings) else 0)

    return doctor


def _of_connection(settings: Settings, name: str | None) -> Settings:
    if name is None:
        return settings
    for each in settings.connections:
        if each.connection_name == name:
            return each
    names = ", ".join(each.connection_name for each in settings.connections) or "none, as CONNECTIONS is not set"
    raise click.UsageError(f"there is no connection {name!r}: there are {names}")


def _token(all_settings: Settings) -> click.Group:
    @click.group("token", invoke_without_command=True)
    @click.option(
        "--ttl", type=click.IntRange(1, 31_536_000), help="Seconds that it lives; for DMS JWT_TTL, for customers an hour."
    )
    @click.option("--header", is_flag=True, help="Print the headers that DMS asks for, ready for curl -H @-.")
    @click.option("--customer", metavar="ID", help="A customer's token instead, signed with CUSTOMER_TOKEN_SECRET.")
    @click.option("--connection", metavar="NAME", help="Of several connections to Pega, which; else the first.")
    @click.pass_context
    def token(context: click.Context, ttl: int | None, header: bool, customer: str | None, connection: str | None) -> None:
        """Print a token such as LCH sends to DMS, and DMS to the webhook."""
        context.obj = settings = _of_connection(all_settings, connection)
        if context.invoked_subcommand is not None:
            return
        if customer is not None:
            if header:
                raise click.UsageError("--header is for DMS: a customer's token goes into Socket.IO's auth: {token}")
            if not settings.customer_token_secret:
                raise click.UsageError("CUSTOMER_TOKEN_SECRET is not set, so customers have no tokens")
            if not customer:
                raise click.UsageError("--customer needs a customer's id")
            customers = CustomerTokens(secret=settings.customer_token_secret, clock=time.time)
            click.echo(customers.sign(customer, ttl_seconds=ttl or _CUSTOMER_TTL_SECONDS))
            return
        if ttl is not None and ttl > MAX_AGE_SECONDS:
            click.echo(f"DMS accepts no token that is older than {MAX_AGE_SECONDS} s, whatever it says of itself.", err=True)
        tokens = Tokens(issuer=settings.jwt_issuer, secret=settings.jwt_secret, clock=time.time)
        signed = tokens.sign(ttl_seconds=ttl or settings.jwt_ttl_seconds)
        click.echo(f"Authorization: Bearer {signed}\nconnection_id: {settings.jwt_issuer}" if header else signed)

    @click.command("explain")
    @click.argument("text", metavar="[TOKEN|-]", default="-")
    @click.option("--json", "in_json", is_flag=True, help="One JSON object instead of lines.")
    @click.pass_obj
    def explain_token(settings: Settings, text: str, in_json: bool) -> None:
        """Say what is wrong with a token, or that nothing is. Without one, or with -, it is read from standard input, and so
        stays out of the shell's history. The exit status is 0 where LCH accepts it, else 1."""
        if text == "-":
            text = sys.stdin.buffer.read(100_000).decode("utf-8", "replace")
        findings = list(explain(text, settings))
        if in_json:
            click.echo(as_json(findings))
        else:
            for finding in findings:
                _print(finding)
        sys.exit(1 if has_problems(findings) else 0)

    token.add_command(explain_token)
    return token


def _forget(app: Flask, settings: Settings) -> click.Command:
    @click.command("forget")
    @click.argument("customer", metavar="CUSTOMER")
    @click.option("--connection", metavar="NAME", help="Of several connections to Pega, which: ids may be equal.")
    def forget(customer: str, connection: str | None) -> None:
        """Remove all that is kept of a customer: waiting messages both ways, what became of them, the conversation,
        files.

        CUSTOMER is the customer_id; of somebody without a name the anon-… of the log and of payloads. What Pega has stays.
        The exit status is 0 where nothing of them is left, 1 where the store fails.
        """
        if settings.store_url.startswith("memory:"):
            raise click.ClickException(
                "STORE_URL=memory: keeps everything in LCH's own process, and forgets it when that ends"
            )
        if not customer:
            raise click.UsageError("CUSTOMER is empty: those without a name have ids that begin with anon-")
        if connection is None and settings.connections:
            raise click.UsageError("--connection is missing: customers of several connections may have equal ids")
        name = _of_connection(settings, connection).connection_name
        parts = app.extensions["lch"]
        store = parts.channels.channels()[name].store if parts.channels is not None else parts.store
        files = parts.files.of(_of_connection(settings, connection).namespace) if parts.files is not None else None
        try:
            forgotten = store.forget(customer)
            removed_files = f", {files.forget(customer)} files" if files is not None else ""
        except (StoreError, FilesError) as error:
            raise click.ClickException(f"not everything was removed, try again: {error}") from error
        finally:
            store.close()
        log.info(events.CUSTOMER_FORGOTTEN, customer=customer)
        click.echo(
            f"Removed of {customer}: {forgotten.mailbox} waiting messages, {forgotten.outbox} on their way to DMS,"
            f" {forgotten.outcomes + forgotten.statuses} outcomes, {forgotten.entries} entries of the conversation"
            f"{removed_files}."
        )

    return forget


def _print(finding: Finding) -> None:
    color = False if os.environ.get("NO_COLOR") else None
    click.echo(shown(finding, encoding=getattr(sys.stdout, "encoding", None) or "utf-8"), color=color)


def _checked_url(context: click.Context, option: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise click.BadParameter("it should be https://chat.example.com, or the webhook's whole address")
    return url
