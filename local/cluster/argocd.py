"""Argo CD: built from its Go module, and installed by the manifests that are in there; what it installs is in git."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml
from local.cluster import dags, kind, registry, releases, settings, toolchain
from local.cluster.console import Problem, step, wait_for
from local.cluster.images import Image
from local.cluster.kind import kubectl

#: As its manifests have it.
NAMESPACE = "argocd"
#: The branch of the git server that has the chart and its values.
BRANCH = "argocd"
#: Seconds for all that a commit changes.
TIMEOUT = 420

_MODULE = "github.com/argoproj/argo-cd/v3"
_GIT = "http://git.local.svc:8080/dags.git"
_CHANGES = Path("values", "changes.yaml")
_RESOURCE = "applications.argoproj.io"


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Argo CD, and no release of helm's; afterwards all is as `make up` installs it.

    :raises Problem: with the state of what is not ready.
    """
    try:
        _install()
        with step(f"Release {settings.RELEASE}: removing it"):
            releases.helm(
                "uninstall", settings.RELEASE, "--namespace", settings.NAMESPACE, "--ignore-not-found", "--wait"
            )
        yield
    finally:
        _remove()
        releases.install_platform()


def commit(changes: dict, message: str) -> str:
    """Commit the chart, its values, and `changes` to them, on the branch; the commit's hash."""
    with dags.working_copy() as (clone, address, git):
        git("init", "--quiet", "--initial-branch", BRANCH)
        for folder in (releases.CHART, Path("values")):
            shutil.copytree(settings.REPO / folder, clone / folder)
        (clone / _CHANGES).write_text(yaml.safe_dump(changes))
        git("add", "--all")
        git("commit", "--quiet", "--message", message)
        git("push", "--quiet", "--force", address, f"HEAD:{BRANCH}")
        return git("rev-parse", "HEAD").strip()


def apply(values: Sequence[Path], named: Mapping[str, Image], *, automated: bool = True) -> None:
    """Apply the Application, which installs the platform as the branch has it.

    :param values: files of the repository, in their order; those of :func:`commit` are laid over them.
    :param named: as `releases.parameters` takes them.
    :param automated: False suspends the sync.
    """
    depth = len(releases.CHART.parts)
    parameters = releases.parameters(named=named)
    helm = {
        "releaseName": settings.RELEASE,
        "valueFiles": [str(Path(*[".."] * depth, path)) for path in (*values, _CHANGES)],
        "parameters": [{"name": name, "value": value, "forceString": True} for name, value in parameters.items()],
    }
    spec = {
        "project": "default",
        "destination": {"server": "https://kubernetes.default.svc", "namespace": settings.NAMESPACE},
        "source": {"repoURL": _GIT, "targetRevision": BRANCH, "path": str(releases.CHART), "helm": helm},
    }
    if automated:
        spec["syncPolicy"] = {"automated": {"prune": True, "selfHeal": True}}
    meta = {"name": settings.RELEASE, "namespace": NAMESPACE, "finalizers": ["resources-finalizer.argocd.argoproj.io"]}
    application = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": meta, "spec": spec}
    kind.apply([application], "--namespace", NAMESPACE)


def wait_until(commit: str, *, health: str | None = "Healthy") -> dict:
    """Wait until Argo CD has compared the cluster with a commit, and says that it is synced, and this; the Application.

    :param health: None where it may be any.

    :raises Problem: with what it says of each object that is otherwise.
    """
    annotation = "argocd.argoproj.io/refresh=hard"
    kubectl("annotate", _RESOURCE, settings.RELEASE, "-n", NAMESPACE, annotation, "--overwrite")

    def there() -> dict:
        found = json.loads(kubectl("get", _RESOURCE, settings.RELEASE, "-n", NAMESPACE, "-o", "json"))
        status = found.get("status", {})
        refreshed = annotation.partition("=")[0] not in found["metadata"].get("annotations", {})
        compared, healthy = status.get("sync", {}), status.get("health", {}).get("status")
        over = refreshed and status.get("operationState", {}).get("phase") != "Running"
        synced = (compared.get("revision"), compared.get("status")) == (commit, "Synced")
        if over and synced and healthy == (health or healthy):
            return found
        raise Problem(f"{compared.get('status')}, {healthy} at {compared.get('revision')}:\n{_said(status)}", "")

    return wait_for(f"Synced, {health or 'of any health'} at {commit[:12]}", there, seconds=TIMEOUT, every=1)


