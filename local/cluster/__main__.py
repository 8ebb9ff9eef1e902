"""``python -m local.cluster COMMAND``: what the Makefile calls."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.cluster import (
    access,
    console,
    dags,
    dev,
    engine,
    failure,
    images,
    kind,
    node,
    preflight,
    registry,
    releases,
    settings,
    smoke,
    usage,
)
from local.cluster.console import Problem, duration, say


def up(run_pipeline: bool = True) -> None:
    """From whatever is there to a running platform."""
    began = time.monotonic()
    with _alone():
        _cluster()
        # What the platform itself runs on comes first; the tasks' images are pushed while it starts.
        releases.push()
        releases.namespaces()
        with ThreadPoolExecutor(max_workers=2) as pool:
            platform = pool.submit(releases.install_platform)
            pushing = pool.submit(registry.push, images.tasks())
            releases.install_stand_ins()
            commit = dags.push(settings.REPO / "dags")
            say(f"      DAGs pushed as commit {commit[:12]}")
            pushing.result()
            platform.result()
        found = access.write()
        summary = smoke.last_or_run(found, commit) if run_pipeline else ""
    say("")
    say(f"  UI        {found['ui']}")
    say(f"  user      {found['user']}")
    say(f"  password  grep password {access.show_path(access.FILE)}")
    say(f"  kubectl   export KUBECONFIG={access.show_path(settings.kubeconfig())} PATH=$PWD/.local/bin:$PATH")
    if summary:
        say(f"  run       {summary}")
    say(f"up in {duration(time.monotonic() - began)}")


def _cluster() -> None:
    settings.STATE.mkdir(mode=0o700, exist_ok=True)
    settings.STATE.chmod(0o700)
    shutil.rmtree(settings.STATE / "log", ignore_errors=True)
    preflight.check_room()
    engine.ensure()
    preflight.check_ports()
    if shutil.which("git") is None:
        engine.apt_install("git")
    # Compiling keeps the processors busy, building images the network and the disk.
    with ThreadPoolExecutor(max_workers=2) as pool:
        building = pool.submit(lambda: [images.build(image) for image in (images.AIRFLOW, *images.tasks())])
        programs = pool.submit(lambda: (access.link_programs(), kind.is_up() or node.image()))
        programs.result()
        building.result()
    kind.ensure()
    registry.ensure()


def down() -> None:
    """Remove cluster, containers and networks; what was built and pushed stays."""
    with _alone():
        if not engine.answers() and shutil.which("dockerd") is None:
            say("no Docker engine here: nothing to remove")
            return
        # An engine that does not run still keeps the containers of an earlier one.
        engine.ensure()
        with console.step("Cluster, registry and network: removing them"):
            kind.remove()
            kind.remove(settings.SECOND_CLUSTER)
            registry.remove()
            # Left alone where other clusters of kind still use it.
            subprocess.run(["docker", "network", "rm", settings.NETWORK], capture_output=True, check=False)
            for name in ("kubeconfig", "access.json"):
                (settings.STATE / name).unlink(missing_ok=True)


def run_smoke() -> None:
    """The pipeline, once, on the cluster that is up."""
    _need_cluster()
    say(smoke.run(access.write()))


def push_dags(folder: Path) -> None:
    """An author's push of ``folder``."""
    _need_cluster()
    say(f"pushed {folder} as commit {dags.push(folder.resolve())}")


def develop(name: str) -> None:
    """An author's loop with the DAG in this folder below ``dags/``."""
    _need_cluster()
    dev.loop(name, access.write())


def status() -> None:
    """Nodes, pods, warnings, and what all of it takes of this machine."""
    _need_cluster()
    say(kind.kubectl("get", "nodes", "-L", "node-pool"))
    say(kind.kubectl("get", "pods", "-A", "-o", "wide"))
    say(kind.kubectl("get", "events", "-A", "--field-selector=type=Warning"))
    memory, cores = usage.measure()
    say(f"cluster and platform take {memory:.1f} GiB of memory and {cores:.2f} cores now")


def collect() -> None:
    """Keep what a failed run left."""
    failure.collect()


def _need_cluster() -> None:
    access.link_programs()
    if not kind.is_up():
        raise Problem("the local cluster is not up", "Run `make up`.")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Two of these at once would undo each other's work."""
    settings.CACHE.mkdir(parents=True, exist_ok=True)
    with (settings.CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem("another `make` works on the local cluster", "Wait for it, or interrupt it.") from None
        yield


def main(arguments: list[str]) -> int:
    """Parse ``arguments`` and run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    plain: dict[str, Callable[[], None]] = {"down": down, "smoke": run_smoke, "status": status, "collect": collect}
    commands.add_parser("up").add_argument("--no-run", action="store_true", help="do not run the pipeline at the end")
    for name in plain:
        commands.add_parser(name)
    commands.add_parser("dags-push").add_argument("folder", type=Path)
    commands.add_parser("dev").add_argument("dag", help="the DAG's folder below dags/")
    given = parser.parse_args(arguments)
    if given.command == "up":
        return console.main(lambda: up(not given.no_run))
    if given.command == "dags-push":
        return console.main(lambda: push_dags(given.folder))
    if given.command == "dev":
        return console.main(lambda: develop(given.dag))
    return console.main(plain[given.command])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
