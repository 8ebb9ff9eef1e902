"""Our values as a file: YAML, with a comment where somebody has to look."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from airflow_platform.official_chart.conversion import Conversion, Kind

#: The order of this chart's values.yaml.
_ORDER = (
    "fullnameOverride", "image", "imagePullSecrets", "podAnnotations", "podLabels", "extraEnv", "database", "fernetKey",
    "apiSecretKey", "jwtSecret", "secretsBackend", "admin", "config", "apiServer", "scheduler", "dagProcessor",
    "triggerer", "launcher", "workers", "migrations", "dags", "logs", "tasks", "networkPolicies",
)  # fmt: skip


def written(conversion: Conversion, names: list[str]) -> str:
    """The text of the file; ``names`` are the files that it is made from."""
    comments: dict[str, list[str]] = {}
    for one in conversion.said:
        if one.kind is Kind.FORM and one.ours:
            comments.setdefault(one.ours[0], []).append(f"{one.official}{f': {one.note}' if one.note else ''}")
    lines = [
        f"# Made by airflow-platform convert-values from {', '.join(names)}, values of the official Airflow chart.",
    ]
    values = {name: conversion.ours[name] for name in _ORDER if name in conversion.ours}
    for number, one in enumerate(conversion.by_hand):
        lines += ["# To be done by hand:"] * (number == 0)
        lines += _comment(f"- {one.official}: {one.note}", "")
    return "\n".join([*lines, "", *_map(values, "", "", comments)])


def _map(values: Mapping[str, Any], path: str, indent: str, comments: Mapping[str, list[str]]) -> list[str]:
    lines = []
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        for comment in dict.fromkeys(comments.get(below, ())):
            lines += _comment(f"from {comment}", indent)
        if isinstance(value, Mapping) and any(name.startswith(f"{below}.") for name in comments):
            lines += [f"{indent}{key}:", *_map(value, below, f"{indent}  ", comments)]
        else:
            text = yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
            lines += [f"{indent}{line}" if line else line for line in text.splitlines()]
        if not path:
            lines.append("")
    return lines


def _comment(text: str, indent: str) -> list[str]:
    # A further line of one entry stands in from the first.
    return textwrap.wrap(
        text, 120, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ", break_on_hyphens=False
    )


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key, nothing is an alias, and texts of many lines are kept so."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Helm's YAML takes y, n and 1e3 for no texts; PyYAML does.
    quoted = "'" if re.match(r"[yn]$|[-+.]?\d", text, re.IGNORECASE) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else quoted)


_Dumper.add_representer(str, _text)
