"""DAGs as YAML files: what they make, what is wrong with them by file and line, and that clients are apart."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from jsonschema import Draft7Validator

from airflow_platform.rules import check
from airflow_platform.yaml_dag import model

EXAMPLE = Path(__file__).parent / "dags" / "declared"
DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    """The example, to be changed."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "dags"))


def change(file, old, new):
    text = file.read_text()
    assert text.count(old) >= 1
    file.write_text(text.replace(old, new, 1), errors="surrogateescape")


def import_all(folder):
    bag = DagBag(folder / "dag.py", collect_dags=False)
    bag.process_file(str(folder / "dag.py"), only_if_updated=False)
    return bag


def line_of(file, text):
    lines = file.read_text(errors="surrogateescape").splitlines()
    return max(number for number, line in enumerate(lines, start=1) if text in line)


def test_what_it_makes_runs_as_it_says(load_dag):
    run = load_dag("declared__acme").run(logical_date=DAY)
    assert run.state == "success"
    assert run.order == ["extract", "count", "report"]
    assert run.most_at_once("count") == 3
    extract = run["extract"].pod
    assert extract.image == "orders-extract:1.2.0"
    assert extract.arguments == ["--root=s3://orders/acme", "--day=2026-01-31"]
    assert extract.secrets == {"AWS_REGION": "orders-s3/region", "DSN": "orders-acme/dsn"}
    assert [one.pod.arguments for one in run.all("count")] == [[f"--batch={n}", "--of=3"] for n in range(3)]
    assert run["report"].pod.command == ["report", "--html"]
    assert run["report"].pod.environment == {"CLIENT": "acme", "DAY": "2026-01-31"}
    assert run["report"].pod.limits == {"memory": "256Mi"}
    outputs = run["report"].pod.object["metadata"]["annotations"]["airflow-platform/outputs"]
    assert outputs == "s3://orders/acme/2026-01-31/report.html s3://orders/acme/2026-01-31/counts.json"


def test_a_client_has_its_own_secret_schedule_and_pool(load_dag):
    run = load_dag("declared__globex").run(logical_date=DAY)
    assert run["extract"].pod.secrets["DSN"] == "globex-db/dsn"
    assert {one.task_id: one.pool for one in run.tasks} == {
        "extract": "narrow",
        "count": "narrow",
        "report": "default_pool",
    }
    assert run["extract"].started.hour == 6


def test_an_exit_code_says_that_there_is_nothing_to_do(load_dag, cluster):
    cluster.pod("extract").exits(99)
    run = load_dag("declared__initech").run(logical_date=DAY)
    assert set(run.states.values()) == {"skipped"}


def test_the_settings_of_the_dag_and_its_tasks(folder):
    dag = import_all(folder).dags["declared__acme"]
    assert (dag.catchup, dag.max_active_runs, dag.tags) == (False, 1, {"sales", "acme"})
    assert dag.doc_md == "Counts the orders of a client."
    assert dag.start_date == datetime(2026, 1, 1, tzinfo=UTC)
    assert dag.fileloc == str(folder / "dag.py")
    extract = dag.get_task("extract")
    assert (extract.owner, extract.namespace, extract.retries) == ("sales", "sales", 2)
    assert (extract.retry_delay, extract.execution_timeout) == (timedelta(minutes=1), timedelta(hours=1))
    assert not extract.do_xcom_push


def test_it_runs_on_the_last_day_too(folder):
    change(folder / "dag.yaml", "catchup: false", "end_date: 2026-01-31\ncatchup: true")
    made = import_all(folder).dags["declared__globex"]  # 0 6 * * *
    dag = DagSerialization.from_dict(DagSerialization.to_dict(made))
    days = [info.logical_date for info in dag.iter_dagrun_infos_between(None, dag.end_date)]
    assert (len(days), days[-1]) == (31, datetime(2026, 1, 31, 6, tzinfo=UTC))


def test_adding_a_client_is_one_line(folder):
    with (folder / "clients.yaml").open("a") as file:
        file.write("hooli: {batches: 1}\n")
    assert "declared__hooli" in import_all(folder).dags


@pytest.mark.parametrize("name", ["../clients.yaml", "lists/clients.yaml", "[a, b]"])
def test_the_clients_are_beside_the_dag(folder, name):
    change(folder / "dag.yaml", "clients: clients.yaml", f"clients: {name}")
    (error,) = import_all(folder).import_errors.values()
    line = line_of(folder / "dag.yaml", f"clients: {name}")
    assert f"dag.yaml:{line}: the name of a file in this folder is expected" in error


