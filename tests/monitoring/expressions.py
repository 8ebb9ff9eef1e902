"""The chart's alerts and dashboards, and the metrics that their expressions name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

FILES = Path(__file__).parents[2] / "charts" / "airflow-platform" / "files" / "monitoring"

#: Words of PromQL that are used: any other word is a metric.
_WORDS = {
    "absent", "and", "by", "clamp_min", "count", "increase", "last_over_time", "max", "max_over_time", "min",
    "min_over_time", "on", "or", "rate", "sum", "time", "unless", "without",
}  # fmt: skip
#: Of an expression: texts, label matchers, the labels of an aggregation, and durations.
_OTHER = re.compile(r"\"[^\"]*\"|\{[^}]*\}|\b(?:by|on|without|group_left|ignoring)\s*\([^)]*\)|\[[^\]]*\]|\$\w+")
_WORD = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b")


def names(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(_WORD.findall(_OTHER.sub(" ", expression))) - _WORDS


def alerts() -> dict[str, dict[str, Any]]:
    """The chart's alerts, by name."""
    groups = yaml.safe_load((FILES / "rules.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboards() -> dict[str, dict[str, Any]]:
    """The chart's dashboards, by file name."""
    return {path.name: json.loads(path.read_text()) for path in sorted((FILES / "dashboards").glob("*.json"))}


def panels() -> dict[str, list[str]]:
    """The panels of all dashboards: their expressions, by title."""
    found = [panel for one in dashboards().values() for panel in one["panels"] if panel["type"] != "row"]
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in found}


def named() -> dict[str, set[str]]:
    """Where each metric is named: its name, and the alerts and panels."""
    found: dict[str, set[str]] = {}
    where = {alert: [rule["expr"]] for alert, rule in alerts().items()} | panels()
    for place, expressions in where.items():
        for name in set().union(*map(names, expressions)):
            found.setdefault(name, set()).add(place)
    return found
