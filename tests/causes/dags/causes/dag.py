"""A task for each fault, in one DAG for each way to launch it.

``suite.yaml`` beside this file says which faults there are, which ways, and what tells one push from another.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes import client as k8s

HERE = Path(__file__).parent
SUITE = yaml.safe_load((HERE / "suite.yaml").read_text())
VERSIONS = yaml.safe_load((HERE.parent / "images.yaml").read_text())
IMAGE = f"ticket-extract:{VERSIONS['ticket-extract']}"
LAUNCHES = {"platform": {}, "stock": {"deferrable": True, "executor_config": {"launch": "worker"}}}
#: Tasks at once: a cluster has other work than to find forty faults in a moment, and the stock operator has three pods
#: a task.
AT_ONCE = 16
#: Those that wait for minutes, first: the others pass beside them.
LONG = {
    "registry-unknown", "registry-limits", "registry-fails", "volume-driver-missing", "runtime-missing",
    "claim-unbound", "volume-elsewhere", "no-device", "taint", "disk-limit", "sidecar", "account-missing",
    "class-missing", "runtime-class-missing", "namespace-missing", "not-allowed", "namespace-ends", "token-invalid",
    "cluster-away",
}  # fmt: skip
#: Those that take a node away, one after the other, once all others are over.
ALONE = ["node-closed", "evicted", "evicted-over-request", "node-silent", "node-removed"]


def sh(script):
    return {"cmds": ["sh", "-c", script]}


def python(script):
    return {"cmds": ["python3", "-c", script]}


def works(seconds):
    # As process 1 of a container, `sleep` alone would not hear that it is to stop.
    return sh(f"trap 'exit 143' TERM; sleep {seconds} & wait $!")


def asks(cpu, needed="16Mi", **limits):
    requests = {"cpu": cpu, "memory": needed}
    return {"container_resources": {"requests": requests, "limits": {"memory": "64Mi", **limits}}}


def variable(secret, key):
    source = k8s.V1EnvVarSource(secret_key_ref=k8s.V1SecretKeySelector(name=secret, key=key))
    return {"env_vars": [k8s.V1EnvVar(name="PASSWORD", value_from=source)]}


def turn(name, script="", **more):
    """Works on the gpu node, if that is there, for as long as a ConfigMap says when it starts."""
    prefers = k8s.V1NodeSelectorTerm(match_expressions=[GPU])
    affinity = k8s.V1NodeAffinity(
        preferred_during_scheduling_ignored_during_execution=[
            k8s.V1PreferredSchedulingTerm(preference=prefers, weight=100)
        ]
    )
    source = k8s.V1EnvVarSource(
        config_map_key_ref=k8s.V1ConfigMapKeySelector(name="causes-turns", key=name, optional=True)
    )
    return {
        **sh(f"trap 'exit 143' TERM; {script} sleep ${{TURN:-600}} & wait $!"),
        "env_vars": [k8s.V1EnvVar(name="TURN", value_from=source)],
        "affinity": k8s.V1Affinity(node_affinity=affinity),
        "tolerations": [k8s.V1Toleration(key="node-pool", operator="Exists"), *AWAY],
        **more,
    }


def volume(**source):
    return {
        "volumes": [k8s.V1Volume(name="settings", **source)],
        "volume_mounts": [k8s.V1VolumeMount(name="settings", mount_path="/settings")],
    }


def claim(name):
    return volume(persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=name))


def spec(**of_base):
    return {"full_pod_spec": k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base", **of_base)]))}


def pod(**of_spec):
    return {"full_pod_spec": k8s.V1Pod(spec=k8s.V1PodSpec(containers=[k8s.V1Container(name="base")], **of_spec))}


def container(name, script):
    requests = k8s.V1ResourceRequirements(requests={"cpu": "5m", "memory": "16Mi"})
    return k8s.V1Container(name=name, image=IMAGE, command=["sh", "-c", script], resources=requests)


def on(pool):
    """Of the node that a task is alone on."""
    if pool == "control-plane":
        key = "node-role.kubernetes.io/control-plane"
        return {"node_selector": {key: ""}, "tolerations": [k8s.V1Toleration(key=key, operator="Exists")]}
    return {
        "node_selector": {"node-pool": pool},
        "tolerations": [k8s.V1Toleration(key="node-pool", operator="Exists")],
    }


GPU = k8s.V1NodeSelectorRequirement(key="node-pool", operator="In", values=["gpu"])
NO_MAP = k8s.V1ConfigMapVolumeSource(name="causes-none")
NO_SECRET = k8s.V1SecretVolumeSource(secret_name="causes-none")
NO_KEY = k8s.V1SecretVolumeSource(
    secret_name="causes-settings", items=[k8s.V1KeyToPath(key="password", path="password")]
)
NO_PROGRAM = k8s.V1ConfigMapVolumeSource(name="causes-settings", default_mode=0o755)
NO_DRIVER = k8s.V1CSIVolumeSource(driver="storage.causes.example")
FAILS = k8s.V1ExecAction(command=["sh", "-c", "exit 1"])
#: For how long a pod stays on a node that is away; 300 s without it.
AWAY = [
    k8s.V1Toleration(key=f"node.kubernetes.io/{key}", operator="Exists", effect="NoExecute", toleration_seconds=10)
    for key in ("unreachable", "not-ready")
]
EATS = "bytearray(256 * 2**20)"
CHILD = f"""
import subprocess, sys, time
code = subprocess.call([sys.executable, "-c", "{EATS}"])
time.sleep(SECONDS)
sys.exit(code and 1)
"""
SELF_TERMINATED = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
os.kill(os.getpid(), signal.SIGTERM)
"""
BESIDE = k8s.V1PodSpec(
    containers=[k8s.V1Container(name="base"), container("proxy", "trap exit TERM; sleep 600 & wait")]
)
PROBE = k8s.V1Probe(_exec=FAILS, period_seconds=1, failure_threshold=1)
HOOK = k8s.V1Lifecycle(post_start=k8s.V1LifecycleHandler(_exec=FAILS))