def test_merge_keys_are_yaml(folder):
    change(folder / "dag.yaml", "limits: {memory: 256Mi}", "limits: {<<: {memory: 256Mi}}")
    limits = import_all(folder).dags["declared__acme"].get_task("extract").container_resources.limits
    assert limits == {"memory": "256Mi"}


def test_one_dag_without_clients(folder):
    text = (folder / "dag.yaml").read_text().replace("clients: clients.yaml\n", "")
    (folder / "dag.yaml").write_text(
        text.replace("-${client}", "").replace("/${client}", "").replace("${client}", "none")
    )
    bag = import_all(folder)
    assert (list(bag.dags), bag.import_errors) == (["declared"], {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('schedule: "@daily"', 'schedule: "@dayly"', "found '@dayly'"),
        ("after: [count]", "after: [report]", "tasks run in a circle: report before report"),
        ("secret: orders", "secret: ${pool}", "${pool} is filled in a parameter only where there are clients"),
    ],
)
def test_what_is_wrong_without_clients_has_file_and_line(folder, old, new, said):
    file = folder / "dag.yaml"
    text = file.read_text().replace("clients: clients.yaml\n", "")
    file.write_text(text.replace("-${client}", "").replace("/${client}", "").replace("${client}", "none"))
    change(file, old, new)
    at = "schedule: ${schedule}" if "dayly" in new else new
    (error,) = import_all(folder).import_errors.values()
    assert f"{file}:{line_of(file, at)}: " in error
    assert said in error


def test_numbers_that_are_as_they_are_written_are_texts_and_numbers(folder):
    change(folder / "dag.yaml", 'DAY: "{{ ds }}"', "A: 5, B: 1.5, C: -3, D: '01234', E: 1.0e-6")
    env_vars = import_all(folder).dags["declared__acme"].get_task("report").env_vars
    assert {one.name: one.value for one in env_vars if one.value} == {
        "CLIENT": "acme",
        "A": "5",
        "B": "1.5",
        "C": "-3",
        "E": "1e-06",
        "D": "01234",
    }


def test_a_tasks_own_variable_holds_whichever_kind_the_default_is(folder):
    file = folder / "dag.yaml"
    change(file, "AWS_REGION: orders-s3/region?", "DSN: orders-db/dsn\n  env_vars: {CLIENT: all, TOKEN: default}")
    change(file, "DSN: ${secret}/dsn", "TOKEN: orders-api/token")
    change(file, 'DAY: "{{ ds }}"', "DSN: sqlite")
    dag = import_all(folder).dags["declared__acme"]

    def variables(task):
        return [(one.name, one.value or one.value_from.secret_key_ref.name) for one in dag.get_task(task).env_vars]

    assert variables("extract") == [("CLIENT", "all"), ("DSN", "orders-db"), ("TOKEN", "orders-api")]
    assert variables("report") == [("TOKEN", "default"), ("CLIENT", "acme"), ("DSN", "sqlite")]


def test_who_is_told_of_a_client_with_an_error_is_filled_in_as_far_as_it_is_known(folder):
    (folder / "clients.yaml").write_text("acme: {team: acme-team}\nbroken: {team: b-team, batches: three}\n")
    change(
        folder / "dag.yaml",
        "parameters:",
        'notify: {webhook: "${hook}", email: ["${client}@example.com", "${team}@example.com"]}\n'
        "parameters:\n  hook: slack_${client}\n  team: null",
    )

    def told(client):
        dag = import_all(folder).dags[f"declared__{client}"]
        assert DagSerialization.to_dict(dag)["dag"]["has_on_failure_callback"]
        (callback,) = dag.on_failure_callback
        return callback.webhook, callback.email

    assert told("acme") == ("slack_acme", ["acme@example.com", "acme-team@example.com"])
    assert told("broken") == ("slack_broken", ["broken@example.com"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bad: {batches: three}", "tasks.count.times: input should be a valid integer"),
        ("bad: {batches: 0}", "tasks.count.times: input should be greater than 0; found 0"),
        ("bad: {batch: 3}", "batch is no parameter; there are: schedule, pool, batches, secret"),
        ("bad: [3]", "a mapping is expected, as `bad: {batches: 3}`"),
        ("bad: {batches: 3", "this is not YAML"),
        ("bad", "a client is expected, as `acme: {batches: 3}`"),
        ("acme: {batches: 1}", "client acme is there twice; keep one"),
        ("bad: {secret: No Secret}", "tasks.extract.secrets.DSN: string should match pattern"),
        ("bad: {schedule: often}", "schedule: @daily and the like, or a cron expression is expected; found 'often'"),
        ("bad: {secret: 012}", "012 is the number 10 in YAML; write it in quotes, or as 10 where a number is meant"),
        ("bad: {schedule: 2026-02-30}", "2026-02-30 cannot be read: day is out of range for month; correct it, or "),
        ("bad: {schedule: !mine 1}", "this is not YAML: could not determine a constructor for the tag '!mine'"),
        ("bad: {schedule: {{ ds }}}", "what is before a colon is no name; write a template, {{ }}, in quotes"),
        ("{{ ds }}: {batches: 3}", "what is before a colon is no name"),
        ("bad: {schedule: \a}", "this is not YAML: the character #x07 is none that can be printed, or not UTF-8"),
        ("bad: {schedule: \udce9}", "this is not YAML: the character #xdce9 is none that can be printed, or not UTF-8"),
        ("bad: &bad {schedule: *bad}", "this is nested too deeply, or in itself"),
    ],
)
def test_a_client_with_an_error_does_not_touch_the_others(folder, line, said):
    clients = folder / "clients.yaml"
    change(clients, "broken: {batches: three}", line)
    bag = import_all(folder)
    assert bag.import_errors == {}
    assert {"declared__acme", "declared__globex", "declared__initech"} < set(bag.dags)
    (broken,) = [dag for dag in bag.dags.values() if "broken" in dag.tags]
    assert f"{clients}:{line_of(clients, line)}: " in broken.doc_md
    assert said in broken.doc_md
    with pytest.raises(Exception, match="clients.yaml:5: "):
        broken.get_task("declaration").execute({})


