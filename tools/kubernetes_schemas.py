#!/usr/bin/env python3
"""Makes JSON schemas for kubeconform from Kubernetes' own OpenAPI document, and from CustomResourceDefinitions.

    tools/kubernetes_schemas.py <k8s.io/kubernetes>/api/openapi-spec <folder> [<definition>.yaml …]
    kubeconform -strict -schema-location '<folder>/{{.ResourceKind}}{{.KindSuffix}}.json' …

One file a kind, with all that it refers to inside, and strict: a field that the document does not name is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

# What the document calls a string, and the API server also takes as a number.
_STRING_OR_NUMBER = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["string", "number"],
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["string", "integer"],
}


def schemas(swagger: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """File name to schema, for every kind of the document but lists."""
    definitions = {name: _strict(name, definition) for name, definition in swagger["definitions"].items()}
    made = {}
    for name, definition in swagger["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            # What has no metadata of its own is no object that is applied: DeleteOptions, Status, lists.
            if "metadata" not in definition.get("properties", {}) or kind["kind"].endswith("List"):
                continue
            root = json.loads(json.dumps(definitions[name]))
            reached = {one: definitions[one] for one in sorted(_reached(root, definitions))}
            made |= _file(kind["group"], kind["version"], kind["kind"], {**root, "definitions": reached})
    return made


def of_definition(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """File name to schema, for every version of a CustomResourceDefinition that is served."""
    spec, made = definition["spec"], {}
    for version in spec["versions"]:
        if version["served"]:
            root = _structural(version["schema"]["openAPIV3Schema"])
            made |= _file(spec["group"], version["name"], spec["names"]["kind"], root)
    return made


def _file(group: str, version: str, kind: str, root: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The schema of a kind, by the name that kubeconform looks for."""
    suffix = f"{group.split('.')[0]}-{version}" if group else version
    root["properties"]["apiVersion"] = {"const": f"{group}/{version}" if group else version}
    root["properties"]["kind"] = {"const": kind}
    root["required"] = sorted({*root.get("required", []), "apiVersion", "kind", "metadata"})
    return {f"{kind.lower()}-{suffix}.json": {"$schema": "http://json-schema.org/draft-07/schema#", **root}}


#: Of a structural schema, what says the same in JSON's.
_SAME = ("enum", "required", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems")


def _structural(node: dict[str, Any]) -> dict[str, Any]:
    """A node of a definition's schema, strict where it does not say that it takes what it does not know."""
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: node[key] for key in _SAME if key in node}
    if "type" in node:
        made["type"] = [node["type"], "null"] if node.get("nullable") else node["type"]
    if "properties" in node:
        made["properties"] = {key: _structural(value) for key, value in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    if isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = _structural(node["additionalProperties"])
    if "items" in node:
        made["items"] = _structural(node["items"])
    return made


def _strict(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    if name in _STRING_OR_NUMBER:
        return {"type": _STRING_OR_NUMBER[name]}
    strict = {key: value for key, value in definition.items() if key in ("type", "required", "properties", "items")}
    if "properties" in strict:
        strict["properties"] = {key: _field(value) for key, value in strict["properties"].items()}
        strict["additionalProperties"] = False
    return strict


def _field(field: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in field:
        return {"$ref": field["$ref"]}
    made = {key: field[key] for key in ("type", "enum") if key in field}
    if "items" in field:
        made["items"] = _field(field["items"])
    if isinstance(field.get("additionalProperties"), dict):
        made["additionalProperties"] = _field(field["additionalProperties"])
    return made


def _reached(node: Any, definitions: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    open_nodes = [node]
    while open_nodes:
        here = open_nodes.pop()
        if isinstance(here, dict):
            name = str(here.get("$ref", "")).removeprefix("#/definitions/") if isinstance(here.get("$ref"), str) else ""
            if name and name not in found:
                found.add(name)
                open_nodes.append(definitions[name])
            open_nodes.extend(here.values())
        elif isinstance(here, list):
            open_nodes.extend(here)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specification", type=Path, help="folder with swagger.json")
    parser.add_argument("folder", type=Path, help="where the schemas go")
    parser.add_argument("definitions", type=Path, nargs="*", help="CustomResourceDefinitions")
    options = parser.parse_args()
    source = options.specification / "swagger.json"
    if not source.exists():
        print(f"{source} does not exist: name the folder api/openapi-spec of Kubernetes' source", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    made = schemas(json.loads(source.read_text()))
    for path in options.definitions:
        made |= of_definition(yaml.safe_load(path.read_text()))
    for name, schema in made.items():
        (options.folder / name).write_text(json.dumps(schema, separators=(",", ":")))
    print(f"{len(made)} schemas in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
