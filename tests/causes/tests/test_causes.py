"""What is counted of faults, and how; and that each fault has a task."""

import ast
import json
from types import SimpleNamespace

import pytest
import yaml
from tests.causes import figures, logs, page, recording, work
from tests.causes.cases import CASES, FAILED, SHORT
from tests.causes.figures import Outcome
from tests.causes.logs import Line
from tests.causes.sight import Seen, Sight, ended, pod_event, taken, unscheduled, waiting
from tests.causes.trial import Task
from tests.observe.pods import Pod, PodEvent

START = 1767225600.0  # 2026-01-01


def state(phase="Pending", *, conditions=(), statuses=(), **metadata):
    metadata = {"name": "task-1a2b3c4d", "namespace": "support", "uid": "u", **metadata}
    metadata.setdefault("creationTimestamp", "2026-11-25T18:00:00Z")
    return {
        "metadata": metadata,
        "spec": {"nodeName": "worker", "restartPolicy": "Never", "containers": [{"name": "base", "image": "i"}]},
        "status": {"phase": phase, "conditions": list(conditions), "containerStatuses": list(statuses)},
    }


def base(**of):
    return {"name": "base", "image": "i", "state": of}


def sight(*states, events=()):
    changes = [PodEvent(START + number, "MODIFIED", "u", "") for number in range(len(states))]
    pod = Pod("u", states[-1], changes, list(states))
    return Sight([pod], [Seen(START + 100, one) for one in events])


def faults():
    """{name: …} of the DAG file, which only Airflow's image can import."""
    tree = ast.parse((work.SOURCE / "dag.py").read_text())
    (found,) = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "FAULTS")
    return [key.value for key in found.keys]


def test_each_fault_has_a_task_and_each_task_a_fault():
    assert faults() == list(CASES)
    assert set(SHORT) <= set(CASES)


def test_no_fault_is_named_by_words_that_any_log_has():
    common = "Task task-1a2b3c4d failed. Pod task-1a2b3c4d returned a failure in namespace support on node worker."
    assert [name for name, case in CASES.items() if case.named_in(common)] == []


@pytest.mark.parametrize(
    ("shown", "late"),
    [
        (waiting("ErrImagePull"), state(statuses=[base(waiting={"reason": "ErrImagePull"})])),
        (unscheduled, state(conditions=[{"type": "PodScheduled", "status": "False"}])),
        (ended, state("Running", statuses=[base(terminated={"exitCode": 0})])),
        (taken, state("Running", deletionTimestamp="2026-11-25T18:00:00Z")),
        (taken, state("Running", conditions=[{"type": "DisruptionTarget", "status": "True"}])),
    ],
)
def test_a_fault_is_shown_by_the_first_state_that_has_it(shown, late):
    assert shown(sight(state(), state("Running"))) is None
    assert shown(sight(state(), late, late)) == START + 1


def test_a_volume_is_shown_by_an_event():
    assert pod_event("FailedMount")(sight(state(), events=[{"reason": "Pulling"}])) is None
    assert pod_event("FailedMount")(sight(state(), events=[{"reason": "FailedMount"}])) == START + 100


def test_a_log_is_read_as_a_person_reads_it():
    content = [
        {"event": "::group::sources"},
        "a text",
        {"event": "second", "timestamp": "2026-01-01T00:00:02.123456789Z", "level": "error"},
        {"event": "[base] exit code 3", "timestamp": "2026-01-01T00:00:01Z"},
        {
            "event": "Task failed with exception",
            "timestamp": "2026-01-01T00:00:01Z",
            "error_detail": [{"exc_value": "Pod failed.\nremote_pod: {'api_version': 'v1',\n 'exit_code': 3}"}],
        },
        {"event": "Pod as it was: " + "exit code 3 " * 400},
        {
            "event": "(403)\nReason: Forbidden\nHTTP response body: no",
            "timestamp": "2026-01-01T00:00:03Z",
        },
    ]
    found = logs.lines(content)
    refused = ["(403)", "Reason: Forbidden", "HTTP response body: no"]
    plain = [line for line in found if line.plain]
    assert [line.text for line in plain] == ["Task failed with exception", "Pod failed.", "second", *refused]
    assert (plain[2].level, int(plain[2].time)) == ("error", int(START) + 2)
    assert [line.text[:40] for line in found if not line.plain] == [
        "Pod as it was: exit code 3 exit code 3 e",
        "remote_pod: {'api_version': 'v1',\n 'exit",
    ]


