"""A release holds what the folder held, and its DAGs are the folder's, kept apart from all others."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_platform.command_error import CommandError
from airflow_platform.release import file
from airflow_platform.release.build import build
from airflow_platform.release.source import collect

DIGEST = "@sha256:" + "a1" * 32


@pytest.fixture
def release(repository, tmp_path):
    """Releases the folder as it is committed, into a folder of releases: the path of the file."""

    def release(version):
        found = build(collect(repository.folder), version, "")
        folder = tmp_path / "releases"
        folder.mkdir(exist_ok=True)
        path = folder / found.file_name
        path.write_bytes(found.render())
        return path

    return release


def test_a_release_parses_under_its_own_id_with_what_it_is_made_of(release, repository):
    bag = DagBag(release("1.3.0"))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    assert dag.dag_id == "report__1_3_0"
    commit = repository.git("rev-parse", "HEAD")
    assert {"research", "release:report", "version:1.3.0", f"commit:{commit[:12]}"} < set(dag.tags)
    assert f"worker:1.0.0{DIGEST}" in dag.doc_md
    assert dag.get_task("work").image == f"worker:1.0.0{DIGEST}"
    assert dag.get_task("query").bash_command == "echo first {{ ds }}\n"
    assert not dag.is_paused_upon_creation


def test_the_same_input_gives_the_same_bytes(release, repository):
    first = release("1.0.0").read_bytes()
    repository.put("other/dag.py", "")
    repository.commit("of another team")
    assert release("1.0.0").read_bytes() == first
    repository.put("research/report/tables.py", "NAMES = ['two']\n")
    repository.commit()
    assert release("1.0.0").read_bytes() != first


def test_two_versions_have_modules_and_templates_of_their_own(release, repository):
    release("1.0.0")
    repository.put("research/report/tables.py", "NAMES = ['two']\n")
    repository.put("research/report/more.py", "WHO = 'second'\n")
    repository.put("research/report/query.sh", "echo second {{ ds }}\n")
    repository.commit()
    folder = release("2.0.0").parent
    for _ in range(2):  # A second time nothing is left of the first.
        bag = DagBag(folder)
        assert bag.import_errors == {}
        one, two = bag.dags["report__1_0_0"], bag.dags["report__2_0_0"]
        assert [dag.get_task("work").arguments for dag in (one, two)] == [["one"], ["two"]]
        assert [dag.get_task("query").bash_command for dag in (one, two)] == [
            "echo first {{ ds }}\n",
            "echo second {{ ds }}\n",
        ]
        assert [dag.get_task("query").doc for dag in (one, two)] == ["first", "second"]
    assert "research" not in sys.modules


def test_an_import_that_is_made_later_is_the_releases_own(release, repository):
    release("1.0.0")
    repository.put("research/report/more.py", "WHO = 'second'\n")
    repository.commit()
    bag = DagBag(release("2.0.0").parent)
    files = [f"{bag.dags[name].template_searchpath[-1]}/dag.py" for name in ("report__1_0_0", "report__2_0_0")]
    modules = {getattr(module, "__file__", None): module for module in list(sys.modules.values())}
    assert [modules[name].late() for name in files] == ["first", "second"]


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("import research.report.more", "research.report.more.WHO"),
        ("import research.report.more as more", "more.WHO"),
        ("from research.report import more", "more.WHO"),
        ("from research.report.more import WHO as who", "who"),
        ("from . import more", "more.WHO"),
        ("from .more import WHO", "WHO"),
        ("import os, research.report.more as more", "os.fspath(more.WHO)"),
        ("from research import shared", "shared.WHO"),
    ],
)
def test_every_way_to_import_finds_the_release(release, repository, statement, value):
    repository.put("research/shared.py", "from research.report.more import WHO\n")
    repository.put("research/report/tables.py", f"{statement}\nNAMES = [{value}]\n")
    repository.commit()
    (dag,) = DagBag(release("1.0.0")).dags.values()
    assert dag.get_task("work").arguments == ["first"]


def test_other_imports_go_on_as_ever(release, repository):
    DagBag(release("1.0.0"))
    importlib.invalidate_caches()
    assert importlib.util.find_spec("research") is None
    assert importlib.util.find_spec("json")


def test_a_file_that_somebody_changed_is_put_right(release):
    path = release("1.0.0")
    (dag,) = DagBag(path).dags.values()
    unpacked = dag.template_searchpath[-1]
    with open(f"{unpacked}/query.sh", "w") as query:
        query.write("rm -rf /\n")
    (dag,) = DagBag(path).dags.values()
    assert dag.get_task("query").bash_command == "echo first {{ ds }}\n"


def _link(base, elsewhere):
    base.symlink_to(elsewhere, target_is_directory=True)


def _file(base, elsewhere):
    base.write_text("")


@pytest.mark.parametrize(
    ("make", "said"),
    [(_link, "is not this user's own: remove it"), (_file, "files cannot be unpacked: .* must be writable")],
)
def test_a_folder_that_somebody_else_made_is_not_taken(release, tmp_path, monkeypatch, make, said):
    path = release("1.0.0")
    (tmp_path / "elsewhere").mkdir()
    make(tmp_path / f"airflow-releases-{os.getuid()}", tmp_path / "elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    bag = DagBag(path)
    assert not bag.dags
    assert re.search(said, *bag.import_errors.values())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_fifty_versions_side_by_side_do_not_interfere(release, repository):
    for number in range(50):
        repository.put("research/report/tables.py", f"NAMES = ['{number}']\n")
        repository.commit()
        folder = release(f"1.{number}.0").parent
    ten = folder.parent / "ten"
    ten.mkdir()
    for number in range(10):
        shutil.copy(folder / f"report__1_{number}_0.py", ten)

    def seconds_each(where, count):
        began = time.process_time()
        bag = DagBag(where)
        assert (bag.import_errors, len(bag.dags)) == ({}, count)
        return (time.process_time() - began) / count, bag

    few, many, bag = seconds_each(ten, 10)[0], *seconds_each(folder, 50)
    assert many < 2 * few, "each further version costs what the first ones did"
    assert {name: dag.get_task("work").arguments for name, dag in bag.dags.items()} == {
        f"report__1_{number}_0": [str(number)] for number in range(50)
    }


@pytest.mark.parametrize(
    "content",
    [
        "", "\n", "one line", "a\nb\n", 'say "it"\nquote"', 'three """ and """"\n"""', "back\\slash\\n\n\\",
        "\r\n\t\x00\x85\u2028\n",
        "ü\n€ 漢\n", '\\"\\"\\"\n\\', "'''\n", "\n\"\"\"\n'", "\n\"\"\"\n'''",
        b"\x89PNG\r\n\xff", '""""""""\n"', "{braces}\n%s",
    ],
)  # fmt: skip
def test_content_is_kept_to_the_byte(content):
    release = file.Release(name="d", source="t/d", version="1.0.0", commit="c", files={"t/d/dag.py": content})
    assert file.read(release.render()) == release


