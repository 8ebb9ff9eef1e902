"""What of a pod is in the task's log, and when."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from airflow.sdk.log import mask_secret
from kubernetes.client import V1Container, V1ResourceRequirements

VERSIONS = yaml.safe_load((Path(__file__).parents[1] / "images.yaml").read_text())
# As Airflow does it with a connection's password that a template asks for.
mask_secret("hunter2-of-a-connection")
IMAGE = f"ticket-extract:{VERSIONS['ticket-extract']}"
MANUAL = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=UTC), "catchup": False, "tags": ["semantics"]}
SMALL = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}
TASK = {
    "owner": "semantics",
    "namespace": "support",
    "image": IMAGE,
    "container_resources": SMALL,
    "startup_timeout_seconds": 600,
    "execution_timeout": timedelta(minutes=20),
    "retries": 0,
    "pool": "light",
}


def shell(name, script):
    return V1Container(name=name, image=IMAGE, command=["sh", "-c", script], resources=V1ResourceRequirements(**SMALL))


with DAG("semantics_log_live", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="a_line_a_second",
        cmds=["sh", "-c", "for n in $(seq 1 20); do echo line $n at $(date +%s.%N); sleep 1; done"],
    )

with DAG("semantics_log_containers", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="all",
        init_containers=[shell("first", "echo M1 of first"), shell("second", "echo M2 of second")],
        init_container_logs=True,
        container_logs=["base", "beside"],
        pod_template_dict={
            "apiVersion": "v1",
            "kind": "Pod",
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {"name": "base", "image": IMAGE},
                    {
                        "name": "beside",
                        "image": IMAGE,
                        "command": ["sh", "-c", "for n in 1 2 3; do echo N$n of beside; sleep 1; done"],
                        "resources": SMALL,
                    },
                ],
            },
        },
        cmds=["sh", "-c", "for n in 3 4 5; do echo M$n of base; sleep 1; done"],
    )
    KubernetesPodOperator(
        task_id="one_init_container",
        init_containers=[shell("first", "echo M1 of first"), shell("second", "echo M2 of second")],
        init_container_logs=["second"],
        cmds=["echo", "M3 of base"],
    )
    KubernetesPodOperator(task_id="none", get_logs=False, cmds=["echo", "not in the log"])
    KubernetesPodOperator(task_id="no_prefix", container_name_log_prefix_enabled=False, cmds=["echo", "a plain line"])
    KubernetesPodOperator(
        task_id="formatted",
        log_formatter=lambda container, message: f"<{container}> {message.upper()}",
        cmds=["echo", "a formatted line"],
    )

with DAG("semantics_log_ends", default_args=TASK, **MANUAL):
    KubernetesPodOperator(
        task_id="odd_lines",
        cmds=[
            "python3",
            "-c",
            "import sys; out = sys.stdout.buffer; out.write(b'x' * 40_000 + b'\\n'); out.write(b'\\xff\\xfe bad\\n');"
            "out.write('ü € 🙂\\n'.encode()); out.write(b'no newline at the end')",
        ],
    )
    KubernetesPodOperator(
        task_id="out_of_memory",
        cmds=["python3", "-c", "print('filling', flush=True); b = bytearray(10**9); print(len(b))"],
    )
    KubernetesPodOperator(task_id="exit_code", cmds=["sh", "-c", "echo last words; exit 42"])
    KubernetesPodOperator(
        task_id="secret_in_the_environment",
        cmds=["sh", "-c", "exit 1"],
        env_vars={"password": "hunter2-of-the-environment"},
    )
    KubernetesPodOperator(
        task_id="template_that_fails",
        env_vars={"PASSWORD": "hunter2-beside-a-template", "WORD": "{{ nothing.of_this }}"},
    )
    KubernetesPodOperator(
        task_id="masked_secret",
        cmds=["sh", "-c", "echo logging in as $URL; echo refused $URL; exit 3"],
        env_vars={"URL": "postgres://me:hunter2-of-a-connection@host"},
        termination_message_policy="FallbackToLogsOnError",
    )


def printer(task_id, lines):
    """Numbered lines of 5 kB, by a program that is faster than anyone reads."""
    program = f"for n in range({lines}): print(f'{{n:06d}}', 'x' * 5_000)"
    return KubernetesPodOperator(task_id=task_id, cmds=["python3", "-c", program])


# 50 MiB, which is five times what kubelet keeps in one file; then a GiB, with a task beside it in the same triggerer.
with DAG("semantics_log_big", default_args=TASK, **MANUAL):
    printer("rotated", 10_500) >> printer("big", 214_500)
    KubernetesPodOperator(
        task_id="beside",
        cmds=["sh", "-c", "for n in $(seq 1 300); do echo line $n at $(date +%s.%N); sleep 1; done"],
    )