def _said(status: dict) -> str:
    lines = [f"{one['type']}: {one['message']}" for one in status.get("conditions", [])]
    if operation := status.get("operationState"):
        lines.append(f"operation: {operation['phase']}: {operation.get('message', '')}")
    for one in status.get("resources", []):
        health = one.get("health", {})
        if (one.get("status"), health.get("status", "Healthy")) != ("Synced", "Healthy"):
            words = (one["kind"], one["name"], one.get("status"), health.get("status"), health.get("message"))
            lines.append(" ".join(str(word) for word in words if word))
    return "\n".join(lines)


def _install() -> None:
    source = toolchain.source("argocd", _MODULE)
    programs = {
        "argocd": toolchain.programs("argocd") / "argocd",
        "helm": toolchain.programs("go") / "helm",
        **{name: source / "hack" / name for name in ("git-verify-wrapper.sh", "gpg-wrapper.sh")},
    }
    image = Image("local/argocd", settings.REPO / "local" / "argocd", programs=programs)
    registry.push([image])
    releases.namespaces(NAMESPACE)
    manifests = source / "manifests" / "core-install.yaml"
    with step("Argo CD: the manifests of its Go module"):
        objects = [_adapted(one, image) for one in yaml.safe_load_all(manifests.read_text())]
        kind.apply(
            [one for one in objects if "applicationset" not in one["metadata"]["name"]], "--namespace", NAMESPACE
        )
        for name in (
            "deployment/argocd-redis",
            "deployment/argocd-repo-server",
            "statefulset/argocd-application-controller",
        ):
            kubectl("rollout", "status", name, "-n", NAMESPACE, "--timeout=180s")
        kind.apply([_project(), _repository()], "--namespace", NAMESPACE)


def _adapted(manifest: dict, image: Image) -> dict:
    """An object of its manifests, in its namespace, with the image that was built."""
    if manifest["kind"] == "ConfigMap" and manifest["metadata"]["name"] == "argocd-cm":
        manifest["data"] = {
            # Else it looks at git every two to three minutes.
            "timeout.reconciliation": "5s",
            "timeout.reconciliation.jitter": "0s",
            # It waits for an address, which nothing gives here.
            "resource.customizations.health.networking.k8s.io_Ingress": 'return {status = "Healthy"}',
        }
    pod = manifest.get("spec", {}).get("template", {}).get("spec")
    if pod is not None and manifest["kind"] in ("Deployment", "StatefulSet"):
        pod["imagePullSecrets"] = [{"name": settings.PULL_SECRET}]
        for container in (*pod.get("initContainers", []), *pod["containers"]):
            if "/redis:" in container["image"]:
                container["command"] = ["redis-server"]
            container |= {"image": registry.reference(image), "imagePullPolicy": "IfNotPresent"}
    return manifest


def _project() -> dict:
    """What Argo CD's server makes, which is not installed."""
    spec = {
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    }
    meta = {"name": "default", "namespace": NAMESPACE}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": meta, "spec": spec}


def _repository() -> dict:
    labels = {"argocd.argoproj.io/secret-type": "repository"}
    meta = {"name": "repository", "namespace": NAMESPACE, "labels": labels}
    keys = ("username", "password")
    content = {key: releases.secret(settings.NAMESPACE, "git-credentials", key) for key in keys}
    content |= {"type": "git", "url": _GIT}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": content}


def _remove() -> None:
    with step("Argo CD: removing it, and what it has installed"):
        if _RESOURCE in kubectl("get", "crd", "-o", "name"):
            kubectl("delete", _RESOURCE, "--all", "-n", NAMESPACE, "--wait", f"--timeout={TIMEOUT}s")
        kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
        kinds = "clusterrole,clusterrolebinding,crd"
        kubectl("delete", kinds, "-l", "app.kubernetes.io/part-of=argocd", "--ignore-not-found", "--wait")
