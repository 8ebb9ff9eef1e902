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
    "registry-unknown", "registry-limits", "registry-fails", "taint", "disk-limit", "sidecar", "account-missing",
    "class-missing", "namespace-missing", "not-allowed",
}  # fmt: skip


def sh(script):
    return {"cmds": ["sh", "-c", script]}


def python(script):
    return {"cmds": ["python3", "-c", script]}


def works(seconds):
    # As process 1 of a container, `sleep` alone would not hear that it is to stop.
    return sh(f"trap 'exit 143' TERM; sleep {seconds} & wait $!")


def asks(cpu, **limits):
    return {"container_resources": {"requests": {"cpu": cpu, "memory": "16Mi"}, "limits": {"memory": "64Mi", **limits}}}


def variable(secret, key):
    source = k8s.V1EnvVarSource(secret_key_ref=k8s.V1SecretKeySelector(name=secret, key=key))
    return {"env_vars": [k8s.V1EnvVar(name="PASSWORD", value_from=source)]}


def volume(**source):
    return {
        "volumes": [k8s.V1Volume(name="settings", **source)],
        "volume_mounts": [k8s.V1VolumeMount(name="settings", mount_path="/settings")],
    }


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


NO_MAP = k8s.V1ConfigMapVolumeSource(name="causes-none")
NO_SECRET = k8s.V1SecretVolumeSource(secret_name="causes-none")
NO_CLAIM = k8s.V1PersistentVolumeClaimVolumeSource(claim_name="causes-none")
EATS = "bytearray(256 * 2**20)"
CHILD = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', '{EATS}']) and 1)"
SELF_TERMINATED = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
os.kill(os.getpid(), signal.SIGTERM)
"""
BESIDE = k8s.V1PodSpec(
    containers=[k8s.V1Container(name="base"), container("proxy", "trap exit TERM; sleep 600 & wait")]
)

FAULTS = {
    "image-missing": {"image": "ticket-extract:0.0.0"},
    "registry-unknown": {"image": "registry.causes.example/report:1"},
    "registry-limits": {"image": "causes-registry:5000/429/report:1"},
    "registry-fails": {"image": "causes-registry:5000/503/report:1"},
    "registry-denies": {"image": "causes-registry:5000/401/report:1"},
    "image-name-invalid": {"image": "Foo/BAR"},
    "secret-missing": variable("causes-none", "password"),
    "secret-key-missing": variable("causes-settings", "password"),
    "config-map-missing": volume(config_map=NO_MAP),
    "secret-volume-missing": volume(secret=NO_SECRET),
    "claim-missing": volume(persistent_volume_claim=NO_CLAIM),
    "command-not-found": {"cmds": ["causes-command"]},
    "shell-not-found": sh("causes-command"),
    "not-executable": sh("/etc/passwd"),
    "out-of-memory": python(EATS),
    "child-out-of-memory": python(CHILD),
    "killed": works(600),
    "exit-143": python(SELF_TERMINATED),
    "exit-139": python("import ctypes; ctypes.string_at(0)"),
    # Not as process 1, which SIGABRT does not end.
    "exit-134": sh("python3 -c 'import os; os.abort()'; exit $?"),
    "exit-1": python("raise SystemExit(1)"),
    "exit-3": sh("exit 3"),
    "no-label": {"node_selector": {"gpu": "a100"}},
    "taint": {"node_selector": {"node-pool": "gpu"}},
    # All that is free on that node but 100m is taken.
    "no-room": {**asks("300m"), **on("gpu")},
    "too-big": asks("64"),
    "disk-limit": {
        **sh("head -c 20000000 /dev/zero > /settings/file; sleep 600"),
        **volume(empty_dir=k8s.V1EmptyDirVolumeSource(size_limit="1Mi")),
    },
    "preempted": {**works(20), **asks("100m"), **on("control-plane"), "priority_class_name": "causes-low"},
    "drained": works(20),
    "deadline": {**works(600), "active_deadline_seconds": 5},
    "deleted": works(600),
    "sidecar": {"full_pod_spec": k8s.V1Pod(spec=BESIDE), "execution_timeout": timedelta(seconds=90)},
    "init-fails": {"init_containers": [container("prepare", "exit 4")]},
    "quota-full": {"priority_class_name": "causes-full"},
    "quota-too-small": {"priority_class_name": "causes-small", **asks("2")},
    "quota-without-requests": {"priority_class_name": "causes-limits"},
    "pod-security": {"container_security_context": {"privileged": True}},
    "account-missing": {"service_account_name": "causes-none"},
    "class-missing": {"priority_class_name": "causes-none"},
    # By a connection that may create pods everywhere.
    "namespace-missing": {"namespace": "causes-none", "kubernetes_conn_id": "causes_everywhere"},
    "not-allowed": {"namespace": "causes-closed"},
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
        for name in SUITE["cases"]:
            KubernetesPodOperator(task_id=name, priority_weight=2 if name in LONG else 1, **FAULTS[name])
