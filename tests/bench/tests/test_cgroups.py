import subprocess

import pytest
from tests.bench import cgroups
from tests.bench.cgroups import PASSING, Snapshot, Spent

UID = "bed899c9-d6e6-4246-80e2-5807def7bf48"
STATIC = "7aec6aca978971245f6d4f30e8ae4f0c"
V1 = {
    "cpuacct/cpuacct.usage": "9000000000\n",
    "cpuacct/kubelet/kubepods/cpuacct.usage": "5000000000\n",
    "cpuacct/kubelet/kubepods/burstable/cpuacct.usage": "4000000000\n",
    f"cpuacct/kubelet/kubepods/burstable/pod{UID}/cpuacct.usage": "3000000000\n",
    f"cpuacct/kubelet/kubepods/burstable/pod{UID}/0123456789abcdef/cpuacct.usage": "2500000000\n",
    f"cpuacct/kubelet/kubepods/besteffort/pod{STATIC}/cpuacct.usage": "1000000000\n",
    f"memory/kubelet/kubepods/burstable/pod{UID}/memory.stat": "rss 10\ntotal_rss 4096\ntotal_cache 7\n",
}
SLICE = "kubelet.slice/kubelet-kubepods.slice"
POD = f"{SLICE}/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UID.replace('-', '_')}.slice"
V2 = {
    "cgroup.controllers": "cpu memory\n",
    "cpu.stat": "usage_usec 9000000\nuser_usec 8000000\n",
    f"{SLICE}/cpu.stat": "usage_usec 5000000\nuser_usec 4000000\n",
    f"{SLICE}/kubelet-kubepods-burstable.slice/cpu.stat": "usage_usec 4000000\n",
    f"{POD}/cpu.stat": "usage_usec 3000000\n",
    f"{POD}/cri-containerd-0123456789abcdef.scope/cpu.stat": "usage_usec 2500000\n",
    f"{POD}/memory.stat": "anon 4096\nfile 7\n",
}


def snapshot_of(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    printed = subprocess.run(["sh", "-c", cgroups.SCRIPT, "sh", root], capture_output=True, text=True, check=True)
    snapshot = Snapshot()
    for line in printed.stdout.splitlines():
        snapshot.note(line)
    return snapshot


def test_counters_of_cgroup_v1(tmp_path):
    found = snapshot_of(tmp_path, V1)
    assert (found.nodes, found.all_pods) == (9.0, 5.0)
    assert found.pods == {UID: 3.0, STATIC: 1.0}
    assert found.memory == {UID: 4096}


def test_counters_of_cgroup_v2_under_systemd(tmp_path):
    found = snapshot_of(tmp_path, V2)
    assert (found.nodes, found.all_pods) == (9.0, 5.0)
    assert found.pods == {UID: 3.0}
    assert found.memory == {UID: 4096}


def test_a_process_counts_with_its_children():
    found = Snapshot()
    found.note("7 (kubelet) S 1 7 7 0 -1 4194560 90 80 0 0 100 20 3 4 20 0 18 0 1")
    assert found.processes == {"kubelet": 127 / cgroups.TICKS}


def test_what_pods_used_that_came_and_went_is_not_lost():
    before = Snapshot(at=0, nodes=10, all_pods=6, processes={"kubelet": 1}, pods={"stays": 2, "ends": 4})
    after = Snapshot(at=10, nodes=19, all_pods=13, processes={"kubelet": 1.5}, pods={"stays": 3, "new": 0.5})
    found = cgroups.spent(before, after, {"stays": "airflow/scheduler", "new": "support/new"})
    assert found.parts == {"airflow/scheduler": 1, PASSING: 6, "node/kubelet": 0.5, "node/shims and runc": 1.5}
    assert found.total == 9


def test_what_idles_away_is_taken_off_for_as_long_as_it_took():
    idle = cgroups.together([Spent(10, {"a": 1.0}), Spent(30, {"a": 5.0, "b": 2.0})])
    assert Spent(20, {"a": 4.0, "c": 1.0}).beyond(idle) == pytest.approx({"a": 1.0, "c": 1.0})


def test_a_pod_is_called_by_its_component_and_a_static_one_known_by_its_manifest():
    scheduler = {
        "uid": UID,
        "namespace": "airflow",
        "name": "x",
        "labels": {"app.kubernetes.io/component": "scheduler"},
    }
    static = {"uid": "other", "namespace": "kube-system", "name": "etcd-node", "labels": {"component": "etcd"}}
    static["annotations"] = {"kubernetes.io/config.hash": STATIC}
    plain = {"uid": "third", "namespace": "support", "name": "task-1"}
    found = cgroups.names_of({"metadata": one} for one in (scheduler, static, plain))
    assert found == {UID: "airflow/scheduler", STATIC: "kube-system/etcd", "third": "support/task-1"}
