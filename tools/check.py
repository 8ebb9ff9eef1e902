"""``python -m tools.check PART``: everything that ``make test`` checks before it needs a cluster.

The parts are ``lint``, ``unit``, ``chart``, ``images`` and ``dags``, which take names, as in ``images airflow``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from local.cluster import console, engine, images, monitoring, settings, toolchain
from local.cluster.console import Problem, run, say, step

REPO = settings.REPO
CHARTS = (REPO / "charts" / "airflow-platform", REPO / "local" / "chart")
VALUES = REPO / "values"
#: The environments, each by the files of `values/` that make it.
ENVIRONMENTS = (
    ("common", "kind"),
    ("common", "kind", "kind-celery"),
    ("common", "kind", "kind-celery", "kind-keda"),
    ("common", "kind", "kind-kueue"),
    ("common", "kind", "kind-pgbouncer"),
    ("common", "kind", "kind-backup"),
    ("common", "kind", "kind-security"),
    ("common", "kind", "kind-metrics"),
    ("common", "kind", "kind-vault"),
    ("common", "production"),
)
#: Scenarios of the chart, each a file by itself; `make scenarios` installs them.
SCENARIOS = sorted((CHARTS[0] / "ci").glob("*-values.yaml"))
#: What is rendered and judged: the files of values of each of both.
INSTALLATIONS = (
    *(tuple(VALUES / f"{name}.yaml" for name in names) for names in ENVIRONMENTS),
    *((path,) for path in SCENARIOS),
)
#: Values for an object of every kind that is not Kubernetes' own.
OTHER_KINDS = (VALUES / "common.yaml", VALUES / "kind.yaml", REPO / "tests" / "chart" / "other-kinds-values.yaml")
#: Kinds without a schema: Kueue's, which the API server judges in tests/kueue.
KUEUE = "ClusterQueue,Cohort,LocalQueue,ResourceFlavor"
ALERTS = REPO / "tests" / "monitoring" / "rules" / "rules_test.yaml"


def lint() -> None:
    """Style and known mistakes, in every language of the repository."""
    programs = toolchain.programs("go")
    files = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], log="lint").splitlines()
    there = [name for name in files if (REPO / name).is_file()]
    shells = [
        name
        for name in there
        if (REPO / name).read_bytes().startswith((b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash"))
    ]
    dockerfiles = [name for name in there if Path(name).name == "Dockerfile"]
    checks = {
        "ruff": [["ruff", "check", "."], ["ruff", "format", "--check", "."]],
        "shellcheck": [["shellcheck", *shells]],
        "hadolint": [["hadolint", *dockerfiles]],
        "actionlint": [[str(programs / "actionlint")]],
    }
    for name, commands in checks.items():
        with step(f"lint: {name}"):
            for command in commands:
                run(command, log="lint", doing=name)


def chart() -> None:
    """The charts: generated files, helm lint, unit tests, the render against Kubernetes' own schemas."""
    programs = toolchain.programs("go")
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "HELM": str(programs / "helm")}
    env["HELM3"] = str(toolchain.programs("helm3") / "helm")
    with step("chart: schema and README are those of values.yaml"):
        words = [sys.executable, "tools/chart_reference.py", "--check", "--helm-docs", programs / "helm-docs"]
        run(words, log="chart", doing="chart_reference")
    with step("chart: helm lint"):
        for files in _renders(*INSTALLATIONS):
            run(["helm", "lint", "--strict", CHARTS[0], *files], log="chart", env=env, doing="helm lint")
        run(["helm", "lint", CHARTS[1], *_local_tags()], log="chart", env=env, doing="helm lint local/chart")
    with step("chart: unit tests"):
        say(
            _tail(
                run([programs / "helm-unittest", "--strict", CHARTS[0]], log="chart", env=env, doing="helm-unittest"), 6
            )
        )
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        words += ["--numprocesses", "auto", "--dist", "loadfile", "tests/chart"]
        say(_tail(run(words, log="chart", env=env, doing="tests/chart"), 1))
    with step("chart: kubeconform"):
        location = f"{toolchain.schemas()}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        for files in _renders(*INSTALLATIONS, OTHER_KINDS):
            rendered = subprocess.check_output([programs / "helm", "template", "airflow", CHARTS[0], *files], cwd=REPO)
            _conform(programs, location, rendered)
        local = subprocess.check_output([programs / "helm", "template", "local", CHARTS[1], *_local_tags()], cwd=REPO)
        _conform(programs, location, local)
    engine.ensure()
    with step("chart: alerts"):
        monitoring.test_rules(ALERTS)


def _conform(programs: Path, location: str, rendered: bytes) -> None:
    words = [programs / "kubeconform", "-strict", "-summary", "-skip", KUEUE, "-schema-location", location, "-"]
    done = subprocess.run(words, input=rendered, capture_output=True, check=False)
    if done.returncode:
        raise Problem(f"kubeconform:\n{done.stdout.decode()}{done.stderr.decode()}", "Mend the template it names.")


