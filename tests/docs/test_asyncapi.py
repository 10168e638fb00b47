"""docs/asyncapi.yaml: AsyncAPI's own schema takes it, DMS's messages and the library's types agree with it.

That the real wire does is tested in tests/live/test_client_library.py.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from lchook.core.messages import FIELDS_TO_DMS
from lchook.core.outcomes import Outcome, message_status
from lchook.sandbox.bodies import KINDS, webhook_body
from tests.support.asyncapi import document, problems
from tests.support.tools import ROOT, needs, npm_package

TYPES = ROOT / "client" / "lch-client.d.ts"
# The library's interfaces, and the schemas that say the same. Those of the library name what it sends, and add `unknown`.
SCHEMAS = {
    "Attachment": "Attachment",
    "Choice": "Choice",
    "CarouselItem": "CarouselItem",
    "DmsText": "DmsText",
    "DmsMenu": "DmsMenu",
    "DmsCarousel": "DmsCarousel",
    "DmsLinkButton": "DmsLinkButton",
    "DmsTyping": "DmsTyping",
    "DmsWaitTime": "DmsWaitTime",
    "DmsEnd": "DmsEnd",
    "CustomerPayload": "ClientMessage",
    "Outcome": "Outcome",
}


def references(of: Any) -> Iterator[str]:
    if isinstance(of, dict):
        for name, value in of.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(of, list):
        for value in of:
            yield from references(value)


def found_at(reference: str) -> Any:
    found: Any = document()
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def test_it_is_what_asyncapi_3_asks_for() -> None:
    schema = json.loads((npm_package("@asyncapi/specs") / "schemas" / "3.0.0.json").read_text())
    errors = sorted(Draft7Validator(schema).iter_errors(document()), key=lambda error: list(error.absolute_path))
    assert [f"{list(error.absolute_path)}: {error.message[:300]}" for error in errors] == []


def test_its_references_lead_somewhere_and_everything_in_it_is_used() -> None:
    used = set(references(document()))
    for reference in used:
        found_at(reference)
    components = {f"#/components/{kind}/{name}" for kind, members in document()["components"].items() for name in members}
    assert components <= used
    for name, schema in document()["components"]["schemas"].items():
        Draft7Validator.check_schema(schema), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_dms_says_is_in_it(kind: str) -> None:
    for customer_id in ("customer-1", 7):
        assert problems("webhook", [webhook_body(kind, customer_id)]) == []
    if kind != "typing_indicator":
        assert problems("webhook", [{**webhook_body(kind, "customer-1"), "customer_id": None}])


def test_what_lch_answers_is_in_it() -> None:
    outcomes = [
        Outcome("sent", 7, 200),
        Outcome("failed", "seven", 500, "DMS answered 500"),
        Outcome("failed", None, None, "no answer"),
        Outcome("rejected", error="malformed"),
    ]
    for outcome in outcomes:
        assert problems("clientMessageAck", [outcome.as_dict()]) == []
        assert problems("serverError", ["Error forwarding request to external API", outcome.as_dict()]) == []
        assert problems("messageStatus", [json.loads(message_status("seven", outcome))]) == []
    assert problems("clientMessageAck", [{"status": "perhaps"}])
    assert problems("serverError", ["Something else"])
    assert problems("nothing", [])
    assert set(document()["components"]["schemas"]["ClientMessage"]["properties"]) == set(FIELDS_TO_DMS)
    assert set(document()["components"]["schemas"]["ToDms"]["properties"]) == set(FIELDS_TO_DMS)


def fields_of_interface(name: str) -> set[str]:
    head, body = re.findall(
        rf"interface {name}\b([^{{]*){{(.*?)\n}}", re.sub(r"/\*.*?\*/", "", TYPES.read_text(), flags=re.S), re.S
    )[0]
    own = set(re.findall(r"^  (?:readonly )?(\w+)\??:", body, re.M))
    parents = [parent for parent in re.findall(r"\w+", head.replace("extends", "")) if parent != "Fields"]
    return own.union(*(fields_of_interface(parent) for parent in parents))


def fields_of_schema(schema: dict[str, Any]) -> set[str]:
    above = [found_at(part["$ref"]) for part in schema.get("allOf", ()) if "$ref" in part]
    return set(schema.get("properties", ())).union(*map(fields_of_schema, above))


@pytest.mark.parametrize(("interface", "schema"), SCHEMAS.items())
def test_the_librarys_types_have_its_fields(interface: str, schema: str) -> None:
    assert fields_of_interface(interface) == fields_of_schema(document()["components"]["schemas"][schema])


def test_an_entry_of_the_library_has_an_entrys_fields() -> None:
    own = {"key", "error", "resentAs"}
    both = fields_of_interface("DmsEntry") | fields_of_interface("CustomerEntry")
    assert both - own == fields_of_schema(document()["components"]["schemas"]["Entry"])


def test_the_types_are_what_a_strict_compiler_takes(tmp_path: Path) -> None:
    compiler = npm_package("typescript") / "bin" / "tsc"
    options = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2022,dom,dom.iterable",
    ]
    usage = ROOT / "tests" / "live" / "js" / "usage.ts"
    done = subprocess.run(
        [needs("node"), str(compiler), *options, str(usage)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
