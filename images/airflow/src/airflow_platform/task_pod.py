"""What the platform adds to a task pod: the place where it runs, what it may use there, its image's registry, its
security settings.

Each default goes only where the pod says nothing. The security settings are those that Pod Security's level
"restricted" asks for, and a read-only root file system with a writable ``/tmp``.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk.exceptions import AirflowFailException
from kubernetes.client import ApiClient
from kubernetes.client import models as k8s

from airflow_platform import task_resources
from airflow_platform.config import NodePool, PlatformConfig, Toleration
from airflow_platform.diagnosis.crowd import POOL_ANNOTATION
from airflow_platform.diagnosis.placement import ADDED, NODES_ANNOTATION

log = logging.getLogger(__name__)

# Of airflow.providers.cncf.kubernetes.utils.xcom_sidecar, which leaves the user to an image made for root.
_XCOM_SIDECAR = "airflow-xcom-sidecar"
_NOBODY = 65534

#: The label of a pod that names its pool, by which NetworkPolicies may find it.
POOL_LABEL = POOL_ANNOTATION

#: The label by which Kueue finds a pod's LocalQueue (pkg/controller/constants of sigs.k8s.io/kueue).
_QUEUE = "kueue.x-k8s.io/queue-name"
#: And that which Kueue adds (pkg/constants).
_MANAGED = "kueue.x-k8s.io/managed"

_TMP = "/tmp"
_TMP_VOLUME = "task-tmp"


def fill_in(pod: k8s.V1Pod, platform: PlatformConfig, pool: NodePool | None) -> None:
    """Fill in, in place, what the pod leaves open.

    Args:
        pod: a task pod as its operator built it. Parts of it may be dicts in the Kubernetes API's spelling,
            where the DAG's author wrote them so.
        platform: the platform's configuration.
        pool: where the pod runs; None: on any node.

    Raises:
        AirflowClusterPolicyViolation: one of these dicts is in Python's spelling, which the API would drop.
        AirflowFailException: the pod asks for what its pool does not give, or for no amount at all.
    """
    spec = pod.spec
    if wrong := settle(spec, platform, pool) or _queue(pod, pool):
        wrong = f"{_task_of(pod)} {wrong}"
        # The exception alone would be at the end of a traceback.
        log.error(wrong)
        raise AirflowFailException(wrong)
    own = {key: value for key, value in (pod.metadata.labels or {}).items() if key != POOL_LABEL}
    pod.metadata.labels = own | ({POOL_LABEL: pool.name} if pool else {})
    if pool:
        nodes = {NODES_ANNOTATION: ADDED} if pool.schedule_timeout else {}
        pod.metadata.annotations = {**pool.pod_annotations, **(pod.metadata.annotations or {}), **nodes}
        spec.node_selector = {**pool.node_selector, **(spec.node_selector or {})}
        wanted = [_toleration(toleration) for toleration in pool.tolerations]
        present = spec.tolerations or []
        spec.tolerations = [*present, *(toleration for toleration in wanted if toleration not in present)]
    if spec.service_account_name is None and spec.service_account is None:
        spec.service_account_name = platform.tasks.service_account_name or None
    if spec.automount_service_account_token is None:
        spec.automount_service_account_token = False
    spec.security_context = _with_defaults(
        spec.security_context,
        k8s.V1PodSecurityContext(run_as_non_root=True, seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault")),
    )
    for container in [*(spec.init_containers or []), *spec.containers]:
        container.image = with_registry(container.image, platform.image_registry)
        _secure(container, spec)


def settle(
    spec: k8s.V1PodSpec, platform: PlatformConfig, pool: NodePool | None, *, rendered: bool = True
) -> str | None:
    """Give a pod, in place, the priority class and the resources of its pool, where it sets none.

    Args:
        spec: of the pod.
        platform: the platform's configuration.
        pool: where it runs; None: on any node.
        rendered: whether the task's templates are. If not, what is a template is not judged.

    Returns:
        What the pod cannot have, as the rest of a sentence about its task; None: nothing.
    """
    if wrong := task_resources.malformed(spec, rendered=rendered):
        return wrong
    if pool is None:
        return None
    if spec.priority_class_name is None:
        spec.priority_class_name = pool.priority_class_name or None
    elif pool.quota and not pool.local_queue and spec.priority_class_name != pool.priority_class_name:
        return (
            f"has the priority class {spec.priority_class_name!r}, but the quota of pool {pool.name!r} counts pods of "
            "the pool's own. Take priority_class_name out."
        )
    task_resources.fill_in(spec, pool.resources)
    return task_resources.excess(spec, pool, platform.node_pools)


def _queue(pod: k8s.V1Pod, pool: NodePool | None) -> str | None:
    """Lead the pod, in place, to its pool's queue of Kueue, where that has one; as `settle`."""
    if pool is None or not pool.local_queue:
        return None
    pod.metadata.labels = labels = pod.metadata.labels or {}
    if (own := labels.setdefault(_QUEUE, pool.local_queue)) != pool.local_queue:
        return (
            f"has the label {_QUEUE}: {own!r}, but the quota of pool {pool.name!r} is that of its queue "
            f"{pool.local_queue!r}. Take the label out."
        )
    return None