def task(name, *, launch="platform", told=None, text="", evidence=None, **instance):
    pods = SimpleNamespace(pods=lambda **_: one.pods)
    one = sight(state(statuses=[base(terminated={"exitCode": 3})]))
    events = SimpleNamespace(of=lambda _: [])
    made = Task(
        CASES[name], launch, None, pods, events, SimpleNamespace(seen=[]), SimpleNamespace(run_id="causes-1"), instance
    )
    made.log = [Line(START, "info", "Pod was created"), Line(START + 3, "error", text)]
    made.evidence = evidence
    if told is not None:
        made.told_at, made.told_line = told, made.log[1]
    return made


def test_a_row_has_class_line_and_times():
    verdict = {"kind": "user", "cause": "exit-code", "certain": True}
    one = task(
        "exit-3",
        told=START + 4,
        text="ended with exit code 3",
        evidence={"verdict": verdict},
        state=FAILED,
        end_date="2026-01-01T00:00:05Z",
    )
    found = figures.outcome(one, None)
    assert (found.right, found.line, found.line_s, found.stop_s, found.notes) == (
        True,
        "ended with exit code 3",
        4.0,
        5.0,
        [],
    )


def test_an_end_that_was_not_expected_is_noted_and_stock_gives_no_class():
    verdict = {"kind": "user", "cause": "killed", "certain": True}
    one = task("exit-3", text="Pod failed", evidence={"verdict": verdict}, state="success")
    assert len(figures.outcome(one, None).notes) == 2
    one.launch = "stock"
    found = figures.outcome(one, None)
    assert (found.kind, found.named, found.line, found.notes) == (None, False, "Pod failed", [])


def outcomes(*, kind="user", certain=True, named=True, line_s=1.0, stop_s=2.0):
    return [
        Outcome(name, "platform", case.state, True, case.kind, case.cause, True, True, "line", "line", 1.0, 2.0)
        for name, case in CASES.items()
        if name != "exit-3"
    ] + [Outcome("exit-3", "platform", FAILED, True, kind, "exit-code", certain, named, "line", "line", line_s, stop_s)]


def verdicts(**of):
    return {one["figure"]: one["verdict"] for one in figures.figures(outcomes(**of))}


def test_figures_hold_and_are_missed():
    assert set(verdicts().values()) == {"met"}
    assert verdicts(kind="platform")[figures.WRONG.name] == "missed"
    assert verdicts(kind="platform", certain=False)[figures.WRONG.name] == "met"
    assert verdicts(stop_s=46.0)[figures.STOP.name] == "missed"
    assert verdicts(stop_s=None)[figures.STOP.name] == "missed"
    # One of them all does not carry the share or the percentile; five do.
    assert verdicts(named=False, line_s=None)[figures.LINE.name] == "met"
    slow = [*outcomes(line_s=16.0)[-1:] * 5, *outcomes()[5:]]
    assert {one["figure"]: one["verdict"] for one in figures.figures(slow)}[figures.LINE.name] == "missed"


