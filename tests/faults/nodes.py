"""What is done to containers on the nodes themselves: it needs no API server, which may be what is away."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from local.cluster.console import Problem

#: Seconds for a command on a node.
TIMEOUT = 60
CTR = "ctr --namespace k8s.io tasks"


@dataclass(frozen=True)
class Container:
    """A container that runs on a node, as containerd knows it."""

    node: str
    id: str
    name: str

    def kill(self) -> None:
        """SIGKILL for its first process, and with it for all others. :raises Problem: it does not run."""
        run(self.node, f"{CTR} kill --signal SIGKILL {self.id}")

    def kill_processes(self, titles: str) -> int:
        """SIGKILL for those of its processes whose command line matches ``titles``, a grep -E pattern; how many."""
        script = (
            f"for pid in $({CTR} ps {self.id} | sed -n 's/^\\([0-9][0-9]*\\).*/\\1/p'); do "
            f"tr '\\0' ' ' < /proc/$pid/cmdline | grep -qE '{titles}' && kill -9 $pid && echo $pid; done; true"
        )
        return len(run(self.node, script).split())

    def freeze(self) -> None:
        """Stop all its processes where they are. :raises Problem: they cannot be stopped."""
        for left in range(3, -1, -1):
            try:
                run(self.node, f"{CTR} pause {self.id}")
                return
            except Problem as problem:
                # With cgroup v1, runc gives up on processes that are busy starting others.
                if "unable to freeze" not in str(problem) or not left:
                    raise

    def thaw(self) -> None:
        """Let them go on."""
        run(self.node, f"{CTR} resume {self.id}")


def run(node: str, script: str, *, stdin: str | None = None, timeout: float = TIMEOUT) -> str:
    """Run a shell script on a node; its standard output. :raises Problem: it failed, or took too long."""
    words = ["docker", "exec", "-i", node, "sh", "-c", script]
    try:
        done = subprocess.run(words, input=stdin or "", capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Problem(
            f"node {node}: `{script[:60]}` took over {timeout:.0f} s", "Is the node well (`docker ps`)?"
        ) from None
    if done.returncode:
        # ctr warns of much before it comes to the point.
        said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        raise Problem(f"node {node}: `{script[:60]}` failed: {said}", "Is the node well (`docker ps`)?")
    return done.stdout
