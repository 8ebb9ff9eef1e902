"""The rules as a pytest suite: ``pytest --pyargs airflow_platform.rules``, a test a rule.

The folder is that of the option ``airflow_dags``; pools are those of ``airflow_values``, files of the chart's values.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_platform.rules import Finding, check
from airflow_platform.rules.command import platform_of
from airflow_platform.rules.rules import RULES


@pytest.fixture(scope="session")
def findings(pytestconfig: pytest.Config) -> list[Finding]:
    """Of all DAG files."""
    root = pytestconfig.rootpath
    values = [root / name for name in pytestconfig.getini("airflow_values")]
    return check(Path(root, pytestconfig.getini("airflow_dags")), platform=platform_of(values) if values else None)


@pytest.mark.parametrize("rule", [*RULES, "unique-id"])
def test_every_dag_keeps_to(rule: str, findings: list[Finding]) -> None:
    broken = [str(one).replace(f"{os.getcwd()}/", "", 1) for one in findings if one.rule == rule]
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)