def test_the_page_is_written_from_what_was_kept(tmp_path):
    page.keep(outcomes(), "Kubernetes v1", (1.25, 4), tmp_path)
    stock = Outcome("exit-3", "stock", FAILED, True, line="Pod | failed", stop_s=9.0)
    page.keep([stock], "Kubernetes v1", (2, 3), tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| exit code 3 | platform | user | failed | yes | 1.0 s | 2.0 s | line |" in text
    assert "| – | failed | **no** | never | 9.0 s | Pod \\| failed |" in text
    assert "platform, 1.2 and 4; stock operator, 2 and 3." in text
    assert "**stock operator**: 0 of 1 faults" in text
    assert len(json.loads((tmp_path / "latest.json").read_text())["results"]) == len(CASES) + 1


def test_a_recorded_pod_is_the_same_at_each_run_and_judged_as_it_was(tmp_path):
    def recorded(name, uid, when):
        one = task("exit-3", told=START, text="exit code 3")
        failed = state(
            "Failed",
            name=name,
            uid=uid,
            creationTimestamp=f"2026-11-25T{when}:00Z",
            statuses=[
                {
                    **base(terminated={"exitCode": 3, "finishedAt": f"2026-11-25T{when}:07Z", "reason": "Error"}),
                    "containerID": f"containerd://{uid[0] * 64}",
                }
            ],
        )
        failed["status"]["podIP"] = "10.244.1.7"
        pod = Pod(uid, failed, [PodEvent(START, "MODIFIED", uid, "Failed")], [failed])
        one.pods = SimpleNamespace(pods=lambda **_: [pod])
        one.evidence = {"saved": f"2026-11-25T{when}:09Z", "verdict": {"cause": "exit-code"}}
        return recording.of(one, [])

    first = recorded("task-1a2b3c4d", "11111111-2222-3333-4444-555555555555", "18:01")
    assert first == recorded("task-aaaaaaaa", "99999999-2222-3333-4444-555555555555", "19:30")
    assert first["now"] == "2026-01-01T00:00:09Z"
    assert first["verdict"]["exit_code"] == 3
    recording.save({"exit-3": first}, [], "Kubernetes v1", tmp_path)
    assert yaml.safe_load((tmp_path / "exit-3.yaml").read_text())["sentence"] == first["sentence"]


def test_a_line_about_the_task_or_of_kubernetes_alone_does_not_name_a_fault():
    one = task("no-room", text="Pod task-1 waits for 0.3 CPU on a node")
    one.log += [
        Line(START, "info", "Building pod task with labels {'run_id': 'causes-1'}, waits for CPU"),
        Line(START, "info", "Pod event: FailedScheduling: 1 Insufficient cpu"),
    ]
    assert [line.text for line in one.naming()] == ["Pod task-1 waits for 0.3 CPU on a node"]
    one.launch = "stock"
    assert len(one.naming()) == 2


def test_of_the_stock_operator_the_whole_log_counts_wherever_the_words_stand():
    one = task("secret-missing", text="Pod failed")
    one.log += [
        Line(START, "info", 'The Pod has an Event: Error: secret "causes-none"'),
        Line(START, "info", "remote_pod: {'message': 'secret \"causes-none\" not found'}", plain=False),
    ]
    assert one.where() == ""
    one.launch = "stock"
    assert one.where() == "object"
    one.log.append(Line(START, "error", "it was not found"))
    assert one.where() == "lines"
    one.log.append(Line(START, "error", 'secret "causes-none" not found'))
    assert one.where() == "line"


def test_a_second_pod_while_the_first_may_run_is_noted():
    one = task("exit-3", told=START, state=FAILED)
    changes = [PodEvent(START, "ADDED", "a", "Running"), PodEvent(START + 9, "DELETED", "a", "Failed")]
    first = Pod("a", state(), changes, [state(), state()])
    second = Pod("b", state(), [PodEvent(START + 8, "ADDED", "b", "Pending")], [state()])
    one.pods = SimpleNamespace(pods=lambda **_: [first, second])
    assert "a second pod was there while the first might still run" in figures.outcome(one, None).notes
    second.events[0] = PodEvent(START + 9, "ADDED", "b", "Pending")
    assert figures.outcome(one, None).notes == []


def test_a_node_is_known_as_it_was_at_a_time():
    def nodes(*names):
        return [{"metadata": {"name": name}, "number": number} for number, name in enumerate(names)]

    seen = Sight([], [], [(START, nodes("a", "b")), (START + 10, nodes("b"))])
    assert [one["number"] for one in seen.node("b", START + 9)] == [1]
    assert [one["number"] for one in seen.node("b", START + 11)] == [0]
    assert seen.node("a", START + 11) == seen.node("a", START - 1) == []
