import json

import pytest
import yaml
from local.cluster import kind, settings
from local.cluster.console import Problem

#: As kubeadm 1.36 writes it.
COREFILE = """.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
FORWARD = "    forward . /etc/resolv.conf {\n       max_concurrent 1000\n    }\n"
INSIDE = COREFILE.replace(FORWARD, "").replace("    loop\n", "")


def test_a_worker_for_each_pool():
    control_plane, *workers = kind.configuration(own_image=False)["nodes"]
    assert control_plane["role"] == "control-plane"
    assert [(worker["role"], worker["labels"]) for worker in workers] == [
        ("worker", {"node-pool": "light"}),
        ("worker", {"node-pool": "gpu"}),
    ]


def test_only_the_gpu_worker_is_tainted():
    _, light, gpu = kind.configuration(own_image=False)["nodes"]
    (patch,) = map(yaml.safe_load, gpu["kubeadmConfigPatches"])
    assert patch["kind"] == "JoinConfiguration"
    assert patch["nodeRegistration"]["taints"] == [{"key": "node-pool", "value": "gpu", "effect": "NoSchedule"}]
    assert "kubeadmConfigPatches" not in light


def test_ports_are_published_on_this_machine_alone(monkeypatch):
    monkeypatch.setenv("AIRFLOW_PLATFORM_UI_PORT", "18080")
    control_plane, *workers = kind.configuration(own_image=False)["nodes"]
    ports = {one["containerPort"]: one["hostPort"] for one in control_plane["extraPortMappings"]}
    assert ports == {30080: 18080, 30081: 8081, 30900: 8082}
    assert {one["listenAddress"] for one in control_plane["extraPortMappings"]} == {"127.0.0.1"}
    assert not any("extraPortMappings" in worker for worker in workers)


@pytest.mark.parametrize("own", [True, False])
def test_cgroup_settings_are_for_the_own_image_only(own):
    (patch,) = map(yaml.safe_load, kind.configuration(own_image=own)["kubeadmConfigPatches"])
    assert patch["kind"] == "KubeletConfiguration"
    assert ("failCgroupV1" in patch, patch.get("cgroupDriver")) == (own, "cgroupfs" if own else None)


@pytest.mark.parametrize(
    "corefile", [COREFILE, COREFILE.replace(FORWARD, "    forward . /etc/resolv.conf\n"), INSIDE], ids=len
)
def test_dns_asks_no_resolver_outside(corefile):
    assert kind._without_upstream(corefile) == INSIDE


def node(ready, name=f"{settings.CLUSTER}-worker"):
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]},
    }


def pod(of_node, since, ready=True):
    """One of ``kube-system``, whose container runs since then."""
    container = {"ready": ready, "state": {"running": {"startedAt": since}} if since else {"waiting": {}}}
    return {
        "spec": {"nodeName": f"{settings.CLUSTER}-{of_node}"},
        "status": {"containerStatuses": [container] if since is not None else []},
    }


@pytest.fixture
def cluster(fake, tmp_path, monkeypatch):
    """A cluster that answers kind, kubectl and docker; its folder, where a test changes what it says."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    names = [f"{settings.CLUSTER}-{name}" for name in ("control-plane", "worker", "worker2")]
    (folder / "clusters").write_text(f"other\n{settings.CLUSTER}\n")
    (folder / "nodes").write_text(json.dumps({"items": [node("True")] * 3}))
    (folder / "pods").write_text(json.dumps({"items": [pod("worker", "2026-01-01T10:00:07Z")]}))
    (folder / "started").write_text("".join(f"/{name} 2026-01-01T10:00:07.123456789Z\n" for name in names))
    (folder / "configmap").write_text(json.dumps({"metadata": {"uid": "1"}, "data": {"Corefile": COREFILE}}))
    (folder / "image").write_text("airflow-platform/node:1\n")
    (folder / "names").write_text("\n".join(names))
    programs = settings.STATE / "bin"
    fake(
        "kind",
        f"""
        case "$1" in
          get) cat {folder}/clusters;;
          export) echo > {settings.kubeconfig()};;
          create) echo "$@" >> {folder}/created; cp "$6" {folder}/kind.yaml; echo > {settings.kubeconfig()};;
        esac""",
        programs,
    )
    fake(
        "kubectl",
        f"""
        case "$3 $4 $5 $6" in
          "get pods -n kube-system") cat {folder}/pods;;
          "get nodes "*) cat {folder}/nodes;;
          "get configmap "*) cat {folder}/configmap;;
          "replace -f "*) cat > {folder}/replaced;;
          "rollout restart "*) echo "$5" > {folder}/restarted;;
          *) echo "the server is unwell" >&2; exit 1;;
        esac""",
        programs,
    )
    fake(
        "docker",
        f"""
        case "$1" in
          ps) cat {folder}/names;;
          inspect) case "$3" in *StartedAt*) cat {folder}/started;; *) cat {folder}/image;; esac;;
          exec) cat > {folder}/hosts-$3;;
        esac""",
    )
    return folder