def _renders(*installations: tuple[Path, ...]) -> list[list[str | Path]]:
    """Words for helm: the values of each installation."""
    return [[word for file in files for word in ("--values", file)] for files in installations]


def _local_tags() -> list[str]:
    names = ("postgres", "redis", "s3", "git-server", "seed")
    return [word for name in names for word in ("--set-string", f"image.tags.{name}=1")]


def unit() -> None:
    """The unit tests of what runs on the host: the local cluster and the tools."""
    with step("unit tests: local cluster and tools"):
        words = [
            sys.executable,
            "-m",
            "pytest",
            "local/cluster/tests",
            "tools/tests",
            "tests/docs",
            "tests/observe",
            "tests/acceptance/tests",
            "tests/bench/tests",
            "tests/faults/tests",
            "tests/causes/tests",
            "tests/scenarios/tests",
        ]
        say(_tail(run(words, log="unit", doing="the unit tests"), 1))


def test_images(names: list[str]) -> None:
    """The tests of each image, in the image: no capabilities, a read-only root, a writable /tmp.

    :param names: of which images; all, if none. Their Dockerfiles are linted before: of all, `lint` does it.
    :raises Problem: a test failed, or there is no such image.
    """
    engine.ensure()
    tested = [
        image
        for image in (images.AIRFLOW, *images.tasks(), *images.stand_ins(toolchain.programs("go")))
        if _has_tests(image)
    ]
    known = {image.name.removeprefix("local/"): image for image in tested}
    for name in names or known:
        if name not in known:
            raise Problem(f"no image {name} has tests", f"Choose among {', '.join(known)}.")
        if names:
            run(["hadolint", known[name].folder / "Dockerfile"], log="lint", doing="hadolint")
        image = images.test_stage(known[name])
        built = images.build(image)
        with step(f"image {name}: its tests in it"):
            words = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp:exec", "--cap-drop", "ALL", built]
            say(_tail(run(words, log=f"test-{name}", doing=f"the tests of {name}"), 1))


def _has_tests(image: images.Image) -> bool:
    return (image.folder / "tests").is_dir()


def dags(names: list[str]) -> None:
    """The rules for DAGs and each DAG's own tests, with the Airflow that will run them, and no network.

    :param names: whose tests; all, if none. The rules are for all DAGs.
    :raises Problem: a test failed, or there is none of that name.
    """
    known = {
        path.stem.removeprefix("test_"): f"tests/dags/{path.name}" for path in (REPO / "tests/dags").glob("test_*.py")
    }
    for name in names:
        if name not in known:
            raise Problem(f"there is no tests/dags/test_{name}.py", f"Choose among {', '.join(sorted(known))}.")
    engine.ensure()
    built = images.build(images.test_stage(images.AIRFLOW))
    with step("DAGs: rules and tests"):
        words = [
            "docker",
            "run",
            "--rm",
            "--network",
            "none",
            "--read-only",
            "--tmpfs",
            "/tmp:exec",
            "--cap-drop",
            "ALL",
        ]
        words += ["--tmpfs", "/opt/airflow/logs:mode=1777", "--volume", f"{REPO}:/repo:ro", "--workdir", "/repo", built]
        test = ["python", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs"]
        # A DAG may name the node pools of any environment.
        test += ["-o", "airflow_values=values/kind.yaml values/production.yaml", "airflow_platform.rules"]
        test += [known[name] for name in names] or ["tests/dags"]
        say(_tail(run([*words, *test], log="dags", doing="the tests of the DAGs"), 1))


def chart_docs() -> None:
    """Make the chart's schema and README anew."""
    words = [sys.executable, "tools/chart_reference.py", "--helm-docs", toolchain.programs("go") / "helm-docs"]
    run(words, log="chart", doing="chart_reference")


def _tail(text: str, lines: int) -> str:
    return "\n".join(f"      {line}" for line in text.splitlines()[-lines:] if line.strip())


def main(arguments: list[str]) -> int:
    """Run one part; the exit code."""
    parts: dict[str, Callable[[list[str]], None]] = {
        "lint": lambda _: lint(),
        "chart": lambda _: chart(),
        "unit": lambda _: unit(),
        "images": test_images,
        "dags": dags,
        "chart-docs": lambda _: chart_docs(),
    }
    parser = argparse.ArgumentParser(prog="python -m tools.check")
    parser.add_argument("part", choices=list(parts))
    parser.add_argument("names", nargs="*", help="images, dags: which, all if none")
    given = parser.parse_args(arguments)
    settings.STATE.mkdir(mode=0o700, exist_ok=True)
    return console.main(lambda: parts[given.part](given.names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
