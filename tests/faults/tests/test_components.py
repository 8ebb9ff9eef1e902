"""Parts that are taken away come back, whatever happens meanwhile."""

import pytest
from local.cluster.console import Problem
from tests.faults import components, nodes
from tests.faults.nodes import Container

ONE, OTHER = Container("node", "1", "one"), Container("node", "2", "other")


@pytest.fixture
def commands(monkeypatch):
    """What is done on nodes, in order; a command with a word of ``commands.fail`` in it fails."""

    class Commands(list):
        fail = ()

        def run(self, _node, script, **_):
            self.append(" ".join(script.removeprefix(f"{nodes.CTR} ").split()))
            if any(word in self[-1] for word in self.fail):
                raise Problem("no running task found", "")
            return ""

    found = Commands()
    monkeypatch.setattr(nodes, "run", found.run)
    return found


def test_what_is_frozen_goes_on_at_the_end(commands):
    with components.frozen(ONE, OTHER):
        commands.append("meanwhile")
    assert commands == ["pause 1", "pause 2", "meanwhile", "resume 2", "resume 1"]


def test_a_container_that_is_too_busy_to_be_frozen_is_tried_again(monkeypatch):
    answers = ["OCI runtime pause failed: unable to freeze", ""]

    def run(node, script):
        if answer := answers.pop(0):
            raise Problem(answer, "")

    monkeypatch.setattr(nodes, "run", run)
    ONE.freeze()
    assert answers == []


def test_it_goes_on_when_the_test_fails_meanwhile(commands):
    with pytest.raises(Problem, match="of the test"), components.frozen(ONE):
        raise Problem("of the test", "")
    assert commands[-1] == "resume 1"


def test_what_was_killed_while_frozen_need_not_go_on(commands):
    commands.fail = ("resume 1",)
    with components.frozen(ONE, OTHER):
        ONE.kill()
    assert commands[-2:] == ["resume 2", "resume 1"]


def test_a_container_that_cannot_be_frozen_is_a_problem_unless_it_may_be_gone(commands):
    commands.fail = ("pause 2",)
    with pytest.raises(Problem), components.frozen(ONE, OTHER):
        pytest.fail("must not come so far")
    assert "resume 1" in commands
    with components.frozen(ONE, OTHER, may_be_gone=True):
        pass


def test_only_running_containers_of_pods_that_stay_are_killed(commands, monkeypatch):
    def pod(name, *, running=True, going=False):
        state = {"running": {}} if running else {"waiting": {}}
        status = {"name": "scheduler", "state": state, "containerID": f"containerd://{name}"}
        metadata = {"name": name} | ({"deletionTimestamp": "now"} if going else {})
        return {
            "metadata": metadata,
            "spec": {"nodeName": "node"},
            "status": {"containerStatuses": [status]},
        }

    items = [pod("a"), pod("b", running=False), pod("c", going=True)]
    monkeypatch.setattr(components, "kubectl", lambda *_: components.json.dumps({"items": items}))
    components.kill("scheduler", whole_pod=False)
    assert commands == ["kill --signal SIGKILL a"]


def test_a_workload_is_scaled_back_when_the_test_fails_meanwhile(monkeypatch):
    scaled, owners = [], [{"manager": "helm"}, {"manager": "kubectl", "subresource": "scale"}]

    def kubectl(verb, *words):
        if verb == "patch":
            [step] = components.json.loads(words[-1])
            assert step["op"] == "remove"
            del owners[int(step["path"].rpartition("/")[2])]
        if verb == "scale":
            scaled.append(int(words[-1].partition("=")[2]))
        now = scaled[-1] if scaled else 3
        status = {"replicas": now, "readyReplicas": now}
        metadata = {"managedFields": owners}
        return components.json.dumps({"metadata": metadata, "spec": {"replicas": now}, "status": status})

    monkeypatch.setattr(components, "kubectl", kubectl)
    with pytest.raises(RuntimeError), components.scaled("local", "statefulset/s3", 0):
        raise RuntimeError
    assert scaled == [0, 3]
    # Helm may set another number.
    assert owners == [{"manager": "helm"}]
