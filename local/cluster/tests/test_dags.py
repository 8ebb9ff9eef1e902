import base64
import json
import os
import shutil
import subprocess
from http.server import BaseHTTPRequestHandler
from urllib.parse import quote

import pytest
from local.cluster import access, dags, settings
from local.cluster.console import Problem

USER, PASSWORD = "airflow", "se/cret:@ word"


class GitServer(BaseHTTPRequestHandler):
    """git's own server behind a password."""

    root = ""

    def answer(self):
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {token}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": USER,
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def git(*words, cwd):
    return subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def repository(tmp_path, serve, monkeypatch):
    """The bare repository behind the server that access.json names; whoever pushes has told git no name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(variable, raising=False)
    first = tmp_path / "first"
    git("init", "--quiet", "-b", "main", str(first), cwd=tmp_path)
    for name in ("README.md", "dags/other/dag.py", "dags/support/old.py", "dags/support/dag.py"):
        (first / name).parent.mkdir(parents=True, exist_ok=True)
        (first / name).write_text("before\n")
    git("add", ".", cwd=first)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first", cwd=first)
    root = tmp_path / "server"
    git("clone", "--quiet", "--bare", str(first), str(root / "dags.git"), cwd=tmp_path)
    git("config", "http.receivepack", "true", cwd=root / "dags.git")
    port = serve(type("Handler", (GitServer,), {"root": str(root)}))
    url = f"http://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/dags.git"
    monkeypatch.setattr(access, "git", lambda: url)
    return root / "dags.git"


@pytest.fixture
def folder(tmp_path):
    """A folder of DAG files as an author has it."""
    folder = tmp_path / "dags"
    for name in ("support/dag.py", "support/__pycache__/dag.pyc", "new.py", ".git/HEAD", ".airflowignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("after\n")
    return folder


def files(repository):
    return git("ls-tree", "-r", "--name-only", "main", cwd=repository).split()


def test_what_is_pushed_replaces_what_has_its_name(repository, folder):
    commit = dags.push(folder)
    assert git("rev-parse", "main", cwd=repository).strip() == commit
    # support/old.py was deleted by the author; other/ and the README are not the author's.
    assert files(repository) == [
        "README.md",
        "dags/.airflowignore",
        "dags/new.py",
        "dags/other/dag.py",
        "dags/support/dag.py",
    ]
    assert git("show", "main:dags/support/dag.py", cwd=repository) == "after\n"
    assert git("show", "main:dags/other/dag.py", cwd=repository) == "before\n"
    assert git("log", "-1", "--format=%s", "main", cwd=repository).strip() == "DAGs of dags"


def test_nothing_is_committed_where_nothing_changed(repository, folder):
    first = dags.push(folder)
    assert dags.push(folder, "again") == first
    assert git("rev-list", "--count", "main", cwd=repository).strip() == "2"


def test_a_folder_takes_the_place_of_a_file_and_a_file_that_of_a_folder(repository, folder):
    dags.push(folder)
    (folder / "new.py").unlink()
    (folder / "new.py").mkdir()
    (folder / "new.py" / "dag.py").write_text("x")
    shutil.rmtree(folder / "support")
    (folder / "support").write_text("x")
    dags.push(folder)
    assert {"dags/new.py/dag.py", "dags/support"} <= set(files(repository))


def test_the_first_dags_of_a_repository(repository, folder):
    dags.push(folder)
    work = folder.parent / "work"
    git("clone", "--quiet", str(repository), str(work), cwd=folder)
    git("rm", "-r", "--quiet", "dags", cwd=work)
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "none", cwd=work)
    git("push", "--quiet", cwd=work)
    dags.push(folder)
    assert "dags/new.py" in files(repository)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(Problem, match=f"{tmp_path}/none is not a folder\n.*make dags-push FROM="):
        dags.push(tmp_path / "none")


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "dag.py").touch()
    with pytest.raises(Problem, match="dag.py is not a folder"):
        dags.push(tmp_path / "dag.py")


def test_a_folder_with_nothing_to_push(tmp_path):
    for name in (".git", "__pycache__"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(Problem, match="there is nothing in .*empty"):
        dags.push(tmp_path / "empty")


def test_the_password_is_in_no_argument_log_or_repository(repository, folder, fake, tmp_path):
    real = shutil.which("git")
    fake("git", f'echo "$@" >> {tmp_path}/arguments; exec {real} "$@"')
    dags.push(folder)
    arguments = (tmp_path / "arguments").read_text()
    assert "clone" in arguments
    log = (settings.STATE / "log" / "git.log").read_text()
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, quote(PASSWORD, safe=""), token):
        assert secret not in arguments + log


def test_a_wrong_password_is_git_s_error_without_it(repository, folder, monkeypatch):
    url = access.git().replace(quote(PASSWORD, safe=""), "wrong-one")
    monkeypatch.setattr(access, "git", lambda: url)
    with pytest.raises(Problem, match="git clone failed") as raised:
        dags.push(folder)
    assert "wrong-one" not in str(raised.value)


def test_whoever_has_a_name_commits_under_it(repository, folder, monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    dags.push(folder)
    assert git("log", "-1", "--format=%an %ae", "main", cwd=repository).strip() == "Ada ada@example.com"


def test_a_name_that_only_this_clone_knows_does_not_break_the_push(repository, folder, monkeypatch, tmp_path):
    """Git's configuration where make runs is not that of the temporary clone."""
    here = tmp_path / "here"
    git("init", "--quiet", str(here), cwd=tmp_path)
    git("config", "user.name", "Ada", cwd=here)
    git("config", "user.email", "ada@example.com", cwd=here)
    (tmp_path / "config").write_text("[user]\n\tuseConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.chdir(here)
    commit = dags.push(folder)
    assert git("log", "-1", "--format=%H %ae", "main", cwd=repository).split() == [commit, "local@localhost"]


@pytest.fixture
def served(monkeypatch):
    """What the pods that read DAGs have fetched, and Airflow has parsed; ``waited`` are the conditions, once each."""
    pods = [{"metadata": {"name": name, "labels": {"app.kubernetes.io/component": name}}} for name in PODS]
    links = dict.fromkeys(PODS, ".worktrees/new\n100.5\n")

    def kubectl(*words):
        return json.dumps({"items": pods}) if words[0] == "get" else links[words[words.index("-c") + 1]]

    def wait_for(what, check, *, seconds):
        if not check():
            raise Problem(f"{what}: not in time", "")

    monkeypatch.setattr(dags, "kubectl", kubectl)
    monkeypatch.setattr(dags, "wait_for", wait_for)
    return links


PODS = ("dag-processor", "scheduler")


class Airflow:
    def __init__(self, parsed):
        self.parsed = parsed

    def dag(self, dag_id):
        return self.parsed and {"last_parsed_time": self.parsed}

    def call(self, method, path):
        return {"import_errors": [{"filename": "team/dag.py", "stack_trace": "ModuleNotFoundError: nowhere"}]}


def test_a_dag_is_served_once_all_pods_have_the_commit_and_it_was_parsed_since(served):
    dags.wait_until_served(Airflow("1970-01-01T00:01:41Z"), "d", "new")


def test_a_dag_that_was_parsed_before_is_not(served):
    with pytest.raises(Problem, match=r"DAG d: not in time(.|\n)*team/dag.py:\nModuleNotFoundError: nowhere"):
        dags.wait_until_served(Airflow("1970-01-01T00:01:40Z"), "d", "new")
    with pytest.raises(Problem, match="DAG d: not in time"):
        dags.wait_until_served(Airflow(None), "d", "new")


@pytest.mark.parametrize("behind", PODS)
def test_a_pod_that_is_behind_is_waited_for(served, behind):
    served[behind] = ".worktrees/old\n99\n"
    with pytest.raises(Problem, match="commit new in the pods that read DAGs: not in time"):
        dags.wait_until_served(Airflow("1970-01-01T00:01:41Z"), "d", "new")
