"""What a task asks for, and its node pool: the resources that it gets where it sets none, and the most it may ask for.

Both as Kubernetes counts them. A container that sets a limit and no request asks for its limit (pkg/apis/core/v1,
``SetDefaults_Pod``); a pod asks for what its containers do together, or for more where an init container does
(`airflow_platform.diagnosis.quantity.asked`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.providers.cncf.kubernetes.utils.xcom_sidecar import PodDefaults
from kubernetes.client import Configuration
from kubernetes.client import models as k8s

from airflow_platform.config import NodePool, Resources
from airflow_platform.diagnosis.quantity import Amounts, amounts, asked, parse, phrase, together

#: What the containers of a pod share by the second. Others (``nvidia.com/gpu``) are one container's alone.
_SHARED = ("cpu", "memory", "ephemeral-storage")
_PARTS = ("requests", "limits", "claims")

#: The sidecar that waits for an XCom to be read has requests of its own, and no limit.
_XCOM_SIDECAR = Resources(limits={"memory": "64Mi"})

_TEMPLATE = ("{{", "{%")

#: Each model makes one for itself that is given none, which is most of what it costs: a DAG's file makes four a task.
_MODELS = Configuration()


def fill_in(spec: k8s.V1PodSpec, defaults: Resources) -> None:
    """Give the containers of a pod, in place, the resources that they do not set.

    Args:
        spec: of the pod. The resources of its containers are models or dicts.
        defaults: of one container. What is no processor, memory or disk goes to the first container alone, which is
            the task's: the operator builds the pod so.
    """
    for container in [*(spec.init_containers or []), *spec.containers]:
        present, plain = container.resources, _plain(container.resources) or {}
        filled = _with_defaults(plain, _defaults_of(container, spec, defaults))
        if filled == plain:
            continue
        if isinstance(present, Mapping):
            container.resources = {**present, **filled}
        else:
            # Another one: several tasks may share it.
            container.resources = k8s.V1ResourceRequirements(**filled, claims=present.claims if present else None)


def malformed(spec: k8s.V1PodSpec, *, rendered: bool = True) -> str | None:
    """What of a pod's resources Kubernetes cannot read, as the rest of a sentence about its task; None: nothing.

    Args:
        spec: of the pod.
        rendered: whether its templates are; if not, what is a template may become anything.
    """
    for name, resources in _all_resources(spec):
        if isinstance(resources, Mapping) and (unknown := [key for key in resources if key not in _PARTS]):
            return (
                f"has resources with the key {unknown[0]!r} in container {name}, which Kubernetes does not know. "
                "Write {'requests': {…}, 'limits': {…}}."
            )
        plain = _plain(resources) or {}
        for part in ("requests", "limits"):
            for resource, quantity in plain.get(part, {}).items():
                if not rendered and _is_template(quantity):
                    continue
                # Of validateContainerResourceName (pkg/apis/core/validation); others have a domain before a slash.
                if "/" not in resource and resource not in _SHARED and not resource.startswith("hugepages-"):
                    return (
                        f"sets {resource!r} in the {part} of container {name}, which is no resource of Kubernetes. "
                        "Write cpu, memory, ephemeral-storage, or a name with its domain, such as nvidia.com/gpu."
                    )
                if (amount := _amount(quantity)) is None or amount < 0:
                    return (
                        f"sets {resource} to {quantity!r} in the {part} of container {name}, which is not an amount "
                        "that Kubernetes knows. Write it as 500m, 2, 512Mi or 2Gi."
                    )
        requests, limits = (amounts(_known(plain.get(part))) for part in ("requests", "limits"))
        for resource, amount in requests.items():
            if resource in limits and amount > limits[resource]:
                return (
                    f"asks for {phrase(resource, amount)} in container {name}, more than its limit, "
                    f"{phrase(resource, limits[resource])}. Raise the limit, or ask for less."
                )
    return None


def excess(spec: k8s.V1PodSpec, pool: NodePool, pools: Iterable[NodePool]) -> str | None:
    """What a pod asks for beyond the ``largest`` of its pool, as the rest of a sentence about its task; None: nothing.

    Args:
        spec: of the pod, filled in. What is still a template is left out.
        pool: of the task.
        pools: all, among which one may be large enough.
    """
    if not pool.largest:
        return None
    asks, largest = _asks(spec), amounts(pool.largest)
    over = {name: amount for name, amount in asks.items() if name in largest and amount > largest[name]}
    if not over:
        return None
    allows = together({name: largest[name] for name in over})
    several = " with all its containers" if len(spec.containers) + len(spec.init_containers or []) > 1 else ""
    larger = sorted(one.name for one in pools if _allows(amounts(one.largest), asks, over))
    return (
        f"asks for {together(over)}{several}, and pool {pool.name!r} gives one task at most {allows}. Ask for less in "
        + (
            f"container_resources, or name a pool that gives so much: {', '.join(larger)}."
            if larger
            else "container_resources; what a pool gives is `largest` under nodePools in the values of the platform's "
            "chart."
        )
    )


def known(task: Any, unknown: Iterable[str] = ()) -> k8s.V1PodSpec | None:
    """What a task's pod will ask for, as far as the DAG's file says it: containers, resources, priority class.

    Args:
        task: a task of KubernetesPodOperator, or a mapped one.
        unknown: names of arguments that come with the run.

    Returns:
        None where too little is known: the pod is built from a template that is not there yet.
    """
    arguments = {name: _argument(task, name) for name in _ARGUMENTS if name not in unknown}
    if len(arguments) < len(_ARGUMENTS):
        return None
    base = k8s.V1Container(
        name=arguments["base_container_name"] or KubernetesPodOperator.BASE_CONTAINER_NAME,
        resources=arguments["container_resources"],
        local_vars_configuration=_MODELS,
    )
    spec = k8s.V1PodSpec(
        containers=[base],
        local_vars_configuration=_MODELS,
        init_containers=arguments["init_containers"] or None,
        priority_class_name=arguments["priority_class_name"],
    )
    try:
        for template in filter(lambda one: one.spec, _templates(arguments)):
            spec = PodGenerator.reconcile_specs(_bare(template.spec), spec)
    except Exception:
        # Malformed, or a path that only the run has: whoever builds the pod says so.
        return None
    if arguments["do_xcom_push"]:
        spec.containers = [*spec.containers, PodDefaults.SIDECAR_CONTAINER]
    if not all(_is_readable(one) for one in [*(spec.init_containers or []), *spec.containers]):
        return None
    # What follows may fill it in; several tasks may share its parts.
    return _bare(spec)


def runs_elsewhere(task: Any) -> bool:
    """Whether the task may run in another cluster, to which no pool of this one applies."""
    if _argument(task, "in_cluster") is False or _argument(task, "cluster_context") or _argument(task, "config_file"):
        return True
    return _argument(task, "kubernetes_conn_id") not in (None, KubernetesHook.default_conn_name)


#: Arguments of the operator that say what its pod asks for.
_ARGUMENTS = (
    "container_resources", "init_containers", "full_pod_spec", "pod_template_file", "pod_template_dict",
    "base_container_name", "do_xcom_push", "priority_class_name",
)  # fmt: skip


def _argument(task: Any, name: str) -> Any:
    return task.partial_kwargs.get(name) if task.is_mapped else getattr(task, name, None)


def _templates(arguments: Mapping[str, Any]) -> Iterator[k8s.V1Pod]:
    """What ``KubernetesPodOperator.build_pod_request_obj`` lays the operator's own arguments over, the last one first.

    Raises:
        LookupError: there is a file, and it is not here.
    """
    if arguments["full_pod_spec"]:
        yield arguments["full_pod_spec"]
    if path := arguments["pod_template_file"]:
        if not os.path.isfile(path):
            raise LookupError(path)
        yield PodGenerator.deserialize_model_file(path)
    elif arguments["pod_template_dict"]:
        yield PodGenerator.deserialize_model_dict(arguments["pod_template_dict"])


def _bare(spec: k8s.V1PodSpec) -> k8s.V1PodSpec:
    """A copy that holds nothing but what is looked at here: copying is most of what merging costs."""
    return k8s.V1PodSpec(
        containers=[_bare_container(one) for one in spec.containers or []],
        init_containers=[_bare_container(one) for one in spec.init_containers or []] or None,
        resources=spec.resources,
        priority_class_name=spec.priority_class_name,
        local_vars_configuration=_MODELS,
    )


def _bare_container(one: k8s.V1Container) -> k8s.V1Container:
    return k8s.V1Container(
        name=one.name,
        resources=one.resources,
        restart_policy=one.restart_policy,
        local_vars_configuration=_MODELS,
    )


def _is_readable(container: Any) -> bool:
    return isinstance(container, k8s.V1Container) and (
        container.resources is None or isinstance(container.resources, (Mapping, k8s.V1ResourceRequirements))
    )


def _all_resources(spec: k8s.V1PodSpec) -> Iterator[tuple[str, Any]]:
    for container in [*(spec.init_containers or []), *spec.containers]:
        yield container.name, container.resources


def _plain(resources: Any) -> dict[str, dict[str, Any]] | None:
    """Requests and limits of a model or a dict; None where there are none."""
    if not resources:
        return None
    found = {}
    for part in ("requests", "limits"):
        given = resources.get(part) if isinstance(resources, Mapping) else getattr(resources, part, None)
        if isinstance(given, Mapping):
            found[part] = {name: quantity for name, quantity in given.items() if quantity is not None}
    return found


def _is_template(quantity: Any) -> bool:
    return not isinstance(quantity, (str, int, float)) or any(mark in str(quantity) for mark in _TEMPLATE)


def _amount(quantity: Any) -> Decimal | None:
    try:
        return parse(quantity)
    except ValueError:
        return None


def _known(quantities: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: quantity for name, quantity in (quantities or {}).items() if _amount(quantity) is not None}


def _defaults_of(container: k8s.V1Container, spec: k8s.V1PodSpec, defaults: Resources) -> Resources:
    if container.name == PodDefaults.SIDECAR_CONTAINER_NAME:
        given = {key: value for key, value in _XCOM_SIDECAR.limits.items() if key in defaults.limits}
        return Resources(limits=given)
    # What is set for the pod as a whole is its containers' to share.
    is_first = container is spec.containers[0]
    of_pod = {key for part in (_plain(getattr(spec, "resources", None)) or {}).values() for key in part}

    def of_container(given: Mapping[str, str]) -> dict[str, str]:
        return {key: value for key, value in given.items() if key not in of_pod and (is_first or key in _SHARED)}

    return Resources(requests=of_container(defaults.requests), limits=of_container(defaults.limits))


def _with_defaults(present: Mapping[str, Mapping[str, Any]], defaults: Resources) -> dict[str, dict[str, Any]]:
    """Requests and limits with what only the defaults set; empty where neither does.

    A limit alone is a request too, so no default request goes beside it; and a default limit is never less than what
    the container asks for.
    """
    requests, limits = dict(present.get("requests", {})), dict(present.get("limits", {}))
    own = set(limits)
    for name, quantity in defaults.limits.items():
        if name not in limits:
            asks = _amount(requests.get(name, "0"))
            limits[name] = requests[name] if asks is None or asks > parse(quantity) else quantity
    for name, quantity in defaults.requests.items():
        if name not in own:
            requests.setdefault(name, quantity)
    return {part: given for part, given in (("requests", requests), ("limits", limits)) if given}


def _asks(spec: k8s.V1PodSpec) -> Amounts:
    def of(container: k8s.V1Container) -> dict[str, Any]:
        plain = _plain(container.resources) or {}
        requests = {**plain.get("limits", {}), **plain.get("requests", {})}
        return {"resources": {"requests": _known(requests)}, "restartPolicy": container.restart_policy}

    whole = _plain(getattr(spec, "resources", None)) or {}
    pod = {
        "containers": [of(one) for one in spec.containers],
        "initContainers": [of(one) for one in spec.init_containers or []],
        "resources": {"requests": _known({**whole.get("limits", {}), **whole.get("requests", {})})},
    }
    return asked({"spec": pod})


def _allows(largest: Amounts, asks: Amounts, over: Amounts) -> bool:
    """Whether a pool says that it gives what another does not, and does not refuse the rest."""
    return over.keys() <= largest.keys() and all(
        amount <= largest[name] for name, amount in asks.items() if name in largest
    )
