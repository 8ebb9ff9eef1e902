"""What runs in the cluster: namespaces, the stand-ins of ``local/chart``, and the platform itself, by helm."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from local.cluster import images, registry, settings, toolchain
from local.cluster.console import Problem, run, step
from local.cluster.kind import kubectl

CHART = Path("charts", "airflow-platform")
VALUES = [Path("values", name) for name in ("common.yaml", "kind.yaml")]
#: {kind of launcher: what its release has beyond the values of the local cluster}.
LAUNCHERS = {"local": [], "celery": [settings.REPO / "values" / "kind-celery.yaml"]}
#: Seconds that helm waits for a release to be ready.
TIMEOUT = 420
#: Where each Helm is built, by its major version.
_MODULES = {"4": "go", "3": "helm3"}


def push() -> None:
    """The images that the platform and the stand-ins run on are in the registry."""
    registry.push([*_stand_ins(), images.AIRFLOW])


def install_stand_ins() -> None:
    """PostgreSQL, Redis, S3, git server and tickets are ready. :raises Problem: with the state of what is not."""
    tags = {image.name.removeprefix("local/"): image.tag() for image in _stand_ins()}
    words = ["--set-string", f"image.registry={settings.registry()}/local", "--set", "persistence.enabled=true"]
    for name in ("postgres", "redis", "s3", "git-server", "seed"):
        words += ["--set-string", f"image.tags.{name}={tags[name]}"]
    _release(settings.STAND_INS, settings.REPO / "local" / "chart", settings.STAND_INS, words)


def install_platform(*more: Path, root: Path = settings.REPO) -> None:
    """The platform is ready; its pods wait for what the stand-ins' release makes.

    :param more: values files that are laid over those of the local cluster.
    :param root: the checkout whose chart, values and Airflow image are installed.
    :raises Problem: with the state of what is not.
    """
    files = [*(root / path for path in VALUES), *more]
    _release(settings.RELEASE, root / CHART, settings.NAMESPACE, _platform_values(files, root))


@contextlib.contextmanager
def launcher(wanted: str | None) -> Iterator[None]:
    """The platform with that launcher, of `LAUNCHERS`; afterwards as `make up` installs it. ``None``: as it is."""
    try:
        if wanted:
            install_platform(*LAUNCHERS[wanted])
        yield
    finally:
        if wanted and LAUNCHERS[wanted]:
            install_platform()


def install_scenario(values: Path, named: Mapping[str, images.Image]) -> None:
    """The platform is ready with this file in place of the values of the local cluster.

    :param named: images beside the platform's own, by the path of the value that names each (``backup.image``).
    :raises Problem: with the state of what is not.
    """
    _release(settings.RELEASE, settings.REPO / CHART, settings.NAMESPACE, _platform_values([values], named=named))


def revision() -> int:
    """The number of the platform's release that is installed."""
    return json.loads(helm("status", settings.RELEASE, "--namespace", settings.NAMESPACE, "-o", "json"))["version"]


def roll_back(revision: int) -> None:
    """The platform as it was at a revision of its release, and ready. :raises Problem: it is not."""
    with step(f"Release {settings.RELEASE}: back to revision {revision}"):
        words = ["rollback", settings.RELEASE, str(revision), "--namespace", settings.NAMESPACE]
        helm(*words, "--wait", "--wait-for-jobs", f"--timeout={TIMEOUT}s", doing=f"going back to {revision}")


def render(namespace: str, more: Sequence[str]) -> str:
    """What ``helm template`` makes of the platform's chart, with the values of the local cluster and ``more`` words."""
    words = ["template", settings.RELEASE, str(settings.REPO / CHART), "--namespace", namespace, "--skip-tests"]
    words += [*_platform_values([settings.REPO / path for path in VALUES]), *more]
    return helm(*words)


def _platform_values(
    files: Sequence[Path], root: Path = settings.REPO, named: Mapping[str, images.Image] = MappingProxyType({})
) -> list[str]:
    """Words for helm: these files, and over them the images and addresses that are there."""
    words = [word for path in files for word in ("--values", str(path))]
    return words + [
        word for key, value in parameters(root, named).items() for word in ("--set-string", f"{key}={value}")
    ]


