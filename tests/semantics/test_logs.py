"""The task's log is what its pod printed: all of it, once, in order, and soon."""

import json
import re
import time
from datetime import datetime

import pytest
from local.cluster.console import wait_for

MIB = 2**20


def _watch(first_seen, run, task_id, airflow):
    """The instance of a task that prints a line a second; adds {number: (when it was printed, when it was shown)}."""
    instance = run.instance(task_id)
    for line in airflow.log(instance):
        if match := re.search(r"line (\d+) at ([\d.]+)", line):
            first_seen.setdefault(int(match[1]), (float(match[2]), time.time()))
    return instance


@pytest.fixture(scope="module")
def first_seen(start, airflow):
    """{number of a line: (seconds since the epoch when it was printed, when the API first showed it)}."""
    run = start("semantics_log_live")
    run.running_pod("a_line_a_second")
    seen = {}

    def all_lines():
        instance = _watch(seen, run, "a_line_a_second", airflow)
        return len(seen) == 20 or instance["state"] in ("success", "failed")

    wait_for("20 lines", all_lines, seconds=120, every=0.2)
    return seen


@pytest.mark.beyond_stock("a worker reads in turns of some seconds")
def test_56895_a_line_can_be_read_three_seconds_after_it_was_printed(first_seen):
    assert sorted(first_seen) == list(range(1, 21))
    late = {number: round(shown - printed, 1) for number, (printed, shown) in first_seen.items() if shown - printed > 3}
    assert late == {}


def _own(lines):
    """What containers printed, without their names."""
    return [match[1] for line in lines if (match := re.match(r"\[(?:base|first|second|beside)\] (.*)", line))]


@pytest.mark.runs("semantics_log_containers")
def test_72504_init_containers_and_sidecars_are_in_the_log_in_order(run):
    run.ended()
    lines = _own(run.log("all"))
    main = [line for line in lines if line.startswith("M")]
    assert main == ["M1 of first", "M2 of second", "M3 of base", "M4 of base", "M5 of base"]
    assert [line for line in lines if line.startswith("N")] == ["N1 of beside", "N2 of beside", "N3 of beside"]
    assert _own(run.log("one_init_container")) == ["M2 of second", "M3 of base"]


@pytest.mark.runs("semantics_log_containers")
def test_a_log_that_was_not_asked_for_is_not_there(run):
    run.ended()
    assert run.instance("none")["state"] == "success"
    assert not any("] not in the log" in line for line in run.log("none"))


@pytest.mark.runs("semantics_log_containers")
@pytest.mark.parametrize(("task_id", "line"), [("no_prefix", "a plain line"), ("formatted", "<base> A FORMATTED LINE")])
def test_a_line_looks_as_the_task_wants_it(run, task_id, line):
    run.ended()
    # The stock operator keeps the newline of a line that it has formatted.
    assert [one.strip() for one in run.log(task_id)].count(line) == 1


@pytest.mark.runs("semantics_log_ends")
def test_no_line_is_too_odd_for_the_log(run):
    assert run.ended_task("odd_lines")["state"] == "success"
    lines = _own(run.log("odd_lines"))
    assert "".join(line for line in lines if line.startswith("x")).count("x") == 40_000
    assert [line for line in lines if not line.startswith("x")] == [
        "\\xff\\xfe bad",
        "ü € 🙂",
        "no newline at the end",
    ]


@pytest.mark.beyond_stock("the log ends with the pod's whole manifest")
@pytest.mark.runs("semantics_log_ends")
@pytest.mark.parametrize(
    ("task_id", "why"),
    [("out_of_memory", r"OOMKilled|[Oo]ut of memory"), ("exit_code", r"exit code 42|exit_code.: 42")],
)
def test_8722_the_end_of_the_log_says_why(run, task_id, why):
    assert run.ended_task(task_id)["state"] == "failed"
    lines = run.log(task_id)
    assert any(re.search(why, line) for line in lines[-3:]), lines[-3:]


