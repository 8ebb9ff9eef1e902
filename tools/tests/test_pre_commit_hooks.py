"""The hooks that other repositories take from this one."""

import os
import subprocess
import sys

import pytest
import yaml
from local.cluster import settings

HOOKS = yaml.safe_load((settings.REPO / ".pre-commit-hooks.yaml").read_text())


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_its_command_is_one_of_airflow_platform_s(hook):
    program, *words = hook["entry"].split()
    assert program == "airflow-platform"
    command = [sys.executable, "-m", "airflow_platform.cli", *words, *hook["args"], "--help"]
    source = settings.REPO / "images" / "airflow" / "src"
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_looks_at_the_folder_that_it_waits_for():
    (hook,) = HOOKS
    assert hook["files"] == f"^{hook['args'][0]}/"
    assert not hook["pass_filenames"]