def test_the_dag_of_a_client_with_an_error_has_the_clients_name_where_it_can_be_read(folder):
    change(folder / "clients.yaml", "broken: {batches: three}", "broken:\n  batches: 3\n  schedule: 2026-02-30")
    broken = import_all(folder).dags["declared__broken"]
    assert f"{folder / 'clients.yaml'}:7: 2026-02-30 cannot be read" in broken.doc_md


@pytest.mark.parametrize("name", ["4711", "no", "2026-02-30", "0x10"])
def test_a_clients_name_is_what_is_written(folder, name):
    change(folder / "clients.yaml", "broken: {batches: three}", f"{name}: {{batches: 1}}")
    assert import_all(folder).dags[f"declared__{name}"].tags == {"sales", name}


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_list_of_clients_may_be_json(folder, indent):
    clients = {"acme": {"batches": 3}, "globex": {"pool": "narrow"}, "broken": {"batches": "three"}, "initech": {}}
    text = json.dumps(clients, indent=indent)
    (folder / "clients.yaml").write_text(text)
    bag = import_all(folder)
    assert (set(bag.dags), bag.import_errors) == ({f"declared__{name}" for name in clients}, {})
    line = text[: text.index("broken")].count("\n") + 1
    assert f"clients.yaml:{line}: client broken: " in bag.dags["declared__broken"].doc_md


def test_every_error_of_a_line_is_said(folder):
    (folder / "clients.yaml").write_text("{acme: {}, acme: {}, 'two words': {}}")
    said = import_all(folder).dags["declared__line_1"].doc_md
    assert "client acme is there twice" in said
    assert "a client is expected" in said


def test_a_client_in_braces_on_lines_of_its_own(folder):
    change(folder / "clients.yaml", "broken: {batches: three}", "hooli: {\n  batches: 1\n}")
    dags = import_all(folder).dags
    assert set(dags) == {f"declared__{name}" for name in ("acme", "globex", "initech", "hooli")}


def test_what_the_platform_refuses_of_a_client_does_not_touch_the_others(folder, write_config):
    write_config("nodePools: [{name: narrow, slots: 1}]")
    change(folder / "clients.yaml", "broken: {batches: three}", "bad: {pool: wide}")
    bag = import_all(folder)
    assert bag.import_errors == {}
    assert len(bag.dags) == 4
    assert "names the pool 'wide', which does not exist" in bag.dags["declared__bad"].doc_md


