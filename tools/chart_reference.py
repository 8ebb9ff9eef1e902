#!/usr/bin/env python3
"""Makes the chart's values.schema.json and README.md from values.yaml, the one place where its values are described.

    tools/chart_reference.py            write both
    tools/chart_reference.py --check    exit 1 where one of them is not what values.yaml says

README.md is helm-docs' work, from README.md.gotmpl. The schema is made here: a key's type is its default's, its
description the comment `# -- …` above it, and a line `# @schema …` in that comment adds what neither says, either JSON
schema keywords (`# @schema {enum: [a, b]}`) or the name of a type in TYPES (`# @schema resources`).

Every key with a default that is not empty is required: helm takes a key out where a user sets it to null, and templates
rely on it. Types of TYPES and types that a hint calls "null" are not: there null means none.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parent.parent / "charts" / "airflow-platform"
COMMAND = "python tools/chart_reference.py"

_QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_COUNT = {"type": "integer", "minimum": 0}
_COUNT_OR_PERCENTAGE = {"type": ["integer", "string"], "minimum": 0, "pattern": "^(100|[1-9]?[0-9])%$"}
_TEXT = {"type": "string", "minLength": 1}


def _map_of(required: list[str] | None = None, **properties: dict[str, Any]) -> dict[str, Any]:
    made = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": required} if required else {})


def _list_of(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOSTNAMES = _list_of({"type": "string", "pattern": f"^{_LABEL}([.]{_LABEL})*$"})

# Types of Kubernetes' that values repeat. What Kubernetes checks itself is left to it.
TYPES: dict[str, dict[str, Any]] = {
    "env": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": {"type": "string"}, "value": {"type": "string"}, "valueFrom": {"type": "object"}},
        },
    },
    "resources": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES, "claims": {"type": "array"}},
    },
    "probe": {
        "type": "object",
        "additionalProperties": False,
        "properties": dict.fromkeys(
            [
                "initialDelaySeconds",
                "periodSeconds",
                "timeoutSeconds",
                "failureThreshold",
                "successThreshold",
                "terminationGracePeriodSeconds",
            ],
            _COUNT,
        ),
    },
    "tolerations": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "key": {"type": "string"},
                "operator": {"enum": ["Equal", "Exists"]},
                "value": {"type": "string"},
                "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
                "tolerationSeconds": _COUNT,
            },
        },
    },
    "pullSecrets": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": {"type": "string", "minLength": 1}},
        },
    },
}
TYPES |= {
    "volumes": _list_of({"type": "object", "required": ["name"], "properties": {"name": _TEXT}}),
    "volumeMounts": _list_of(
        _map_of(
            ["name", "mountPath"],
            name=_TEXT,
            mountPath={"type": "string", "pattern": "^/."},
            subPath=_TEXT,
            subPathExpr=_TEXT,
            readOnly={"type": "boolean"},
            recursiveReadOnly={"enum": ["Disabled", "IfPossible", "Enabled"]},
            mountPropagation={"enum": ["None", "HostToContainer", "Bidirectional"]},
        )
    ),
    "containers": _list_of(
        {"type": "object", "required": ["name", "image"], "properties": {"name": _TEXT, "image": _TEXT}}
    ),
    "strategy": _map_of(
        type={"enum": ["RollingUpdate", "Recreate"]},
        rollingUpdate=_map_of(maxSurge=_COUNT_OR_PERCENTAGE, maxUnavailable=_COUNT_OR_PERCENTAGE),
    ),
    "podDisruptionBudget": _map_of(
        enabled={"type": "boolean"}, minAvailable=_COUNT_OR_PERCENTAGE, maxUnavailable=_COUNT_OR_PERCENTAGE
    ),
    "topologySpreadConstraints": {
        "type": ["array", "null"],
        "items": _map_of(
            ["maxSkew", "topologyKey", "whenUnsatisfiable"],
            maxSkew={"type": "integer", "minimum": 1},
            minDomains={"type": "integer", "minimum": 1},
            topologyKey=_TEXT,
            whenUnsatisfiable={"enum": ["ScheduleAnyway", "DoNotSchedule"]},
            labelSelector={"type": "object"},
            matchLabelKeys=_list_of(_TEXT),
            nodeAffinityPolicy={"enum": ["Honor", "Ignore"]},
            nodeTaintsPolicy={"enum": ["Honor", "Ignore"]},
        ),
    },
    "hostnames": _HOSTNAMES,
    "ingressTLS": _list_of(_map_of(secretName=_TEXT, hosts=_HOSTNAMES)),
    "parentRefs": _list_of(
        _map_of(
            ["name"],
            group={"type": "string"},
            kind=_TEXT,
            namespace=_TEXT,
            name=_TEXT,
            sectionName=_TEXT,
            port={"type": "integer", "minimum": 1, "maximum": 65535},
        )
    ),
}
# Checked here, as no object of Kubernetes' carries them all.
_AMOUNT = {
    "type": ["string", "number"],
    "pattern": "^([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$",
    "minimum": 0,
}


def _amounts(names: str) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {names: _AMOUNT}, "additionalProperties": False}


_OF_CONTAINER = _amounts("^(cpu|memory|ephemeral-storage|hugepages-.+|[^/]+/[^/]+)$")
TYPES["nodePools"] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "slots"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "slots": _COUNT,
            "nodeSelector": {"type": "object", "additionalProperties": {"type": "string"}},
            "tolerations": TYPES["tolerations"],
            "podAnnotations": {"type": "object", "additionalProperties": {"type": "string"}},
            "resources": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"requests": _OF_CONTAINER, "limits": _OF_CONTAINER},
            },
            "largest": _OF_CONTAINER,
            "priorityClass": {
                "type": "object",
                "required": ["value"],
                "additionalProperties": False,
                "properties": {
                    # Above are Kubernetes' own.
                    "value": {"type": "integer", "minimum": -(2**31), "maximum": 10**9},
                    "preemptionPolicy": {"enum": ["PreemptLowerPriority", "Never"]},
                    "description": {"type": "string"},
                },
            },
            # What a quota with a scope may count.
            "quota": _amounts("^(pods|((requests|limits)[.])?(cpu|memory)|requests[.][^/]+/[^/]+)$"),
            "shares": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0.001}},
            "minNodes": _COUNT,
            "scheduleTimeout": {
                "type": "string",
                "pattern": "^([1-9][0-9]*h)?([1-9][0-9]*m)?([1-9][0-9]*s)?$",
                "minLength": 2,
            },
            "outOfMemoryFactor": {"type": "number", "minimum": 1},
        },
    },
}

TYPES["workerSets"] = _list_of(
    _map_of(
        ["queue"],
        queue={"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,256}$"},
        resources={
            "type": "object",
            "additionalProperties": False,
            "properties": {"requests": _OF_CONTAINER, "limits": _OF_CONTAINER},
        },
        nodeSelector={"type": "object", "additionalProperties": {"type": "string"}},
        tolerations=TYPES["tolerations"],
        affinity={"type": "object"},
        priorityClassName={"type": "string"},
        podAnnotations={"type": "object", "additionalProperties": {"type": "string"}},
        podLabels={"type": "object", "additionalProperties": {"type": "string"}},
    )
)

# Each becomes the name of a file, where a Secret holds it.
_FILE_NAME = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,249}$"}
_IN_SECRET = {"existingSecret": _TEXT, "secretKey": _TEXT}
TYPES |= {
    "declaredConnections": _list_of(
        _map_of(
            ["id"],
            id=_FILE_NAME,
            **_IN_SECRET,
            value={
                "type": "object",
                "required": ["conn_type"],
                "additionalProperties": False,
                "properties": {
                    **dict.fromkeys(["conn_type", "description", "host", "login", "password", "schema"], _TEXT),
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "extra": {"type": ["object", "string"]},
                },
            },
        )
    ),
    "declaredVariables": _list_of(_map_of(["key"], key=_FILE_NAME, **_IN_SECRET, value={})),
    "declaredPools": _list_of(
        _map_of(
            ["name", "slots"],
            name=_TEXT,
            # Airflow's -1: without end.
            slots={"type": "integer", "minimum": -1},
            description={"type": "string"},
            includeDeferred={"type": "boolean"},
        )
    ),
    "declaredRoles": _list_of(
        _map_of(
            ["name", "permissions"],
            name={"type": "string", "minLength": 1, "maxLength": 64},
            permissions={
                "type": "object",
                "additionalProperties": _list_of(
                    {"enum": ["can_read", "can_create", "can_edit", "can_delete", "menu_access"]}
                ),
            },
        )
    ),
    "declaredUsers": _list_of(
        _map_of(
            ["username", "email", "roles", "existingSecret"],
            username=_FILE_NAME,
            email=_TEXT,
            firstName={"type": "string"},
            lastName={"type": "string"},
            roles={"type": "array", "minItems": 1, "items": _TEXT},
            **_IN_SECRET,
        )
    ),
}

TYPES["bundles"] = _list_of(
    _map_of(
        ["name"],
        name={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$"},
        refreshInterval={"type": "integer", "minimum": 1},
        git=_map_of(
            ["repo"],
            repo=_TEXT,
            ref={"type": ["string", "number"]},
            subPath={"type": "string", "pattern": "^[^/.][^:]*$"},
            connection=_TEXT,
            submodules={"type": "boolean"},
        ),
        s3=_map_of(["bucket"], bucket={"type": "string", "pattern": "^[^/:]+$"}, prefix=_TEXT, connection=_TEXT),
        path={"type": "string", "pattern": "^/."},
    )
)
TYPES["externalSecrets"] = _list_of(
    _map_of(
        ["name", "store"],
        name={"type": "string", "pattern": f"^{_LABEL}([.]{_LABEL})*$"},
        store=_map_of(["name"], name=_TEXT, kind={"enum": ["SecretStore", "ClusterSecretStore"]}),
        refreshInterval=_TEXT,
        data=_list_of(
            {
                "type": "object",
                "required": ["secretKey", "remoteRef"],
                "properties": {"secretKey": _TEXT, "remoteRef": {"type": "object", "required": ["key"]}},
            }
        ),
        dataFrom=_list_of({"type": "object"}),
        template={"type": "object"},
    )
)


_CIDR = {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]+$"}
_PEERS = _list_of(
    _map_of(
        ipBlock=_map_of(["cidr"], **{"cidr": _CIDR, "except": _list_of(_CIDR)}),
        namespaceSelector={"type": "object"},
        podSelector={"type": "object"},
    )
)
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_RULE_PORTS = _list_of(
    _map_of(protocol={"enum": ["TCP", "UDP", "SCTP"]}, port={**_PORT, "type": ["integer", "string"]}, endPort=_PORT)
)
_RULES = {
    "ingress": _list_of(_map_of(**{"from": _PEERS, "ports": _RULE_PORTS})),
    "egress": _list_of(_map_of(to=_PEERS, ports=_RULE_PORTS)),
}
_COMPONENTS = ("apiServer", "scheduler", "dagProcessor", "triggerer", "launcher", "workers", "migrations")
TYPES |= {
    "networkPeers": _PEERS,
    "networkPorts": _list_of(_PORT),
    "networkExtra": _map_of(
        **{component: _map_of(**_RULES) for component in (*_COMPONENTS, "pgbouncer", "housekeeping", "metrics")}
    ),
    "networkTasks": _list_of(
        _map_of(
            ["name"],
            name={"type": "string", "pattern": f"^{_LABEL}$", "maxLength": 60},
            namespaces=_list_of(_TEXT),
            podSelector={"type": "object"},
            **_RULES,
        )
    ),
    "admissionTeams": {
        "type": "object",
        "additionalProperties": _map_of(
            dagFolders=_list_of({"type": "string", "pattern": "^[^/].*"}),
            serviceAccounts=_list_of(_TEXT),
            imageRepositories=_list_of({"type": "string", "pattern": "^[^:@/ ]+(:[0-9]+)?(/[^:@ ]*)?$"}),
        ),
    },
}


class ValuesError(ValueError):
    """values.yaml says too little or too much of a key; the message names the line."""


def schema(values: str) -> dict[str, Any]:
    """The JSON schema of a values.yaml.

    Raises:
        ValuesError: a key has no comment, no known type, or a hint that is not one.
    """
    try:
        root = yaml.compose(values)
    except yaml.YAMLError as error:
        raise ValuesError(f"values.yaml is not valid YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ValuesError("values.yaml is not a map")
    made = _map(root, values.splitlines(), described=False)
    # Helm hands this key to charts that are part of another.
    made["properties"]["global"] = {"type": "object", "description": "Values shared with a parent chart; not used."}
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of airflow-platform", **made}


def _map(node: yaml.MappingNode, lines: list[str], *, described: bool) -> dict[str, Any]:
    properties, required = {}, []
    for key, value in node.value:
        description, hint = _comment(lines, key.start_mark.line)
        described_here = described or bool(description)
        if not described_here and not (isinstance(value, yaml.MappingNode) and value.value):
            raise ValuesError(f'values.yaml:{key.start_mark.line + 1}: {key.value} has no comment "# -- …"')
        one = {"description": description} if description else {}
        one |= _value(key, value, hint, lines, described=described_here)
        properties[key.value] = one
        nullable = isinstance(hint, str) or "null" in hint.get("type", "")
        if not nullable and _default(value) not in (None, "", False, [], {}):
            required.append(key.value)
    made = {"type": "object", "additionalProperties": False, "properties": properties}
    return made | ({"required": required} if required else {})


def _value(
    key: yaml.Node, value: yaml.Node, hint: str | dict[str, Any], lines: list[str], *, described: bool
) -> dict[str, Any]:
    if isinstance(hint, str):
        if hint not in TYPES:
            raise ValuesError(f"values.yaml:{key.start_mark.line + 1}: @schema {hint}: no such type is known here")
        return TYPES[hint]
    default = _default(value)
    if isinstance(value, yaml.MappingNode):
        if value.value and "additionalProperties" not in hint:
            return _map(value, lines, described=described) | hint
        return {"type": "object", "additionalProperties": True} | hint
    if isinstance(default, bool):
        kind = "boolean"
    elif default is None:
        if "type" not in hint:
            raise ValuesError(f"values.yaml:{key.start_mark.line + 1}: {key.value} is null: give it a type by @schema")
        return hint
    else:
        kind = {str: "string", int: "integer", float: "number", list: "array"}[type(default)]
    return {"type": kind} | hint


def _default(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def _comment(lines: list[str], line: int) -> tuple[str, str | dict[str, Any]]:
    """Description and hint in the comment right above a line (counted from 0)."""
    first = line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: list[str] | None = None
    hint: str | dict[str, Any] = {}
    for number, text in enumerate(lines[first:line], first + 1):
        text = text.strip().removeprefix("#").strip()
        if text.startswith("@schema "):
            try:
                hint = yaml.safe_load(text.removeprefix("@schema "))
            except yaml.YAMLError:
                hint = None
            if not isinstance(hint, (str, dict)):
                raise ValuesError(f"values.yaml:{number}: @schema takes a map or the name of a type")
        elif text.startswith("-- "):
            words = [re.sub(r"^\(\w+\) ", "", text.removeprefix("-- "))]  # helm-docs' way to name a type
        elif words is not None:
            words.append(text)
    return " ".join(words or []), hint


def readme(chart: Path, helm_docs: str) -> str:
    """The chart's README, by helm-docs.

    Raises:
        RuntimeError: helm-docs is missing, or failed.
    """
    if shutil.which(helm_docs) is None:
        raise RuntimeError(f"{helm_docs} is not on the PATH: name it by --helm-docs")
    run = subprocess.run(
        [
            helm_docs,
            "--chart-search-root",
            str(chart),
            "--sort-values-order",
            "file",
            "--dry-run",
            "--log-level",
            "error",
        ],
        capture_output=True,
        text=True,
    )
    if run.returncode or not run.stdout:
        raise RuntimeError(f"helm-docs failed: {run.stderr.strip()}")
    return run.stdout.strip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("--helm-docs", default="helm-docs", help="the binary (default: the one on the PATH)")
    options = parser.parse_args(arguments)
    try:
        made = {
            CHART / "values.schema.json": json.dumps(schema((CHART / "values.yaml").read_text()), indent=2) + "\n",
            CHART / "README.md": readme(CHART, options.helm_docs),
        }
    except (ValuesError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        name = path.relative_to(CHART.parent.parent)
        if options.check:
            print(f"{name} is not what values.yaml says. Run: {COMMAND}", file=sys.stderr)
        else:
            path.write_text(made[path])
            print(f"wrote {name}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
