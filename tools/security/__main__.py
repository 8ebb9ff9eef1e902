"""``make security``: scanners over the code, its history, the Dockerfiles and what the chart renders.

What they may find is in exceptions.yaml, each with a reason.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import yaml
from local.cluster import console, settings, toolchain
from local.cluster.console import Problem, run, say, step
from tools.check import INSTALLATIONS

REPO = settings.REPO
EXCEPTIONS = Path(__file__).parent / "exceptions.yaml"
#: The pod of a task, which no chart renders.
TASK_POD = Path(__file__).parent / "task-pod.yaml"
CHART = REPO / "charts" / "airflow-platform"
#: Python that runs for users, or has their rights; tests do neither.
CODE = ("images/*/src", "dags", "local/cluster/*.py", "local/*/src", "tools/*.py", "tools/security")
#: Images by digest, as docs/security.md asks for in production.
DIGEST = f"sha256:{'0' * 64}"
MOST = 5


def main() -> None:
    """Run every scanner. :raises Problem: one of them finds what is no exception, with its own words."""
    exceptions = yaml.safe_load(EXCEPTIONS.read_text())
    if len(exceptions) > MOST:
        raise Problem(f"{EXCEPTIONS.name} has {len(exceptions)} entries", f"Mend something: there may be {MOST}.")

    def allowed(tool: str) -> list[str]:
        return [one for exception in exceptions for one in exception.get(tool, [])]

    go, python = toolchain.programs("security"), toolchain.python_programs("security")
    with step("security: gitleaks, over the whole history"), tempfile.NamedTemporaryFile("w", suffix=".toml") as rules:
        values = ", ".join(f"'{re.escape(one)}'" for one in allowed("gitleaks"))
        rules.write(f"[extend]\nuseDefault = true\n[[allowlists]]\nregexes = [{values}]\n")
        rules.flush()
        words = [go / "gitleaks", "git", "--no-banner", "--redact", "--verbose", "--config", rules.name, REPO]
        run(words, log="security", doing="gitleaks")
    with step("security: bandit"):
        code = [path for pattern in CODE for path in sorted(REPO.glob(pattern))]
        words = [python / "bandit", "--quiet", "--severity-level", "medium", "--confidence-level", "medium"]
        run([*words, "--skip", ",".join(allowed("bandit")), "--recursive", *code], log="security", doing="bandit")
    with step("security: hadolint"):
        files = run(["git", "ls-files", "--", "Dockerfile", "*/Dockerfile"], log="security").splitlines()
        run(["hadolint", *files], log="security", doing="hadolint")
    with tempfile.TemporaryDirectory() as folder:
        with step(f"security: what the chart renders for {len(INSTALLATIONS)} installations"):
            rendered = [_render(files, Path(folder)) for files in INSTALLATIONS]
        with step("security: Pod Security restricted"):
            for path in (*rendered, TASK_POD):
                with path.open("rb") as file:
                    judged = run([go / "podsecurity"], log="security", stdin=file, doing=f"podsecurity {path.name}")
                say(f"      {path.stem}: {judged}")
        with step("security: checkov"):
            words = [python / "checkov", "--framework", "kubernetes", "--compact", "--quiet", "--skip-download"]
            words += ["--skip-check", ",".join(allowed("checkov")), "--directory", folder]
            run(words, log="security", doing="checkov")
        with step("security: kube-score"):
            named = allowed("kube-score")
            words = [word for one in named for word in ([one] if one.startswith("--") else ["--ignore-test", one])]
            for path in rendered:
                command = [go / "kube-score", "score", "--output-format", "ci", *words, path]
                run(command, log="security", doing="kube-score")


def _render(files: tuple[Path, ...], folder: Path) -> Path:
    """What a release with these files of values is, with its images by digest, as a file.

    The worker that KubernetesExecutor makes of its template is among its pods. What selects the pods of tasks is left
    out, as these are not.
    """
    words = ["template", "airflow", CHART, "--namespace", "airflow"]
    words += [word for file in files for word in ("--values", file)]
    images = ("image", "dags.gitSync.image", "metrics.exporter.image", "pgbouncer.image", "backup.image")
    words += ["--set-string", ",".join(f"{image}.digest={DIGEST}" for image in images)]
    rendered = run([toolchain.programs("go") / "helm", *words], log="security", doing="helm template")
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    (template,) = (one["data"]["worker-pod.yaml"] for one in objects if "worker-pod.yaml" in one.get("data", {}))
    worker = yaml.safe_load(template)
    worker["metadata"]["namespace"] = "airflow"
    kept = [one for one in objects if one["kind"] != "NetworkPolicy" or one["metadata"]["namespace"] == "airflow"]
    path = folder / f"{'-'.join(file.stem for file in files)}.yaml"
    path.write_text(yaml.safe_dump_all([*kept, worker]))
    return path


if __name__ == "__main__":
    settings.STATE.mkdir(mode=0o700, exist_ok=True)
    sys.exit(console.main(main))
