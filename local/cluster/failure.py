"""What is left of a run that failed: pods, events and logs, in ``.local/failure/``."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from local.cluster import kind, settings
from local.cluster.console import Problem, say

FOLDER = settings.STATE / "failure"


def collect() -> Path:
    """Write what the cluster can tell, and the logs of the steps so far; the folder."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    if (settings.STATE / "log").is_dir():
        shutil.copytree(settings.STATE / "log", FOLDER / "log")
    _save("nodes.txt", "get", "nodes", "-o", "wide")
    _save("pods.txt", "get", "pods", "-A", "-o", "wide")
    _save("pods.yaml", "get", "pods", "-A", "-o", "yaml")
    _save("events.txt", "get", "events", "-A", "--sort-by=.lastTimestamp")
    for namespace, pod in _pods():
        name = f"{namespace}-{pod}"
        _save(f"logs/{name}.log", "logs", "-n", namespace, pod, "--all-containers", "--prefix", "--tail=2000")
    try:
        docker = subprocess.run(["docker", "ps", "-a"], capture_output=True, text=True, check=False)
        (FOLDER / "docker.txt").write_text(docker.stdout + docker.stderr)
    except FileNotFoundError as error:
        (FOLDER / "docker.txt").write_text(f"{error}\n")
    say(f"what is left to look at is in {FOLDER.relative_to(settings.REPO)}/")
    return FOLDER


def _pods() -> list[tuple[str, str]]:
    try:
        items = json.loads(kind.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    except Problem:
        return []
    wanted = (settings.NAMESPACE, settings.STAND_INS, settings.TASK_NAMESPACE)
    return [
        (pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in items
        if pod["metadata"]["namespace"] in wanted
    ]


def _save(name: str, *words: str) -> None:
    path = FOLDER / name
    path.parent.mkdir(exist_ok=True)
    try:
        path.write_text(kind.kubectl(*words, "--request-timeout=20s"))
    except Problem as error:
        path.write_text(f"{error}\n")
