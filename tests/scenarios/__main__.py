"""``python -m tests.scenarios [NAME…]``: the chart's `ci/` files on the local cluster, each over the one before.

With ``--anew`` each is a first release, on an empty database.

Each release has to be ready, and pass `helm test`, within three minutes; its images are there already. Afterwards the
platform is as `make up` installs it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from local.cluster import access, console, dags, images, kind, monitoring, registry, releases, s3, settings
from local.cluster.console import Problem, duration, say, step
from tests.scenarios import anew, checks

#: Seconds that a scenario may take, `helm test` included.
LIMIT = 180
_SUFFIX = "-values.yaml"
_FOUND = {path.name.removesuffix(_SUFFIX): path for path in sorted((releases.CHART / "ci").glob(f"*{_SUFFIX}"))}
#: By name, the least first: all others are upgrades.
FILES = {"minimal": _FOUND["minimal"], **_FOUND}

#: Images beside the platform's own, by scenario, as `releases.install_scenario` takes them.
IMAGES = {
    "production": lambda: {
        "pgbouncer.image": images.PGBOUNCER,
        "backup.image": releases.stand_in("postgres"),
        "metrics.exporter.image": monitoring.exporter(),
    }
}


def run(names: list[str], *, is_anew: bool) -> None:
    """Install these scenarios one after the other.

    :param is_anew: each on a cluster that had no release, with an empty database; else over the one before.
    :raises Problem: one of them was not ready, failed its test, or took longer than :data:`LIMIT`.
    """
    access.link_programs()
    if not kind.is_up():
        raise Problem("the local cluster is not up", "Run `make up`.")
    prepare()
    took: dict[str, tuple[float, float]] = {}
    try:
        for name in names:
            say(f"Scenario {name}")
            named = IMAGES.get(name, dict)()
            registry.push(list(named.values()))
            with anew.nothing_before() if is_anew else contextlib.nullcontext():
                took[name] = _install(name, named)
    finally:
        say(table(took))
        say("Afterwards")
        releases.install_platform()
    if slow := [name for name, times in took.items() if sum(times) > LIMIT]:
        raise Problem(f"{', '.join(slow)}: more than {duration(LIMIT)}", "See what took it in `.local/log/helm.log`.")


def _install(name: str, named: Mapping[str, images.Image]) -> tuple[float, float]:
    """Seconds until it was ready, and for its test."""
    began = time.monotonic()
    releases.install_scenario(FILES[name], named)
    ready = time.monotonic()
    with step("helm test"):
        releases.helm("test", settings.RELEASE, "--namespace", settings.NAMESPACE, "--timeout=150s")
    tested = time.monotonic()
    for check in (*checks.CHECKS.get(name, (checks.no_longer_declared,)), *checks.EACH):
        with step(check.__doc__.splitlines()[0].rstrip(".")):
            check()
    return ready - began, tested - ready


def table(took: dict[str, tuple[float, float]]) -> str:
    """What each scenario took, in seconds, as a table of Markdown."""
    lines = ["| scenario | ready | helm test | in all |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {name} | {up:.0f} s | {test:.0f} s | {up + test:.0f} s |" for name, (up, test) in took.items()]
    return "\n".join(lines)


def prepare() -> None:
    """The Secrets that scenarios name, beside those of the stand-ins, and a DAG in git and in S3.

    The Fernet key stays: the database is encrypted by it.
    """
    found = access.write()
    git = urlsplit(found["git"])
    key = f"{checks.S3_PREFIX}/{checks.S3_DAG}.py"
    s3.client(found).put_object(Bucket=found["s3"]["bucket"], Key=key, Body=checks.dag_file(checks.S3_DAG).encode())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, f"{checks.GIT_DAG}.py").write_text(checks.dag_file(checks.GIT_DAG))
        dags.push(Path(folder), "DAGs of the scenarios", below=checks.GIT_FOLDER)
    contents = {
        "scenario-keys": {
            "fernet-key": releases.secret(settings.NAMESPACE, "airflow-generated", "fernet-key"),
            "api-secret-key": secrets.token_urlsafe(64),
            "jwt-secret": secrets.token_urlsafe(64),
        },
        "scenario-git-ssh": {"ssh": _of_git("client"), "known_hosts": f"[git.local.svc]:2222 {_of_git('server.pub')}"},
        "scenario-oidc": {"client-secret": secrets.token_urlsafe(32)},
        "scenario-declared": {
            "warehouse": f"postgres://etl:{secrets.token_hex(16)}@warehouse.example.com:5432/sales",
            "token": secrets.token_urlsafe(18),
            "password": secrets.token_urlsafe(18),
            "git": json.dumps(
                {
                    "conn_type": "git",
                    "host": "http://git.local.svc:8080/dags.git",
                    "login": unquote(git.username or ""),
                    "password": unquote(git.password or ""),
                }
            ),
            "s3": json.dumps(
                {
                    "conn_type": "aws",
                    "login": found["s3"]["key"],
                    "password": found["s3"]["secret"],
                    "extra": {"endpoint_url": "http://s3.local.svc:9000", "region_name": "us-east-1"},
                }
            ),
        },
    }
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": settings.NAMESPACE},
            "stringData": content,
        }
        for name, content in contents.items()
    ]
    kind.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _of_git(name: str) -> str:
    """A key of git over ssh: the client's, or the server's public one."""
    return kind.kubectl("exec", "-n", settings.STAND_INS, "git-0", "-c", "ssh", "--", "cat", f"/data/ssh/{name}")


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(FILES)}; all if none")
    parser.add_argument("--anew", action="store_true", help="each without a release before, on an empty database")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in FILES:
            parser.error(f"no scenario {name}; choose among {', '.join(FILES)}")
    return console.main(lambda: run(given.names or list(FILES), is_anew=given.anew))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