def test_what_a_person_reads_is_the_code(release):
    assert "\nfrom research.report import tables\n" in release("1.0.0").read_text()


def test_tests_of_authors_and_what_git_does_not_have_stay_out(release, repository):
    found = file.read(release("1.0.0").read_bytes())
    assert set(found.files) == {
        "images.yaml",
        *(f"research/report/{name}" for name in ("dag.py", "tables.py", "more.py", "query.sh")),
    }
    assert found.files["images.yaml"] == f"other: 2.0.0\nworker: 1.0.0{DIGEST}\n"
    assert found.images == {"worker:1.0.0": f"worker:1.0.0{DIGEST}"}


def _unpinned(repository):
    repository.put("images.yaml", "worker: 1.0.0\n")


def _no_dag(repository):
    repository.put("research/report/dag.py", "# an airflow dag\n")


def _broken(repository):
    repository.put("research/report/tables.py", "import a_module_that_is_not_there\n")


def _unparsable(repository):
    repository.put("research/report/tables.py", "def\n")


def _by_name(repository):
    repository.put("research/report/more.py", "import importlib\nWHO = importlib.import_module('research.report.x')\n")


def _by_keyword(repository):
    repository.put("research/report/more.py", "import importlib\nimportlib.import_module(name='research.report.x')\n")


def _by_another_name(repository):
    code = "from importlib import import_module as load\nWHO = load('research.report.x')\n"
    repository.put("research/report/more.py", code)


def _literal_image(repository):
    dag = repository.folder / "dag.py"
    dag.write_text(dag.read_text().replace("f\"worker:{VERSIONS['worker']}\"", '"busybox:1.36"'))


def _image_of_a_run(repository):
    dag = repository.folder / "dag.py"
    dag.write_text(dag.read_text().replace("f\"worker:{VERSIONS['worker']}\"", '"worker:{{ params.version }}"'))


