"""The rules for DAGs: each finds what it is for, at its line, and leaves what keeps to it."""

import json
import re
import subprocess
import sys
import textwrap

import pytest

from airflow_platform import cli
from airflow_platform.catalogue import root_of
from airflow_platform.release.file import Release
from airflow_platform.rules import RulesError, check
from airflow_platform.rules.command import platform_of
from airflow_platform.rules.rules import RULES

SIZE = {"cpu": "1", "memory": "1Gi"}
PLATFORM = {
    "nodePools": [
        {"name": "light", "slots": 8, "largest": {"cpu": "2", "memory": "4Gi"}},
        {"name": "gpu", "slots": 1, "resources": {"requests": SIZE, "limits": {"memory": "1Gi"}}},
    ]
}

HEAD = """
from datetime import UTC, datetime, timedelta
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
DAG_ = {"tags": ["team"], "doc_md": "What it is for.", "start_date": datetime(2026, 1, 1, tzinfo=UTC)}
TASK = {"owner": "team", "retries": 1, "pool": "light", "execution_timeout": timedelta(hours=1), "image": "work:1.2.3",
        "container_resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}}
"""

#: By file: its text below HEAD, where the line with a comment "wrong: <rule>[, <rule>]" is where these find something.
FILES = {
    "good": """
        with DAG("good", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="work", **TASK)
            KubernetesPodOperator.partial(task_id="mapped", **TASK).expand(arguments=[["a"], ["b"]])
            KubernetesPodOperator(task_id="digest", **TASK | {"image": "work:1.2.3@sha256:" + "0" * 64})
            KubernetesPodOperator(task_id="pinned", **TASK | {"image": "pinned:1.2.3@sha256:" + "0" * 64})
            KubernetesPodOperator(task_id="tag_of_pinned", **TASK | {"image": "pinned:1.2.3"})
            KubernetesPodOperator(task_id="digest_alone", **TASK | {"image": "play:1.2.3@sha256:" + "0" * 64})
            KubernetesPodOperator(task_id="of_pool", **TASK | {"pool": "gpu", "container_resources": None})
            KubernetesPodOperator(  # allow retries: it sends a letter
                task_id="once", **TASK | {"retries": 0})
    """,
    "bare": """
        with DAG("bare"):  # wrong: tags, documentation, start-date, catchup
            KubernetesPodOperator(task_id="x", image="work")  # wrong: owner, retries, timeout, pool, image, resources
    """,
    "images": """
        with DAG("images", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="latest", **TASK | {"image": "work:latest"})  # wrong: image
            KubernetesPodOperator(task_id="port", **TASK | {"image": "localhost:5000/work"})  # wrong: image
            KubernetesPodOperator(task_id="template", **TASK | {"image": "work:{{ params.version }}"})  # wrong: image
            KubernetesPodOperator(task_id="other", **TASK | {"image": "work:1.2.4"})  # wrong: image
            KubernetesPodOperator(task_id="unknown", **TASK | {"image": "play:1.2.3"})  # wrong: image
            other_digest = TASK | {"image": "pinned:1.2.3@sha256:" + "1" * 64}
            KubernetesPodOperator(task_id="other_digest", **other_digest)  # wrong: image
            other_tag = TASK | {"image": "pinned:1.2.4@sha256:" + "0" * 64}
            KubernetesPodOperator(task_id="other_tag", **other_tag)  # wrong: image
    """,
    "pools": """
        with DAG("pools", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="misspelt", **TASK | {"pool": "lihgt"})  # wrong: pool
            KubernetesPodOperator(task_id="large", **TASK | {"container_resources": {  # wrong: platform
                "requests": {"cpu": "3", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}})
    """,
    "allowed": """
        with DAG("allowed", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="no_reason", **TASK | {"retries": 0})  # allow retries  # wrong: retries
    """,
    "second": """
        with DAG("good", schedule=None, catchup=False, **DAG_):  # wrong: unique-id
            KubernetesPodOperator(task_id="work", **TASK)
    """,
    "broken": """
        with DAG("broken", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="work", **TASK, no_such_argument=1)  # wrong: imports
    """,
    "reaches": """
        import socket
        from airflow.sdk import Variable
        try:
            Variable.get("a")  # wrong: top-level
        except RuntimeError:
            pass
        socket.create_connection(("127.0.0.1", 9))  # wrong: top-level
        DAG("reaches")
    """,
    "slow": """
        import time
        end = time.process_time() + 4
        while time.process_time() < end:
            pass
        with DAG("slow", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="work", **TASK)
    """,
    "ends": """
        import os
        os._exit(3)
        DAG("ends")
    """,
    "subdag": """
        from airflow.operators.subdag import SubDagOperator  # wrong: no-subdag
        DAG("subdag")
    """,
}  # fmt: skip