def parameters(root: Path = settings.REPO, named: Mapping[str, images.Image] = MappingProxyType({})) -> dict[str, str]:
    """{path of a value: the image or address that is there}, as no file can know them.

    :param root: the checkout whose Airflow image is meant.
    :param named: images beside it, as `install_scenario` takes them.
    """
    named = {"image": images.airflow(root), **named}
    if not images.reachable("registry.k8s.io"):
        # git-sync's own image cannot be pulled: the one that stands in for it.
        named["dags.gitSync.image"] = stand_in("git-sync")
    values = {
        "tasks.imageRegistry": settings.registry(),
        "apiServer.baseUrl": f"http://localhost:{settings.port('ui')}",
    }
    for path, image in named.items():
        values[f"{path}.repository"] = f"{settings.registry()}/{image.name}"
        values[f"{path}.tag"] = image.tag()
    return values


def stand_in(name: str) -> images.Image:
    """The image of one of the stand-ins (``postgres``)."""
    (found,) = (image for image in _stand_ins() if image.name == f"local/{name}")
    return found


def _stand_ins() -> list[images.Image]:
    return images.stand_ins(toolchain.programs("go"))


def namespaces(*more: str) -> None:
    """Namespaces that refuse whatever is not Pod Security "restricted", each with the registry's pull secret.

    :param more: names of namespaces beside those of `make up`.
    """
    objects = []
    for name in (settings.NAMESPACE, settings.STAND_INS, settings.TASK_NAMESPACE, *more):
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
        objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        objects.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/dockerconfigjson",
                "metadata": {"name": settings.PULL_SECRET, "namespace": name},
                "stringData": {".dockerconfigjson": registry.docker_config()},
            }
        )
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def helm(*words: str, doing: str = "") -> str:
    """Run one of the pinned helms on the local cluster: 4, or what `settings.HELM` says."""
    if settings.HELM not in _MODULES:
        raise Problem(f"there is no Helm {settings.HELM} here", f"Choose among {', '.join(_MODULES)}.")
    program = toolchain.programs(_MODULES[settings.HELM]) / "helm"
    env = {f"HELM_{name}_HOME": str(settings.STATE / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    command = [program, "--kubeconfig", settings.kubeconfig(), *words]
    return run(command, log="helm", env=env, doing=doing or f"helm {words[0]}")


def _release(name: str, chart: Path, namespace: str, values: Sequence[str]) -> None:
    with step(f"Release {name}: {chart.relative_to(settings.REPO)}"):
        _finish_interrupted(name, namespace)
        _remove_failed_jobs(namespace)
        words = ["upgrade", "--install", name, str(chart), "--namespace", namespace, *values]
        try:
            helm(*words, "--wait", "--wait-for-jobs", f"--timeout={TIMEOUT}s", doing=f"installing {name}")
        except Problem as problem:
            pods = kubectl("get", "pods", "-n", namespace, "-o", "wide")
            raise Problem(f"{problem}\n{pods}", f"`kubectl -n {namespace} get events` says more.") from None


def _finish_interrupted(name: str, namespace: str) -> None:
    """A release that was interrupted stays "pending", and helm refuses to touch it again."""
    found = helm("list", "--pending", "--namespace", namespace, "--filter", f"^{name}$", "-o", "json")
    for release in json.loads(found or "[]"):
        if str(release["revision"]) == "1":
            helm("uninstall", name, "--namespace", namespace, "--wait")
        else:
            helm("rollback", name, "--namespace", namespace)


def _remove_failed_jobs(namespace: str) -> None:
    """A Job that has failed stays so: the release makes it again."""
    jobs = json.loads(kubectl("get", "jobs", "-n", namespace, "-l", "app.kubernetes.io/managed-by=Helm", "-o", "json"))
    for job in jobs["items"]:
        if any(one["type"] == "Failed" and one["status"] == "True" for one in job["status"].get("conditions", [])):
            kubectl("delete", "job", job["metadata"]["name"], "-n", namespace, "--wait")


def secret(namespace: str, name: str, key: str) -> str:
    """A value of a Secret of the cluster. :raises Problem: it does not exist."""
    found = json.loads(kubectl("get", "secret", name, "-n", namespace, "-o", "json"))
    if key not in found.get("data", {}):
        raise Problem(f"Secret {namespace}/{name} has no key {key}", "Run `make up` again.")
    return base64.b64decode(found["data"][key]).decode()
