from datetime import timedelta

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk.exceptions import AirflowFailException
from kubernetes.client import models as k8s

from airflow_platform.config import PlatformConfig
from airflow_platform.diagnosis.placement import ADDED, NODES_ANNOTATION
from airflow_platform.task_pod import POOL_LABEL, fill_in, is_past_its_queue, with_registry


def make_pod(container=None, **spec):
    container = k8s.V1Container(**{"name": "base", "image": "report:1.0.0", **(container or {})})
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="task"),
        spec=k8s.V1PodSpec(containers=[container], **spec),
    )


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("report:1.0.0", "example.com:5000/report:1.0.0"),
        ("report", "example.com:5000/report"),
        ("team/report:1.0.0", "example.com:5000/team/report:1.0.0"),
        ("report@sha256:0123", "example.com:5000/report@sha256:0123"),
        ("docker.io/library/alpine:3", "docker.io/library/alpine:3"),
        ("localhost/report:1", "localhost/report:1"),
        ("localhost:5001/report:1", "localhost:5001/report:1"),
        (None, None),
    ],
)
def test_the_registry_goes_before_images_that_name_none(image, expected):
    assert with_registry(image, "example.com:5000") == expected


def test_without_a_registry_images_stay():
    assert with_registry("report:1.0.0", "") == "report:1.0.0"


def test_a_registry_may_end_in_a_slash():
    assert with_registry("report:1", "example.com/team/") == "example.com/team/report:1"


def test_the_pool_places_the_pod(platform):
    pod = make_pod()
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert pod.spec.node_selector == {"node-pool": "gpu"}
    assert pod.spec.tolerations == [
        k8s.V1Toleration(key="node-pool", operator="Equal", value="gpu", effect="NoSchedule")
    ]


def test_a_pod_has_the_name_of_its_pool_and_no_other(platform):
    pod = make_pod()
    pod.metadata.labels = {"team": "support", POOL_LABEL: "light"}
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert pod.metadata.labels == {"team": "support", POOL_LABEL: "gpu"}


def test_the_pool_annotates_the_pod_and_the_task_wins(platform):
    pod, pool = make_pod(), platform.node_pool("gpu")
    pod.metadata.annotations = {"team": "support"}
    own = pool.model_copy(update={"pod_annotations": {"team": "any", "karpenter.sh/do-not-disrupt": "true"}})
    fill_in(pod, platform, own)
    assert pod.metadata.annotations == {"team": "support", "karpenter.sh/do-not-disrupt": "true"}


def test_a_pod_says_that_its_nodes_are_added_as_they_are_needed(platform):
    grows = platform.node_pool("gpu").model_copy(update={"schedule_timeout": timedelta(minutes=30)})
    found = []
    for pool in (platform.node_pool("gpu"), grows):
        pod = make_pod()
        fill_in(pod, platform, pool)
        found.append(pod.metadata.annotations or {})
    assert found == [{}, {NODES_ANNOTATION: ADDED}]


def test_a_pod_of_no_pool_may_run_anywhere(platform):
    pod = make_pod()
    pod.metadata.labels = {POOL_LABEL: "gpu"}
    fill_in(pod, platform, None)
    assert pod.metadata.labels == {}
    assert not pod.spec.node_selector
    assert not pod.spec.tolerations


def test_the_task_narrows_the_pool_and_wins_over_it(platform):
    own = k8s.V1Toleration(key="spot", operator="Exists")
    pod = make_pod(node_selector={"disk": "ssd", "node-pool": "gpu-large"}, tolerations=[own])
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert pod.spec.node_selector == {"disk": "ssd", "node-pool": "gpu-large"}
    assert [toleration.key for toleration in pod.spec.tolerations] == ["spot", "node-pool"]


def test_filling_in_twice_changes_nothing(platform):
    pod = make_pod()
    fill_in(pod, platform, platform.node_pool("gpu"))
    once = pod.to_dict()
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert pod.to_dict() == once


def test_a_bare_pod_meets_pod_security_restricted(platform):
    init = k8s.V1Container(name="init", image="init:1")
    pod = make_pod(init_containers=[init])
    fill_in(pod, platform, None)
    assert pod.spec.security_context.run_as_non_root is True
    assert pod.spec.security_context.seccomp_profile.type == "RuntimeDefault"
    assert pod.spec.automount_service_account_token is False
    assert pod.spec.service_account_name == "airflow-task"
    for container in [*pod.spec.containers, *pod.spec.init_containers]:
        context = container.security_context
        assert context.allow_privilege_escalation is False
        assert context.capabilities.drop == ["ALL"]
        assert context.read_only_root_filesystem is True
        assert [mount.mount_path for mount in container.volume_mounts] == ["/tmp"]
        assert container.image.startswith("registry.example.com:5000/")
    assert [volume.name for volume in pod.spec.volumes] == ["task-tmp"]