#: What is found of a whole file.
AT_THE_TOP = {("slow.py", 1, "parse-time"), ("ends.py", 1, "imports")}


@pytest.fixture(scope="module")
def dags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dags")
    (folder / "images.yaml").write_text(f"work: 1.2.3\npinned: 1.2.3@sha256:{'0' * 64}\n")
    for name, text in FILES.items():
        (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(text))
    return folder


@pytest.fixture(scope="module")
def found(dags):
    return check(dags, platform=PLATFORM)


def expected(dags):
    for name in FILES:
        for number, line in enumerate((dags / f"{name}.py").read_text().splitlines(), start=1):
            if "# wrong: " in line:
                for rule in line.partition("# wrong: ")[2].split(", "):
                    yield f"{name}.py", number, rule


def test_each_rule_finds_what_it_is_for_and_nothing_else(dags, found):
    assert {(one.file.name, one.line, one.rule) for one in found} == {*expected(dags), *AT_THE_TOP}


def test_each_rule_was_tried(found):
    assert {one.rule for one in found} == {*RULES, "unique-id"}


def test_a_finding_says_what_to_do(found):
    assert all(
        "; " in one.message and "\n" not in one.message for one in found if one.rule not in ("imports", "platform")
    )


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("pools.py", "task pools.misspelt names the pool 'lihgt', which does not exist; set pool to one of gpu, light"),
        ("images.py", "task images.other runs work:1.2.4, and images.yaml says 1.2.3; take the version from there"),
        ("second.py", "DAG good is made at good.py:9 already; give it another dag_id"),
        ("reaches.py", "the file reaches a Variable while it is imported; do that in a task, or in a template"),
    ],
)
def test_what_is_said(found, file, said):
    assert said in [one.message for one in found if one.file.name == file]


def test_the_command_prints_a_line_a_finding_and_ends_with_1(dags, tmp_path, capsys, monkeypatch):
    values = tmp_path / "values.yaml"
    values.write_text(json.dumps(PLATFORM))
    monkeypatch.chdir(dags)
    code = cli.main(["check", str(dags / "bare.py"), "--values", str(values)])
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert "bare.py:9: catchup: DAG bare does not say" in "\n".join(lines)
    assert len(lines) == 10


def test_a_release_is_not_judged_again_but_has_to_be_imported(tmp_path):
    (tmp_path / "images.yaml").write_text("work: 1.2.4\n")
    (tmp_path / "releases").mkdir()
    code = HEAD + textwrap.dedent(FILES["good"]) + textwrap.dedent(FILES["bare"])
    for version, text in (("1.0.0", code), ("2.0.0", "import nothing")):
        files = {"team/report/dag.py": text}
        release = Release(name="report", source="team/report", version=version, commit="c" * 40, files=files)
        (tmp_path / "releases" / release.file_name).write_bytes(release.render())
    (found,) = check(tmp_path)
    assert (found.file.name, found.rule) == ("report__2_0_0.py", "imports")
    assert "No module named 'nothing'" in found.message


