"""The Docker engine: one that runs is used; else Debian's or Ubuntu's package is installed and started."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from local.cluster import settings
from local.cluster.console import Problem, run, step, wait_for

#: Bit of CAP_SYS_RESOURCE in a capability set (linux/capability.h).
SYS_RESOURCE = 24
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 1024
DAEMON_JSON = Path("/etc/docker/daemon.json")
#: Where the engine finds the runtime: not in the cache, which may be cleared while the engine still needs it.
WRAPPER = Path("/usr/local/libexec/airflow-platform/runc-bounded")


def ensure() -> None:
    """A Docker engine that can run privileged containers.

    :raises Problem: there is none and this is not root, or it cannot be installed or started.
    """
    _raise_inotify_limit()
    if answers():
        _bound_capabilities()
        return
    if os.environ.get("DOCKER_HOST"):
        raise Problem(
            f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}",
            "Start it, or unset DOCKER_HOST to use this machine's own.",
        )
    if shutil.which("dockerd") is None:
        _install()
    if os.geteuid():
        raise Problem(
            "Docker is installed, but its engine does not answer to this user",
            "Start it (`sudo systemctl start docker`) and add yourself to its group (`sudo usermod -aG docker $USER`), "
            "or run this as root.",
        )
    _bound_capabilities()
    _start()


def _raise_inotify_limit() -> None:
    """Nodes share this machine's limit. With Debian's own of 128, pods of a fourth node fail by "too many open files"
    (https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files); three live with it."""
    if os.geteuid() == 0 and INOTIFY.exists() and int(INOTIFY.read_text()) < INOTIFY_INSTANCES:
        # Refused where /proc is read-only, as in a container.
        with contextlib.suppress(OSError):
            INOTIFY.write_text(str(INOTIFY_INSTANCES))


def answers() -> bool:
    """Whether a Docker engine can be reached from here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def _install() -> None:
    if os.geteuid():
        raise Problem("Docker is missing and this is not root", "Install Docker, or run this as root.")
    if shutil.which("apt-get") is None:
        raise Problem("Docker is missing and this is neither Debian nor Ubuntu", "Install Docker, then run this again.")
    with step("Docker engine: missing, installing the package docker.io"):
        apt_install("docker.io")


def apt_install(*packages: str) -> None:
    """Install Debian packages, quietly. :raises Problem: apt's own words."""
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], log="apt", env=env, doing="apt-get update")
    words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    run(words, log="apt", env=env, doing=f"installing {' '.join(packages)}")


def _start() -> None:
    with step("Docker engine: starting it") as current:
        if Path("/run/systemd/system").is_dir():
            run(["systemctl", "start", "docker"], log="docker", doing="starting docker")
        else:
            # What a killed engine leaves behind would keep the next one from starting.
            for pid_file in ("/var/run/docker.pid", "/var/run/docker/containerd/containerd.pid"):
                _remove_stale(Path(pid_file))
            log = settings.CACHE / "dockerd.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                subprocess.Popen(
                    ["dockerd"], stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, cwd="/"
                )
            current.note(f"log in {log}")
        wait_for("the Docker engine", answers, seconds=60)


def _remove_stale(pid_file: Path) -> None:
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    name = Path(f"/proc/{pid}/comm")
    if not name.exists() or name.read_text().strip() not in {"dockerd", "containerd"}:
        pid_file.unlink(missing_ok=True)


def _bound_capabilities() -> None:
    """Let privileged containers run where this machine itself lacks CAP_SYS_RESOURCE.

    A privileged container asks for every capability, and runc fails on one that is out of the bounding set. A
    wrapper that drops those becomes the engine's default runtime, only where it is needed.
    """
    if os.geteuid() or _has_capability(SYS_RESOURCE) or shutil.which("dockerd") is None:
        return
    source = settings.REPO / "local" / "node" / "runc-bounded"
    if not WRAPPER.exists() or WRAPPER.read_bytes() != source.read_bytes():
        WRAPPER.parent.mkdir(parents=True, exist_ok=True)
        _write(WRAPPER, source.read_text(), mode=0o755)
    config = _configuration()
    wanted = {
        "runtimes": {**(config.get("runtimes") or {}), "bounded": {"path": str(WRAPPER)}},
        "default-runtime": "bounded",
    }
    if config | wanted == config:
        return
    with step(f"Docker engine: no CAP_SYS_RESOURCE here, adding a runtime that does without to {DAEMON_JSON}"):
        DAEMON_JSON.parent.mkdir(parents=True, exist_ok=True)
        mode = DAEMON_JSON.stat().st_mode & 0o777 if DAEMON_JSON.exists() else 0o644
        _write(DAEMON_JSON, json.dumps(config | wanted, indent=2) + "\n", mode=mode)
        if answers():
            # Both keys are among those that the engine reads again on SIGHUP.
            subprocess.run(["pkill", "-HUP", "-x", "dockerd"], check=False)
            wait_for("the Docker engine's new runtime", lambda: _default_runtime() == "bounded", seconds=15)


def _configuration() -> dict:
    """What stands in daemon.json; an empty file is as good as none, for the engine too."""
    text = DAEMON_JSON.read_text().strip() if DAEMON_JSON.exists() else ""
    try:
        config = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise Problem(f"{DAEMON_JSON} is not valid JSON: {error}", "Mend it, then run this again.") from None
    if not isinstance(config, dict):
        raise Problem(f"{DAEMON_JSON} does not hold a JSON object", "Mend it, then run this again.")
    return config


def _default_runtime() -> str:
    found = subprocess.run(["docker", "info", "-f", "{{.DefaultRuntime}}"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _has_capability(bit: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> bit & 1)
    return True


def _write(path: Path, text: str, mode: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.chmod(name, mode)
    os.replace(name, path)