def test_what_the_task_sets_stays(platform):
    capabilities = k8s.V1Capabilities(drop=["ALL"], add=["NET_BIND_SERVICE"])
    pod = make_pod(
        container={
            "security_context": k8s.V1SecurityContext(
                allow_privilege_escalation=True,
                capabilities=capabilities,
                read_only_root_filesystem=False,
                run_as_user=0,
            )
        },
        security_context=k8s.V1PodSecurityContext(run_as_non_root=False, fs_group=7),
        service_account_name="own",
        automount_service_account_token=True,
    )
    fill_in(pod, platform, None)
    assert pod.spec.service_account_name == "own"
    assert pod.spec.automount_service_account_token is True
    assert pod.spec.security_context.run_as_non_root is False
    assert pod.spec.security_context.fs_group == 7
    assert pod.spec.security_context.seccomp_profile.type == "RuntimeDefault"
    context = pod.spec.containers[0].security_context
    assert context.allow_privilege_escalation is True
    assert context.capabilities == capabilities
    assert context.read_only_root_filesystem is False
    assert context.run_as_user == 0
    assert not pod.spec.containers[0].volume_mounts


def test_contexts_written_as_dicts_are_filled_in_and_kept(platform):
    pod = make_pod(container={"security_context": {"readOnlyRootFilesystem": False}}, security_context={"runAsUser": 7})
    fill_in(pod, platform, None)
    assert pod.spec.security_context == {
        "runAsUser": 7,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod.spec.containers[0].security_context == {
        "readOnlyRootFilesystem": False,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize(
    ("container", "spec", "wrong", "right"),
    [
        ({"volume_mounts": [{"name": "data", "mount_path": "/data"}]}, {}, "mount_path", "mountPath"),
        ({"security_context": {"run_as_user": 7}}, {}, "run_as_user", "runAsUser"),
        ({}, {"security_context": {"fs_group": 7}}, "fs_group", "fsGroup"),
        ({}, {"volumes": [{"name": "data", "empty_dir": {}}]}, "empty_dir", "emptyDir"),
    ],
)
def test_a_dict_that_the_api_would_drop_is_refused(platform, container, spec, wrong, right):
    with pytest.raises(AirflowClusterPolicyViolation, match=f"{wrong}.* Write '{right}'"):
        fill_in(make_pod(container=container, **spec), platform, None)


def test_a_mount_without_a_path_is_left_to_the_api(platform):
    pod = make_pod(container={"volume_mounts": [{"name": "data"}]})
    fill_in(pod, platform, None)
    assert pod.spec.containers[0].volume_mounts[0] == {"name": "data"}


def test_a_privileged_container_stays_valid(platform):
    pod = make_pod(container={"security_context": k8s.V1SecurityContext(privileged=True)})
    fill_in(pod, platform, None)
    context = pod.spec.containers[0].security_context
    assert context.allow_privilege_escalation is None
    assert context.capabilities is None


def test_a_volume_of_the_tasks_own_at_tmp_stays(platform):
    mount = k8s.V1VolumeMount(name="scratch", mount_path="/tmp/")
    volume = k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory"))
    pod = make_pod(container={"volume_mounts": [mount]}, volumes=[volume])
    fill_in(pod, platform, None)
    assert pod.spec.containers[0].volume_mounts == [mount]
    assert pod.spec.volumes == [volume]


def test_the_xcom_sidecar_does_not_run_as_root(platform):
    pod = make_pod()
    pod.spec.containers.append(k8s.V1Container(name="airflow-xcom-sidecar", image="alpine:3.24.2"))
    fill_in(pod, platform, None)
    base, sidecar = pod.spec.containers
    assert base.security_context.run_as_user is None
    assert sidecar.security_context.run_as_user == 65534
    assert sidecar.image == "registry.example.com:5000/alpine:3.24.2"


def test_without_a_service_account_the_namespaces_default_is_left():
    pod = make_pod()
    fill_in(pod, PlatformConfig(), None)
    assert pod.spec.service_account_name is None


QUEUE = "kueue.x-k8s.io/queue-name"


def queued(**pool):
    pool = {"name": "gpu", "slots": 4, "quota": {"pods": "8"}, "localQueue": "airflow-gpu", **pool}
    return PlatformConfig.model_validate({"nodePools": [pool]})


def test_a_pod_goes_to_the_queue_of_its_pool():
    platform, pod = queued(), make_pod()
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert pod.metadata.labels[QUEUE] == "airflow-gpu"


def test_a_pod_of_a_pool_without_a_queue_goes_to_none(platform):
    pod = make_pod()
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert QUEUE not in (pod.metadata.labels or {})


def test_a_task_that_leads_its_pod_past_the_pools_queue_fails():
    platform, pod = queued(), make_pod()
    pod.metadata.labels = {QUEUE: "other", "dag_id": "d", "task_id": "t"}
    with pytest.raises(AirflowFailException, match=r"^Task d\.t has the label .*: 'other', but the quota"):
        fill_in(pod, platform, platform.node_pool("gpu"))


def test_a_queue_counts_pods_of_any_priority():
    platform, pod = queued(priorityClassName="gpu-5"), make_pod(priority_class_name="urgent")
    fill_in(pod, platform, platform.node_pool("gpu"))
    assert pod.spec.priority_class_name == "urgent"


@pytest.mark.parametrize(
    ("labels", "past"),
    [(None, False), ({QUEUE: "q"}, True), ({QUEUE: "q", "kueue.x-k8s.io/managed": "true"}, False)],
)
def test_a_pod_that_kueue_has_not_taken_in_is_known(labels, past):
    pod = make_pod()
    pod.metadata.labels = labels
    assert is_past_its_queue(pod) is past
