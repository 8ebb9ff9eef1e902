"""Where the numbers come from: the machine, and the versions of what ran on it."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from pathlib import Path

import yaml
from local.cluster import settings
from local.cluster.airflow import Airflow
from local.cluster.kind import kubectl


def describe() -> dict:
    """Processors, memory, kernel, cgroups, and how busy the machine is before anything of ours runs."""
    models = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": models[0] if models else platform.machine(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "cgroup": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(airflow: Airflow) -> dict:
    """Of the platform, Airflow, the provider, Kubernetes and containerd."""
    chart = yaml.safe_load((settings.REPO / "charts" / "airflow-platform" / "Chart.yaml").read_text())
    providers = airflow.call("GET", "providers?limit=100")["providers"]
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    info = nodes[0]["status"]["nodeInfo"]
    return {
        "chart": chart["version"],
        "commit": _commit(),
        "airflow": airflow.call("GET", "version")["version"],
        "provider": next(
            one["version"] for one in providers if one["package_name"] == "apache-airflow-providers-cncf-kubernetes"
        ),
        "kubernetes": info["kubeletVersion"],
        "containerd": info["containerRuntimeVersion"].rpartition("//")[2].partition("+")[0],
        "nodes": len(nodes),
    }


def _commit() -> str:
    """The commit that is checked out, with a plus where files differ from it; empty outside of a clone."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=settings.REPO, capture_output=True, text=True, check=False).stdout

    return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if git("status", "--porcelain").strip() else "")
