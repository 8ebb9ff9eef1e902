"""``airflow-platform new``: what it makes works as it is; what is wrong makes nothing."""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from airflow_platform import cli, new
from airflow_platform.rules import check

PLATFORM = {"nodePools": [{"name": "light", "slots": 8, "largest": {"cpu": "2", "memory": "4Gi"}}]}


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "images.yaml").write_text("# Versions.\nother: 2.0.0\n")
    (tmp_path / "images").mkdir()
    return tmp_path


def content(folder):
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*") if path.is_file()}


def make(repository, *words):
    return cli.main(["new", *words, "--repository", str(repository)])


@pytest.fixture(params=["python", "yaml"])
def both(repository, capsys, request):
    """An image and a DAG that runs it."""
    words = ["--team", "sales", "--image", "word-count", "--language", request.param]
    assert make(repository, "task", "word-count") == 0
    assert make(repository, "dag", "word_count", *words) == 0
    capsys.readouterr()
    return repository


def test_nothing_of_the_templates_is_left(both):
    for path, text in content(both).items():
        assert not str(path).endswith(".tmpl")
        assert "@" not in str(path)
        assert not any(f"@{word}@" in text for word in ("name", "module", "dag", "team", "image", "pool", "namespace"))


def test_the_catalogue_has_the_image(both):
    text = (both / "dags" / "images.yaml").read_text()
    assert text == "# Versions.\nother: 2.0.0\nword-count: 1.0.0\n"
    assert (both / "images" / "word-count" / "VERSION").read_text() == "1.0.0\n"


def test_the_tests_of_a_python_image_pass(both):
    folder = both / "images" / "word-count"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")]
    done = subprocess.run(words, env={"PYTHONPATH": str(folder / "src")}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("argument", "code", "said"),
    [("--text=to be or not", 0, "words: 4"), ("--text=", 2, "word-count: --text has no words"), ("-x", 2, "-x")],
)
def test_an_image_of_the_shell_does_the_same(repository, argument, code, said):
    assert make(repository, "task", "word-count", "--language", "shell") == 0
    words = ["bash", str(repository / "images/word-count/src/main.sh"), argument]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True)


def test_the_dag_keeps_to_the_rules(both):
    assert check(both / "dags", platform=PLATFORM) == []


def test_the_tests_of_the_dag_pass(both):
    (both / "pytest.ini").write_text("[pytest]\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/dags"]
    done = subprocess.run(words, cwd=both, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize(
    ("language", "file", "said"),
    [("python", "dag.py", 'schedule="0 3 * * *",'), ("yaml", "dag.yaml", 'schedule: "0 3 * * *"')],
)
def test_a_schedule_is_the_dag_s(repository, language, file, said):
    new.dag(repository, "nightly", "sales", "other", "sales", "light", "0 3 * * *", language)
    assert said in (repository / "dags/sales/nightly" / file).read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task", "Word"], "is no name of an image"),
        (["task", "word_count"], "is no name of an image"),
        (["task", "../word"], "is no name of an image"),
        (["task", "json"], "a name that Python or the platform has"),
        (["task", "airflow"], "a name that Python or the platform has"),
        (["task", "other"], "has an image other already"),
        (["task", "there"], "is there already"),
        (["task"], "NAME is missing"),
        (["dag", "Word", "--team", "sales", "--image", "other"], "is no name of a DAG"),
        (["dag", "word", "--team", "a/b", "--image", "other"], "is no name of a team"),
        (["dag", "word", "--team", "sales", "--image", "none"], "has no image 'none'"),
        (["dag", "word", "--team", "sales", "--image", "other", "--schedule", "daily"], "is no schedule"),
        (["dag", "word", "--image", "other"], "--team is missing"),
        (["dag", "there", "--team", "sales", "--image", "other"], "is there already"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_made(repository, capsys, words, said):
    (repository / "images" / "there").mkdir()
    (repository / "dags" / "sales" / "there").mkdir(parents=True)
    before = content(repository)
    assert make(repository, *words) == 1
    assert said in capsys.readouterr().err
    assert content(repository) == before


def test_elsewhere_than_in_a_repository(tmp_path, capsys):
    assert make(tmp_path, "task", "word-count") == 1
    assert "run this at the root of the repository" in capsys.readouterr().err


def test_nothing_stays_of_what_cannot_be_finished(repository, monkeypatch):
    def full(path, text):
        if path.name == "images.yaml" and "word-count" in text:
            raise OSError("No space left on device")
        return write_text(path, text)

    before, write_text = content(repository), Path.write_text
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        new.task(repository, "word-count")
    assert content(repository) == before
    assert not list((repository / "images").iterdir())


def test_a_person_is_asked_for_what_is_missing(repository, monkeypatch, capsys):
    answers = {"Name": "word_count", "Team": "sales", "Image": "other"}
    monkeypatch.setattr(builtins, "input", lambda question: answers.get(question.split()[0].rstrip(":"), ""))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert make(repository, "dag") == 0
    dag = yaml.safe_load((repository / "dags/images.yaml").read_text())
    assert dag == {"other": "2.0.0"}
    assert '"namespace": "sales"' in (repository / "dags/sales/word_count/dag.py").read_text()