@pytest.mark.parametrize("kueue", [True, False])
def test_a_task_may_have_any_priority_class_where_kueue_keeps_the_quota(tmp_path, kueue):
    values, dag = tmp_path / "values.yaml", tmp_path / "dag.py"
    pool = {"name": "light", "slots": 8, "quota": {"pods": "6"}}
    values.write_text(json.dumps({"kueue": {"enabled": kueue}, "nodePools": [pool]}))
    text = """
        with DAG("urgent", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="work", **TASK, priority_class_name="urgent")
    """
    dag.write_text(HEAD + textwrap.dedent(text))
    found = check(dag, platform=platform_of([values]))
    assert [one.rule for one in found] == ([] if kueue else ["platform"])


@pytest.mark.parametrize("declared", [True, False])
def test_a_task_may_name_a_pool_that_is_declared(tmp_path, declared):
    values, dag = tmp_path / "values.yaml", tmp_path / "dag.py"
    pools = [{"name": "orders-api", "slots": 4}] if declared else []
    values.write_text(json.dumps({"nodePools": [{"name": "light", "slots": 8}], "declared": {"pools": pools}}))
    text = """
        with DAG("orders", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="work", **{**TASK, "pool": "orders-api"})
    """
    dag.write_text(HEAD + textwrap.dedent(text))
    found = [one.rule for one in check(dag, platform=platform_of([values]))]
    assert ("pool" not in found) == declared


def test_quantities_of_values_may_be_numbers(tmp_path):
    values, dag = tmp_path / "values.yaml", tmp_path / "dag.py"
    pool = {"name": "light", "slots": 8, "resources": {"requests": {"cpu": 0.5}}, "quota": {"pods": 6}}
    values.write_text(json.dumps({"nodePools": [pool]}))
    text = """
        with DAG("orders", schedule=None, catchup=False, **DAG_):
            KubernetesPodOperator(task_id="work", **TASK)
    """
    dag.write_text(HEAD + textwrap.dedent(text))
    assert check(dag, platform=platform_of([values])) == []
    pool["quota"] = {"pods": "six"}
    with pytest.raises(RulesError, match=r"nodePools\[0\].quota.pods: .*'six' is not a quantity"):
        check(dag, platform={"nodePools": [pool]})


@pytest.mark.parametrize("text", ["- light", "nodePools: [{slots: 8}]", "nodePools: [light]", "declared: {pools: 3}"])
def test_what_is_no_values_file_is_said(tmp_path, text):
    (tmp_path / "values.yaml").write_text(text)
    with pytest.raises(RulesError, match="values.yaml is no values file of the chart"):
        platform_of([tmp_path / "values.yaml"])


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RulesError, match="there is nothing at"):
        check(tmp_path / "dags")


def test_the_root_is_where_the_catalogue_is(tmp_path):
    (tmp_path / "dags" / "team" / "one").mkdir(parents=True)
    (tmp_path / "dags" / "images.yaml").touch()
    assert root_of(tmp_path / "dags" / "team" / "one") == tmp_path / "dags"
    assert root_of(tmp_path) == tmp_path


def test_a_values_file_without_pools_is_refused(dags, tmp_path, capsys):
    (tmp_path / "values.yaml").write_text("config: {}")
    assert cli.main(["check", str(dags), "--values", str(tmp_path / "values.yaml")]) == 1
    assert "no nodePools in" in capsys.readouterr().err


def test_the_suite_fails_by_rule_and_says_where(dags, tmp_path):
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nairflow_dags = {dags / 'pools.py'}\nairflow_values = values.yaml\n"
    )
    (tmp_path / "values.yaml").write_text(json.dumps(PLATFORM))
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--pyargs", "airflow_platform.rules"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    failed = set(re.findall(r"^FAILED .*\[(.+)\]", done.stdout, flags=re.MULTILINE))
    assert failed == {"pool", "platform"}
    assert f"{dags / 'pools.py'}:10: pool: task pools.misspelt names the pool" in done.stdout