@pytest.mark.runs("semantics_log_ends")
def test_a_secret_of_the_environment_is_not_in_the_log_of_a_failure(run):
    assert run.ended_task("secret_in_the_environment")["state"] == "failed"
    assert not any("hunter2-of-the-environment" in line for line in run.log("secret_in_the_environment"))


@pytest.mark.runs("semantics_log_ends")
def test_a_secret_beside_a_template_that_fails_is_not_in_the_log(run, airflow):
    instance = run.ended_task("template_that_fails")
    assert instance["state"] == "failed"
    assert any("Exception rendering Jinja template" in line for line in run.log("template_that_fails"))
    # With the traceback, too.
    found = airflow.call("GET", f"{run.path}/taskInstances/template_that_fails/logs/1?full_content=true")["content"]
    assert "'nothing' is undefined" in json.dumps(found)
    assert "hunter2-beside-a-template" not in json.dumps(found)


@pytest.mark.runs("semantics_log_ends")
def test_a_secret_that_airflow_knows_is_masked_wherever_the_pod_prints_it(run):
    assert run.ended_task("masked_secret")["state"] == "failed"
    lines = run.log("masked_secret")
    assert _own(lines) == ["logging in as postgres://me:***@host", "refused postgres://me:***@host"]
    said = "exit code 3 and said: logging in as postgres://me:***@host refused postgres://me:***@host."
    assert any(line.endswith(said) for line in lines)
    assert not any("hunter2-of-a-connection" in line for line in lines)


@pytest.fixture(scope="module")
def big(start, airflow, triggerer_memory):
    """The run with a task that prints a GiB; the bytes by which it made the triggerer grow, at most; and {number of a
    line of the task beside it: (when it was printed, when the API first showed it)} of all that were, meanwhile."""
    before = triggerer_memory()
    run = start("semantics_log_big")
    run.running_pod("beside")
    most, seen = [before], {}

    def ended():
        most.append(triggerer_memory())
        _watch(seen, run, "beside", airflow)
        return run.instance("big")["state"] in ("success", "failed")

    wait_for("the end of the big log's task", ended, seconds=600, every=0.2)
    return run, max(most) - before, seen


@pytest.fixture(scope="session")
def triggerer_memory(kubectl):
    """Bytes that the triggerer's processes hold, without what the kernel caches of files."""
    count = """
import glob
lines = (line for name in glob.glob("/proc/[0-9]*/status") for line in open(name))
print(sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
"""

    def triggerer_memory():
        found = kubectl(
            "exec", "-n", "airflow", "deployment/airflow-triggerer", "-c", "triggerer", "--", "python3", "-c", count
        )
        return int(found) * 1024

    return triggerer_memory


@pytest.mark.parametrize(("task_id", "printed"), [("rotated", 10_500), ("big", 214_500)])
def test_71567_a_log_that_rotates_is_whole_or_says_what_it_lacks(big, airflow, task_id, printed):
    instance = big[0].instance(task_id)
    assert instance["state"] == "success"
    _, lines = wait_for("its log in S3", lambda: airflow.stored_log(instance), seconds=120)
    numbers = [int(match[1]) for line in lines if (match := re.match(r"\[base\] (\d{6}) x", line))]
    assert numbers == sorted(set(numbers)), "a line came twice, or out of order"
    missing = printed - len(numbers)
    assert missing == 0 or any(re.search("may be missing|cut off", line) for line in lines if "xxx" not in line)


def test_73044_a_big_log_does_not_grow_the_triggerer(big):
    _, growth, _ = big
    assert growth < 50 * MIB


@pytest.mark.beyond_stock("a worker reads in turns of some seconds")
def test_73044_a_big_log_does_not_hold_up_that_of_another_task(big):
    run, _, seen = big
    (pod,) = run.pods("big")
    # Its triggerer reads for longer than it prints.
    began, ended = pod.started("base").timestamp(), datetime.fromisoformat(run.instance("big")["end_date"]).timestamp()
    meanwhile = {number: shown - printed for number, (printed, shown) in seen.items() if began < printed < ended}
    assert len(meanwhile) >= 5
    assert {number: round(late, 1) for number, late in meanwhile.items() if late > 3} == {}