def _no_owner(repository):
    dag = repository.folder / "dag.py"
    dag.write_text(dag.read_text().replace('"owner": "research", ', ""))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_unpinned, "image worker:1.0.0 has no digest, and no registry is named.*by --registry, or write the digest"),
        (_no_dag, "makes no DAG"),
        (_broken, "does not parse:(.|\n)*a_module_that_is_not_there"),
        (_unparsable, "research/report/tables.py is no Python"),
        (_by_name, "more.py, line 2: import_module.. finds its module by name.*Write an import statement"),
        (_by_keyword, "more.py, line 2: import_module.. finds its module by name"),
        (_by_another_name, "more.py, line 2: import_module.. finds its module by name"),
        (_literal_image, "report__1_0_0.work has the image 'busybox:1.36', which no digest pins.*images.yaml"),
        (_image_of_a_run, "work has an image that only a run says"),
    ],
)
def test_what_cannot_be_released_is_said(release, repository, change, said):
    change(repository)
    repository.commit()
    with pytest.raises(CommandError, match=said):
        release("1.0.0")


@pytest.mark.rules
def test_what_does_not_keep_to_the_rules_for_dags_is_not_released(release, repository):
    _no_owner(repository)
    repository.commit()
    with pytest.raises(CommandError, match=r"  research/report/dag.py:\d+: owner: .*has no owner"):
        release("1.0.0")


@pytest.mark.rules
def test_an_image_whose_digest_the_catalogue_says_keeps_to_the_rules(release, repository):
    dag = repository.folder / "dag.py"
    size = '{"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}'
    text = dag.read_text().replace('tags=["research"]', 'tags=["research"], doc_md="A report."')
    dag.write_text(text.replace("arguments=", f"container_resources={size}, arguments="))
    repository.commit()
    (found,) = DagBag(release("1.0.0")).dags.values()
    assert found.get_task("work").image == f"worker:1.0.0{DIGEST}"


@pytest.mark.rules
def test_dags_without_a_catalogue_of_images_import_their_modules_from_the_folder_of_all(release, repository):
    repository.git("rm", "--quiet", "dags/images.yaml")
    dag = repository.folder / "dag.py"
    text = dag.read_text().replace("f\"worker:{VERSIONS['worker']}\"", f'"worker:1.0.0{DIGEST}"')
    dag.write_text("\n".join(line for line in text.splitlines() if not line.startswith("VERSIONS =")))
    repository.commit()
    with pytest.raises(CommandError) as raised:
        release("1.0.0")
    # It has other faults; that nothing imports is not among them.
    assert "ModuleNotFoundError" not in str(raised.value)
    assert "documentation" in str(raised.value)


def test_what_is_not_committed_is_not_released(release, repository):
    repository.put("research/report/new.sql", "select 1")
    with pytest.raises(CommandError, match=r"these are not: .*research/report/new.sql. Commit them first"):
        release("1.0.0")


def test_a_large_file_is_data(release, repository):
    repository.put("research/report/data.csv", "1,2,3\n" * 200_000)
    repository.commit()
    with pytest.raises(CommandError, match=r"the largest file in it is research/report/data.csv"):
        release("1.0.0")


def test_a_folder_that_is_none_is_said(tmp_path, repository):
    with pytest.raises(CommandError, match="is no folder"):
        collect(tmp_path / "none")
    with pytest.raises(CommandError, match=r"has no dag.py in git"):
        collect(repository.path / "dags" / "research")


def test_a_file_of_a_later_platform_is_refused(release):
    path = release("1.0.0")
    path.write_text(path.read_text().replace("format=1", "format=2"))
    (said,) = DagBag(path).import_errors.values()
    assert "is of format 2, and this Airflow's airflow-platform knows 1: upgrade the platform" in said


TEST = """
import pytest


@pytest.mark.parametrize(("version", "words"), [("1_0_0", "one"), ("2_0_0", "two"), ("1_0_0", "one")])
def test_it_runs(load_dag, version, words):
    run = load_dag(f"report__{version}").run()
    assert run.state == "success"
    assert run["work"].pod.arguments == [words]
    assert run["late"].xcoms["return_value"] == words
"""


def test_two_versions_run_in_one_process(release, repository, tmp_path):
    dag = repository.folder / "dag.py"
    late = '    PythonOperator(task_id="late", python_callable=late)\n'
    dag.write_text(
        dag.read_text().replace(
            "operators.bash import",
            "operators.python import PythonOperator\nfrom airflow.providers.standard.operators.bash import",
        )
        + late
    )
    for version, words in (("1.0.0", "one"), ("2.0.0", "two")):
        repository.put("research/report/tables.py", f"NAMES = [{words!r}]\n")
        repository.put("research/report/more.py", f"WHO = {words!r}\n")
        repository.commit()
        folder = release(version).parent
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\nairflow_dags = {folder}\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
