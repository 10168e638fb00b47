"""docs/asyncapi.yaml as something that messages can be held to."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from tests.support.tools import ROOT

PATH = ROOT / "docs" / "asyncapi.yaml"
_URI = "urn:asyncapi"


@cache
def document() -> dict[str, Any]:
    return dict(yaml.safe_load(PATH.read_text()))


@cache
def _validator(pointer: str) -> Draft7Validator:
    resource: Resource[Any] = Resource.from_contents(document(), default_specification=DRAFT7)
    registry: Registry[Any] = Registry().with_resource(_URI, resource)
    return Draft7Validator({"$ref": f"{_URI}#{pointer}"}, registry=registry)


def problems(message: str, args: list[Any]) -> list[str]:
    """What is wrong with an event or an acknowledgement with these arguments, of one of the document's messages."""
    messages = document()["components"]["messages"]
    if message not in messages:
        return [f"{message}: is not in the document"]
    if messages[message].get("x-arguments") == "list":
        payload: Any = args
    elif len(args) == 1:
        (payload,) = args
    else:
        return [f"{message}: has {len(args)} arguments, not one"]
    errors = _validator(f"/components/messages/{message}/payload").iter_errors(payload)
    return [f"{message}: {error.message} at {list(error.absolute_path)} of {payload}" for error in errors]


def problems_of_frames(frames: list[dict[str, Any]]) -> list[str]:
    """Of what `Library` recorded."""
    acknowledgements = {"clientMessage": "clientMessageAck", "fileRequest": "fileRequestAck"}
    found = []
    for frame in frames:
        name = frame.get("event") or acknowledgements.get(frame["acknowledges"], "empty")
        found += problems(name, frame["args"])
    return found