def is_past_its_queue(pod: k8s.V1Pod) -> bool:
    """Whether a pod that was created names a queue of Kueue, and Kueue has not taken it in."""
    labels = pod.metadata.labels or {}
    return _QUEUE in labels and _MANAGED not in labels


def with_registry(image: str | None, registry: str) -> str | None:
    """The image with the registry before it, where its name has no registry host.

    A name's first component is a host if it has a dot or a colon or is ``localhost``, as container runtimes
    read it (https://github.com/distribution/reference, ``splitDockerDomain``).
    """
    if not image or not registry:
        return image
    host, slash, _ = image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return image
    return f"{registry.rstrip('/')}/{image}"


def _secure(container: k8s.V1Container, spec: k8s.V1PodSpec) -> None:
    context = container.security_context
    read_only = _get(context, "read_only_root_filesystem") is None
    defaults = k8s.V1SecurityContext(read_only_root_filesystem=True)
    if container.name == _XCOM_SIDECAR and _get(spec.security_context, "run_as_user") is None:
        defaults.run_as_user = _NOBODY
    # The API refuses these two beside a privileged container; its namespace decides whether it may be one.
    if not _get(context, "privileged"):
        defaults.allow_privilege_escalation = False
        defaults.capabilities = k8s.V1Capabilities(drop=["ALL"])
    container.security_context = _with_defaults(context, defaults)
    if read_only:
        _mount_tmp(container, spec)


def _mount_tmp(container: k8s.V1Container, spec: k8s.V1PodSpec) -> None:
    mounts = container.volume_mounts or []
    if any((_get(mount, "mount_path") or "").rstrip("/") == _TMP for mount in mounts):
        return
    container.volume_mounts = [*mounts, k8s.V1VolumeMount(name=_TMP_VOLUME, mount_path=_TMP)]
    volumes = spec.volumes or []
    if all(_get(volume, "name") != _TMP_VOLUME for volume in volumes):
        spec.volumes = [*volumes, k8s.V1Volume(name=_TMP_VOLUME, empty_dir=k8s.V1EmptyDirVolumeSource())]


def _task_of(pod: k8s.V1Pod) -> str:
    labels = pod.metadata.labels or {}
    return f"Task {labels['dag_id']}.{labels['task_id']}" if "task_id" in labels else "The task"


def _toleration(toleration: Toleration) -> k8s.V1Toleration:
    return k8s.V1Toleration(**toleration.model_dump())


def _get(part: Any, name: str) -> Any:
    """A field of a model, or of a dict in the API's spelling; None where there is none."""
    if isinstance(part, dict):
        _check_spelling(part)
        return part.get(_camel(name))
    return getattr(part, name, None)


def _check_spelling(part: dict) -> None:
    for key in part:
        if "_" in key:
            raise AirflowClusterPolicyViolation(
                f"A dict of this pod has the key {key!r}, which Kubernetes does not know. "
                f"Write {_camel(key)!r}, or use the classes of kubernetes.client."
            )


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


def _with_defaults(part: Any, defaults: Any) -> Any:
    """`part` with what only `defaults` sets; both security contexts, the first a model, a dict or nothing."""
    if not part:
        return defaults
    if isinstance(part, dict):
        _check_spelling(part)
        return {**ApiClient().sanitize_for_serialization(defaults), **part}
    for name in defaults.openapi_types:
        if getattr(part, name) is None:
            setattr(part, name, getattr(defaults, name))
    return part
