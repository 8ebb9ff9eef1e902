"""An author's repository with a DAG folder, and a bare one that releases are pushed to."""

import os
import subprocess
from pathlib import Path

import pytest

from airflow_platform.release import check

DIGEST = "@sha256:" + "a1" * 32

DAG = """
from datetime import datetime, timedelta
from pathlib import Path

import yaml
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from research.report import tables
import research.report.more

HERE = Path(__file__).parent
VERSIONS = yaml.safe_load((HERE.parents[1] / "images.yaml").read_text())


def late():
    from research.report.more import WHO

    return WHO


with DAG(
    "report",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=True,
    tags=["research"],
    default_args={"owner": "research", "retries": 1, "execution_timeout": timedelta(minutes=5)},
) as dag:
    KubernetesPodOperator(task_id="work", image=f"worker:{VERSIONS['worker']}", arguments=tables.NAMES)
    BashOperator(task_id="query", bash_command="query.sh", doc=research.report.more.WHO)
"""


@pytest.fixture(autouse=True)
def keeps_to_the_rules(request, monkeypatch):
    """A process of its own looks at the rules for DAGs, for seconds; a test marked ``rules`` has it."""
    if not request.node.get_closest_marker("rules"):
        monkeypatch.setattr(check, "broken_rules", lambda *_: [])


class Repository:
    """An author's clone: `write` files below dags/, `commit` them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words):
        return subprocess.run(["git", *words], cwd=self.path, check=True, capture_output=True, text=True).stdout.strip()

    def put(self, path, content):
        file = self.path / "dags" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(self, message="change"):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    @property
    def folder(self):
        return self.path / "dags" / "research" / "report"


@pytest.fixture
def author(monkeypatch):
    """git has a name for commits, and reads nobody's configuration."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ann@example.com")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def repository(author, tmp_path):
    """A DAG with two modules, a template and a catalogue of images, committed."""
    (tmp_path / "author").mkdir()
    repository = Repository(tmp_path / "author")
    repository.put("images.yaml", f"worker: 1.0.0{DIGEST}\nother: 2.0.0\n")
    repository.put("research/report/dag.py", DAG)
    repository.put("research/report/tables.py", "NAMES = ['one']\n")
    repository.put("research/report/more.py", "WHO = 'first'\n")
    repository.put("research/report/query.sh", "echo first {{ ds }}\n")
    repository.put("research/report/tests/test_dag.py", "assert True\n")
    repository.put("research/report/acceptance/expected/counts.json", "{}\n")
    repository.commit()
    return repository


@pytest.fixture
def remote(repository, tmp_path):
    """What the author's clone calls origin: a bare repository, where releases are kept."""
    path = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", path], check=True)
    repository.git("remote", "add", "origin", str(path))
    return path
