"""Is there room for a cluster here? Asked before anything is built."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

from local.cluster import settings
from local.cluster.console import Problem

#: GiB of memory: cluster and platform at rest take about 4, a training task and a build come on top.
MEMORY_GIB = 7.0
#: GiB of disk with nothing built yet, and with warm caches.
DISK_COLD_GIB, DISK_WARM_GIB = 25.0, 8.0


def check_room() -> None:
    """Memory and disk. :raises Problem: there is too little."""
    _memory()
    _disk()


def _memory() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if total < MEMORY_GIB:
        raise Problem(
            f"this machine has {total:.1f} GiB of memory; the local cluster needs {MEMORY_GIB:.0f}",
            "Give it more (Docker Desktop and WSL have a setting for it).",
        )


def _disk() -> None:
    warm = (settings.CACHE / "go").is_dir() and any((settings.CACHE / "go").glob("*/complete"))
    need = DISK_WARM_GIB if warm else DISK_COLD_GIB
    docker_root = Path("/var/lib/docker")
    for what, path in (("the cache", settings.CACHE), ("Docker's images", docker_root), ("this clone", settings.REPO)):
        place = path
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free / 2**30
        if free < need:
            raise Problem(
                f"{free:.1f} GiB of disk are free at {place} (for {what}); {need:.0f} are needed",
                "Free some: `docker system prune` removes unused images; XDG_CACHE_HOME moves the cache.",
            )


def check_ports() -> None:
    """The host ports are free, or held by this cluster itself.

    :raises Problem: another program has one, or two settings name the same.
    """
    ours = _published()
    seen: dict[int, str] = {}
    for name, (variable, _, _) in settings.PORTS.items():
        number = settings.port(name)
        if number in seen:
            raise Problem(f"{seen[number]} and {variable} both name port {number}", "Give each a port of its own.")
        seen[number] = variable
        if number in ours:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                raise Problem(
                    f"port {number} (for {name}, {variable}) is in use on this machine ({error.strerror})",
                    f"Stop what listens there, or choose another: {variable}={number + 10000} make up",
                ) from None


def _published() -> set[int]:
    """The host ports of this cluster's containers that run."""
    names = subprocess.run(
        ["docker", "ps", "--format", "{{.Names}} {{.Ports}}"], capture_output=True, text=True, check=False
    ).stdout
    # Not by the prefix alone: another cluster's name may begin with this one's.
    own = re.compile(rf"{re.escape(settings.CLUSTER)}-(registry|control-plane|worker\d*) ")
    ours = [line for line in names.splitlines() if own.match(line)]
    # "127.0.0.1:8080->30080/tcp"; Docker joins ports that follow each other: "127.0.0.1:30080-30081->30080-30081/tcp".
    ranges = [found for line in ours for found in re.findall(r"127\.0\.0\.1:(\d+)(?:-(\d+))?->", line)]
    return {port for first, last in ranges for port in range(int(first), int(last or first) + 1)}