def test_a_cluster_whose_making_was_interrupted_is_finished(cluster):
    """Its nodes are ready, but nothing after that was done."""
    kind.ensure()
    replaced = json.loads((cluster / "replaced").read_text())
    assert replaced["data"]["Corefile"] == INSIDE
    assert (cluster / "restarted").read_text() == "deployment/coredns\n"
    for name in (cluster / "names").read_text().split():
        assert f"http://{settings.REGISTRY_CONTAINER}:5000" in (cluster / f"hosts-{name}").read_text()
    assert not (cluster / "created").exists()
    assert settings.kubeconfig().stat().st_mode & 0o777 == 0o600


def test_a_cluster_that_is_whole_is_left_alone(cluster):
    (cluster / "configmap").write_text(json.dumps({"metadata": {}, "data": {"Corefile": INSIDE}}))
    kind.ensure()
    assert not (cluster / "replaced").exists()
    assert not (cluster / "restarted").exists()


def test_the_dns_of_kinds_own_nodes_is_left_alone(cluster):
    (cluster / "image").write_text("kindest/node:v1.36.0@sha256:0\n")
    kind.ensure()
    assert not (cluster / "replaced").exists()


def test_a_cluster_that_is_missing_is_made(cluster, monkeypatch):
    (cluster / "clusters").write_text("No kind clusters found.\n")
    monkeypatch.setattr(kind.node, "image", lambda: "airflow-platform/node:2")
    kind.ensure()
    (created,) = (cluster / "created").read_text().splitlines()
    assert "--image airflow-platform/node:2" in created
    assert yaml.safe_load((cluster / "kind.yaml").read_text()) == kind.configuration(own_image=True)
    assert (cluster / "replaced").exists()
    assert settings.kubeconfig().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "nodes",
    [[node("True")] * 2, [node("True"), node("True"), node("False")], [node("True"), node("True"), node("Unknown")]],
)
def test_a_cluster_with_a_node_that_is_not_ready_is_not_up(cluster, nodes):
    assert kind.is_up()
    (cluster / "nodes").write_text(json.dumps({"items": nodes}))
    assert not kind.is_up()


def test_a_node_that_is_none_of_kinds_says_nothing_of_the_cluster(cluster):
    nodes = [node("True")] * 3
    (cluster / "nodes").write_text(json.dumps({"items": [*nodes, node("Unknown", "bench-stage")]}))
    assert kind.is_up()
    (cluster / "nodes").write_text(json.dumps({"items": [*nodes[:2], node("True", "bench-stage")]}))
    assert not kind.is_up()


@pytest.mark.parametrize(
    "pods",
    [
        # All is well, by what was known before the machine was started.
        [pod("worker", "2026-01-01T09:59:59Z")],
        [pod("control-plane", "2026-01-01T10:01:00Z"), pod("worker2", "2026-01-01T10:01:00Z", ready=False)],
        [pod("worker2", "", ready=False)],
    ],
    ids=["old", "not ready", "waiting"],
)
def test_a_cluster_whose_network_does_not_work_is_not_up(cluster, pods):
    well = [pod("control-plane", "2026-01-01T10:01:00Z"), pod("worker", None)]
    (cluster / "pods").write_text(json.dumps({"items": well}))
    assert kind.is_up()
    (cluster / "pods").write_text(json.dumps({"items": pods}))
    assert not kind.is_up()


def test_kubectls_own_words_are_in_the_error(cluster):
    with pytest.raises(Problem, match="kubectl get pods -A: the server is unwell"):
        kind.kubectl("get", "pods", "-A")


def test_kubectl_that_is_not_there():
    with pytest.raises(Problem, match="kubectl is not there\n.*make up"):
        kind.kubectl("get", "pods")