FAULTS = {
    "image-missing": {"image": "ticket-extract:0.0.0"},
    "registry-unknown": {"image": "registry.causes.example/report:1"},
    "registry-limits": {"image": "causes-registry:5000/429/report:1"},
    "registry-fails": {"image": "causes-registry:5000/503/report:1"},
    "registry-denies": {"image": "causes-registry:5000/401/report:1"},
    "registry-forbids": {"image": "causes-registry:5000/403/report:1"},
    "image-not-on-node": {"image": "ticket-extract:0.0.0", "image_pull_policy": "Never"},
    "image-name-invalid": {"image": "Foo/BAR"},
    "secret-missing": variable("causes-none", "password"),
    "secret-key-missing": variable("causes-settings", "password"),
    "config-map-missing": volume(config_map=NO_MAP),
    "secret-volume-missing": volume(secret=NO_SECRET),
    "secret-volume-key-missing": volume(secret=NO_KEY),
    "volume-driver-missing": volume(csi=NO_DRIVER),
    "runtime-missing": pod(runtime_class_name="causes"),
    "claim-missing": claim("causes-none"),
    "claim-unbound": claim("causes-unbound"),
    # Its volume is the other worker's.
    "volume-elsewhere": {**claim("causes-elsewhere"), **on("gpu")},
    "command-not-found": {"cmds": ["causes-command"]},
    "shell-not-found": sh("causes-command"),
    "not-executable": sh("/etc/passwd"),
    "working-directory": spec(working_dir="/etc/passwd"),
    "no-program": {**volume(config_map=NO_PROGRAM), "cmds": ["/settings/run"]},
    "out-of-memory": python(EATS),
    "child-out-of-memory": python(CHILD.replace("SECONDS", "0")),
    "child-out-of-memory-before": python(CHILD.replace("SECONDS", "10")),
    "probe-fails": {**works(600), **spec(liveness_probe=PROBE)},
    "hook-fails": {**works(600), **spec(lifecycle=HOOK)},
    "killed": works(600),
    "exit-143": python(SELF_TERMINATED),
    "exit-139": python("import ctypes; ctypes.string_at(0)"),
    # Not as process 1, which SIGABRT does not end.
    "exit-134": sh("python3 -c 'import os; os.abort()'; exit $?"),
    "exit-1": python("raise SystemExit(1)"),
    "exit-3": sh("exit 3"),
    "no-label": {"node_selector": {"gpu": "a100"}},
    "taint": {"node_selector": {"node-pool": "gpu"}},
    "no-device": asks("5m", **{"causes.example/card": "1"}),
    "held-back": pod(scheduling_gates=[k8s.V1PodSchedulingGate(name="causes.example/gate")]),
    # All that is free on that node but 100m is taken.
    "no-room": {**asks("300m"), **on("gpu")},
    "too-big": asks("64"),
    "disk-limit": {
        **sh("head -c 20000000 /dev/zero > /settings/file; sleep 600"),
        **volume(empty_dir=k8s.V1EmptyDirVolumeSource(size_limit="1Mi")),
    },
    "own-disk-limit": {
        **sh("head -c 20000000 /dev/zero > /tmp/file; sleep 600"),
        **asks("5m", **{"ephemeral-storage": "1Mi"}),
    },
    "preempted": {**works(20), **asks("100m"), **on("control-plane"), "priority_class_name": "causes-low"},
    "drained": works(20),
    "deadline": {**works(600), "active_deadline_seconds": 5},
    "deleted": works(600),
    "deleted-by-force": works(600),
    "sidecar": {"full_pod_spec": k8s.V1Pod(spec=BESIDE), "execution_timeout": timedelta(seconds=90)},
    "init-fails": {"init_containers": [container("prepare", "exit 4")]},
    "quota-full": {"priority_class_name": "causes-full"},
    "quota-too-small": {"priority_class_name": "causes-small", **asks("2")},
    "quota-without-requests": {"priority_class_name": "causes-limits"},
    "pod-security": {"container_security_context": {"privileged": True}},
    "limit-range": asks("5m", memory="5Gi"),
    "pod-invalid": {"active_deadline_seconds": -1},
    "policy-denies": {"labels": {"causes": "policy"}},
    "webhook-away": {"labels": {"causes": "webhook"}},
    "account-missing": {"service_account_name": "causes-none"},
    "class-missing": {"priority_class_name": "causes-none"},
    "runtime-class-missing": pod(runtime_class_name="causes-none"),
    # By a connection that may create pods everywhere.
    "namespace-missing": {"namespace": "causes-none", "kubernetes_conn_id": "causes_everywhere"},
    "not-allowed": {"namespace": "causes-closed"},
    "namespace-ends": {"namespace": "causes-ends", "kubernetes_conn_id": "causes_everywhere"},
    # Either may come back: they are waited for until the task's time is over.
    "token-invalid": {"kubernetes_conn_id": "causes_unknown", "execution_timeout": timedelta(seconds=60)},
    "cluster-away": {"kubernetes_conn_id": "causes_away", "execution_timeout": timedelta(seconds=60)},
    "node-closed": turn("node-closed"),
    "evicted": turn("evicted", **asks("5m", "64Mi")),
    "evicted-over-request": turn(
        "evicted-over-request",
        "python3 -c 'import time; eaten = bytearray(40 * 2**20); time.sleep(600)' &",
        **asks("5m", "8Mi"),
    ),
    "node-silent": turn("node-silent"),
    "node-removed": turn("node-removed"),
}

for launch in SUITE["launches"]:
    with DAG(
        f"causes_{launch}",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_tasks=AT_ONCE,
        tags=["causes", SUITE["revision"]],
        default_args={
            "owner": "causes",
            "namespace": "support",
            # No line may name an object by the name of the pod alone.
            "name": "task",
            "image": IMAGE,
            **sh("exit 0"),
            **asks("5m"),
            "execution_timeout": timedelta(minutes=10),
            "retries": 0,
            **LAUNCHES[launch],
        },
    ):
        tasks = {
            name: KubernetesPodOperator(task_id=name, priority_weight=2 if name in LONG else 1, **FAULTS[name])
            for name in SUITE["cases"]
        }
        before = [task for name, task in tasks.items() if name not in ALONE]
        for name in ALONE:
            if name in tasks:
                tasks[name].trigger_rule = "all_done"
                before >> tasks[name]
                before = [tasks[name]]
