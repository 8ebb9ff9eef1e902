"""KEDA: built from its Go module, and installed by the manifests that are in there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import yaml
from local.cluster import registry, releases, settings, toolchain
from local.cluster.console import step
from local.cluster.images import Image
from local.cluster.kind import apply, kubectl

#: As its manifests have it.
NAMESPACE = "keda"

_MODULE = "github.com/kedacore/keda/v2"
_VALUES = settings.REPO / "values" / "kind-keda.yaml"
#: The broker's Secret, with what KEDA needs of it.
_BROKER = "keda-broker"
#: {container of its manifests: the program that runs in it}.
_PROGRAMS = {"keda-operator": "operator", "keda-metrics-apiserver": "adapter"}


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """KEDA, and the platform with Celery launchers that it scales; afterwards all is as `make up` installs it.

    :raises Problem: with the state of what is not ready.
    """
    try:
        _install()
        install_platform()
        yield
    finally:
        # While KEDA still runs, which alone takes its finalizers off.
        releases.install_platform()
        _remove()


def install_platform() -> None:
    """The platform with Celery launchers that KEDA scales. :raises Problem: with the state of what is not ready."""
    releases.install_platform(*releases.LAUNCHERS["celery"], _VALUES)


def _install() -> None:
    programs = {name: toolchain.programs("keda") / name for name in _PROGRAMS.values()}
    image = Image("local/keda", settings.REPO / "local" / "keda", programs=programs)
    registry.push([image])
    releases.namespaces(NAMESPACE)
    with step("KEDA: the manifests of its Go module"):
        manifests = _manifests()
        apply([one for one in manifests if one["kind"] in ("CustomResourceDefinition", "Namespace")])
        apply([_adapted(one, image) for one in manifests])
        for name in _PROGRAMS:
            kubectl("rollout", "status", f"deployment/{name}", "-n", NAMESPACE, "--timeout=180s")
        kubectl("wait", "--for=condition=Available", "apiservice/v1beta1.external.metrics.k8s.io", "--timeout=120s")
        apply([_broker()])


def _manifests() -> list[dict]:
    """All that it is, its webhook left out."""
    folder = toolchain.source("keda", _MODULE) / "config" / "minimal"
    return [one for one in yaml.safe_load_all(kubectl("kustomize", str(folder))) if one]


def _adapted(manifest: dict, image: Image) -> dict:
    """An object of its manifests, with the image that was built."""
    if manifest["kind"] == "Deployment":
        pod = manifest["spec"]["template"]["spec"]
        pod["imagePullSecrets"] = [{"name": settings.PULL_SECRET}]
        (container,) = pod["containers"]
        container |= {"image": registry.reference(image), "imagePullPolicy": "IfNotPresent"}
        container["command"] = [f"/{_PROGRAMS[container['name']]}"]
        container["resources"]["requests"] = {"cpu": "10m", "memory": "64Mi"}
    return manifest


def _broker() -> dict:
    """KEDA takes an address and a password, where the platform takes a URL."""
    meta = {"name": _BROKER, "namespace": settings.NAMESPACE}
    content = {
        "url": releases.secret(settings.NAMESPACE, "airflow-broker", "url"),
        "address": "redis.local.svc:6379",
        "password": releases.secret(settings.STAND_INS, "credentials", "redis-password"),
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": content}


def _remove() -> None:
    with step("KEDA: removing it"):
        kubectl("delete", "secret", _BROKER, "-n", settings.NAMESPACE, "--ignore-not-found")
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": _manifests()})
        kubectl("delete", "--ignore-not-found", "--wait", "-f", "-", stdin=listed)
