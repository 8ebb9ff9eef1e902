"""Processor time and memory of the cluster, from the cgroups of its nodes (v1 and v2).

Kubelet and containerd have no cgroup of their own everywhere: they are told apart by their processes.

A counter of a cgroup goes on to hold what its children used after they are gone: so the sum over all pods of a node is
exact, workers that lived for seconds included. What the pods that were there before and after did not use of it,
pods that came and went did.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

#: Prints ``path:value`` or ``path:key value`` of each counter: of the node, of all its pods, of each pod; and
#: /proc/<pid>/stat of kubelet and containerd.
SCRIPT = r"""
cd "${1:-/sys/fs/cgroup}" || exit
if [ -f cgroup.controllers ]; then cpu=. usage=cpu.stat memory=.; else cpu=cpuacct usage=cpuacct.usage memory=memory; fi
groups='[^/]*kubepods\(\.slice\)?\|pod[-0-9a-f]*\|[^/]*-pod[_0-9a-f]*\.slice'
grep -H -E '^(usage_usec )?[0-9]+$' $cpu/$usage /dev/null
find -L $cpu -maxdepth 6 -regex ".*/\($groups\)/$usage" -exec grep -H -E '^(usage_usec )?[0-9]+$' {} + 2>/dev/null
find -L $memory -maxdepth 6 -regex ".*/\($groups\)/memory.stat" -exec grep -H -E '^(total_rss|anon) ' {} + 2>/dev/null
grep -h -E '^[0-9]+ \((kubelet|containerd)\) ' /proc/[0-9]*/stat 2>/dev/null
true
"""
POD = re.compile(r"(?:^|-)pod([0-9a-f_-]{32,36})(?:\.slice)?$")
ALL_PODS = re.compile(r"^(?:\S*-)?kubepods(?:\.slice)?$")
#: proc(5): after the name come state and ten more fields, then user and system time, the process's and its children's.
PROCESS = re.compile(r"^\d+ \((?P<name>[^)]+)\) \S+(?: -?\d+){10} (?P<ticks>\d+ \d+ \d+ \d+) ")
MIB = 2**20
TICKS = os.sysconf("SC_CLK_TCK")
#: The part of :class:`Spent` that pods used which were not there both before and after.
PASSING = "passing pods"


@dataclass
class Snapshot:
    """The counters at one time: processor seconds since the nodes started, anonymous memory in bytes."""

    at: float = field(default_factory=time.time)
    nodes: float = 0.0
    all_pods: float = 0.0
    processes: dict[str, float] = field(default_factory=dict)
    pods: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def note(self, line: str) -> None:
        """Take in one line of what :data:`SCRIPT` printed."""
        if process := PROCESS.match(line):
            used = sum(map(int, process["ticks"].split())) / TICKS
            self.processes[process["name"]] = self.processes.get(process["name"], 0.0) + used
            return
        path, _, found = line.partition(":")
        folder, _, file = path.rpartition("/")
        group = folder.rpartition("/")[2]
        key, _, value = found.rpartition(" ")
        pod = POD.search(group)
        if file == "memory.stat":
            if pod:
                self.memory[_identity(pod)] = int(value)
            return
        seconds = int(value) / (1e6 if key else 1e9)
        if pod:
            self.pods[_identity(pod)] = seconds
        elif ALL_PODS.match(group):
            self.all_pods += seconds
        else:
            self.nodes += seconds


@dataclass(frozen=True)
class Spent:
    """Processor seconds in a span of ``seconds``, by part: ``namespace/component``, ``node/process``, passing pods."""

    seconds: float
    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        """Of all nodes together."""
        return sum(self.parts.values())

    def beyond(self, idle: Spent) -> dict[str, float]:
        """Each part less what it uses when nothing is to do."""
        share = self.seconds / idle.seconds if idle.seconds else 0.0
        return {part: used - idle.parts.get(part, 0.0) * share for part, used in self.parts.items()}


def read(nodes: Iterable[str]) -> Snapshot:
    """The counters of these nodes, by their containers' names, now. :raises CalledProcessError: a node does not run."""
    snapshot = Snapshot()
    with ThreadPoolExecutor() as pool:
        for lines in pool.map(lambda node: printed(node, SCRIPT), nodes):
            for line in lines:
                snapshot.note(line)
    return snapshot


def spent(before: Snapshot, after: Snapshot, names: Mapping[str, str]) -> Spent:
    """What was used between two snapshots.

    :param names: {a pod's cgroup id: its part's name}, see :func:`names_of`.
    """
    parts: dict[str, float] = {}
    for pod in before.pods.keys() & after.pods.keys() & names.keys():
        parts[names[pod]] = parts.get(names[pod], 0.0) + after.pods[pod] - before.pods[pod]
    parts[PASSING] = after.all_pods - before.all_pods - sum(parts.values())
    daemons = {f"node/{name}": used - before.processes.get(name, 0.0) for name, used in after.processes.items()}
    parts["node/shims and runc"] = after.nodes - before.nodes - after.all_pods + before.all_pods - sum(daemons.values())
    return Spent(after.at - before.at, parts | daemons)


def together(spans: Iterable[Spent]) -> Spent:
    """Several spans as one."""
    seconds, parts = 0.0, {}
    for one in spans:
        seconds += one.seconds
        for part, used in one.parts.items():
            parts[part] = parts.get(part, 0.0) + used
    return Spent(seconds, parts)


def names_of(pods: Iterable[dict]) -> dict[str, str]:
    """{a pod's cgroup id: ``namespace/component``} of pods as the API gives them."""
    return {identity(pod): f"{pod['metadata']['namespace']}/{component(pod)}" for pod in pods}


def identity(pod: dict) -> str:
    """What the pod's cgroup is named after: its uid, of a static pod the hash of its manifest."""
    metadata = pod["metadata"]
    return metadata.get("annotations", {}).get("kubernetes.io/config.hash", metadata["uid"])


def component(pod: dict) -> str:
    """What a person calls the pod: its component by the usual labels, else its name."""
    labels = pod["metadata"].get("labels", {})
    known = ("app.kubernetes.io/component", "component", "k8s-app", "app.kubernetes.io/name", "app")
    return next((labels[key] for key in known if key in labels), pod["metadata"]["name"])


def printed(node: str, script: str) -> list[str]:
    """The lines that a shell script prints in a node. :raises CalledProcessError: the node does not run."""
    words = ["docker", "exec", node, "sh", "-c", script]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def _identity(found: re.Match) -> str:
    return found[1].replace("_", "-")