def test_the_run_of_a_client_with_an_error_fails_and_says_why(load_dag):
    run = load_dag("declared__broken").run(logical_date=DAY)
    assert run.states == {"declaration": "failed"}
    assert any("clients.yaml:5: client broken: " in line for line in run["declaration"].log)


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("owner: sales", "ownr: sales", "ownr", "ownr is not known here; take it out, or correct its name"),
        ("owner: sales\n", "", "dag: declared", "owner is missing; add it"),
        ("tags: [sales]", "tags: [", "schedule: ${schedule}", "this is not YAML"),
        ("after: [count]", "after: [cuont]", "tasks:", "task report comes after cuont, which is no task; there are: "),
        ("retry_delay: 1m", "retry_delay: 1 minute", "1 minute", "a duration is expected, as 30s, 90m or 2h30m"),
        ("${batches}", "${batch}", "${batch}", "${batch} is no parameter; there are: "),
        ("  report:\n", "  count:\n", "  count:", "count is there twice; keep one"),
        ("clients.yaml", "none.yaml", None, "none.yaml:1: cannot be read: No such file"),
        ("dag: declared", "- dag", None, "dag.yaml:"),
        ("2026-01-01", "2026-02-30", "2026-02-30", "2026-02-30 cannot be read: day is out of range for month"),
        ("schedule: ${schedule}", "schedule: {{ ds }}", "schedule: {{", "write a template, {{ }}, in quotes"),
        ("dag: declared", "dag: declared\a", "\a", "the character #x07 is none that can be printed"),
        (
            "retries: 2",
            "retries: 010",
            "010",
            "010 is the number 8 in YAML; write it in quotes, or as 8 where a number",
        ),
        ('"--day={{ ds }}"]', "01234]", "01234", "01234 is the number 668 in YAML"),
        ('DAY: "{{ ds }}"', "CUTOFF: 12:30", "12:30", "12:30 is the number 750 in YAML"),
        ('DAY: "{{ ds }}"', "ID: 1_000", "1_000", "1_000 is the number 1000 in YAML"),
        ('DAY: "{{ ds }}"', "MODEL: 1.10", "1.10", "1.10 is the number 1.1 in YAML"),
        ("    times: ${batches}\n", "", "--batch=", "${index} is known only in `arguments` of a task with `times`"),
        ("{{ ds }}/counts", "${index}/counts", "outputs:", "${index} is known only in `arguments`"),
        ('DAY: "{{ ds }}"', 'BATCH: "${index}"', "BATCH", "${index} is known only in `arguments`"),
        (
            "    command: [",
            "    secrets: {DAY: orders/day}\n    command: [",
            "secrets: {DAY",
            "tasks.report.secrets: env_vars has DAY, too; keep one",
        ),
        ("${schedule}", '"@dayly"', '"@dayly"', "or a cron expression is expected; found '@dayly': Exactly 5, 6 or 7"),
        (
            "    skip_on_exit_code: 99",
            "    after: [report]",
            "after: [report]",
            "tasks run in a circle: extract before count before report before extract; take one out of an `after`",
        ),
        ("after: [count]", "after: [report]", "after: [report]", "tasks run in a circle: report before report"),
    ],
)
def test_what_is_wrong_for_all_is_an_import_error_with_file_and_line(folder, old, new, at, said):
    file = folder / "dag.yaml"
    change(file, old, new)
    (error,) = import_all(folder).import_errors.values()
    assert said in error
    if at:
        assert f"{file}:{line_of(file, at)}: " in error


def test_an_image_that_the_catalogue_lacks(folder):
    (folder / "images.yaml").write_text("orders-extract: 1.2.0\n")
    change(folder / "dag.yaml", "orders-extract:1.2.0", "orders-extract")
    change(folder / "dag.yaml", "orders-count:2.0.1", "orders-cuont")
    (error,) = import_all(folder).import_errors.values()
    assert "images.yaml has no image 'orders-cuont'; there are: orders-extract" in error
    change(folder / "dag.yaml", "orders-cuont", "orders-count:2.0.1")
    assert import_all(folder).dags["declared__acme"].get_task("extract").image == "orders-extract:1.2.0"


def test_the_rules_find_what_is_wrong_at_its_line_in_the_yaml(folder):
    change(folder / "dag.yaml", "orders-report:1.0.0", "orders-report:latest")
    found = check(folder)
    clients, dag = folder / "clients.yaml", folder / "dag.yaml"
    assert {(one.file, one.line, one.rule) for one in found} == {
        (clients, 5, "imports"),
        (dag, line_of(dag, "  report:"), "image"),
    }
    assert "client broken: " in next(one.message for one in found if one.rule == "imports")


def test_the_schema_is_that_of_the_model():
    said = "run `python -m airflow_platform.yaml_dag.model` in images/airflow/src"
    assert json.loads(model.SCHEMA.read_text()) == model.schema(), said


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("", "", []),
        ("owner: sales", "ownr: sales", ["ownr", "owner"]),
        ("retry_delay: 1m", "retry_delay: 1 minute", ["1 minute"]),
        ("times: ${batches}", "times: many", ["many"]),
        ("DSN: ${secret}/dsn", "DSN: dsn", ["dsn"]),
    ],
)
def test_editors_see_what_is_wrong(folder, old, new, wrong):
    if old:
        change(folder / "dag.yaml", old, new)
    read = yaml.safe_load((folder / "dag.yaml").read_text())
    read = json.loads(json.dumps(read, default=str))
    said = "\n".join(error.message for error in Draft7Validator(model.schema()).iter_errors(read))
    assert bool(said) == bool(wrong)
    assert all(word in said for word in wrong)
