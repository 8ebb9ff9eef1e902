import json

import pytest
from local.cluster import failure, settings


@pytest.fixture(autouse=True)
def clone(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "REPO", tmp_path)


def pod(namespace, name):
    return {"metadata": {"namespace": namespace, "name": name}}


def test_without_docker_kubectl_or_cluster_the_logs_of_the_steps_are_kept(bare_machine, capsys):
    (settings.STATE / "log").mkdir()
    (settings.STATE / "log" / "go.log").write_text("main.go:1: undefined\n")
    folder = failure.collect()
    assert (folder / "log" / "go.log").read_text() == "main.go:1: undefined\n"
    assert "kubectl is not there" in (folder / "pods.txt").read_text()
    assert "docker" in (folder / "docker.txt").read_text()
    assert capsys.readouterr().out == "what is left to look at is in state/failure/\n"


def test_what_an_earlier_run_left_is_gone(bare_machine):
    (failure.FOLDER / "logs").mkdir(parents=True)
    (failure.FOLDER / "logs" / "old.log").touch()
    assert not (failure.collect() / "logs").exists()


def test_a_cluster_that_does_not_answer(fake):
    fake("kubectl", "echo connection refused >&2; exit 1", settings.STATE / "bin")
    fake("docker", "echo nothing runs")
    folder = failure.collect()
    assert "connection refused" in (folder / "events.txt").read_text()
    assert (folder / "docker.txt").read_text() == "nothing runs\n"


def test_the_log_of_each_pod_of_ours(fake):
    pods = json.dumps({"items": [pod("airflow", "scheduler"), pod("support", "extract"), pod("kube-system", "etcd")]})
    fake(
        "kubectl",
        f"""
        case "$3 $*" in
          logs*broken*) exit 1;;
          logs*) echo "log of $6";;
          *"-o json"*) echo '{pods}';;
          *) echo "$4";;
        esac""",
        settings.STATE / "bin",
    )
    fake("docker", "")
    folder = failure.collect()
    assert {path.name: path.read_text() for path in (folder / "logs").iterdir()} == {
        "airflow-scheduler.log": "log of scheduler\n",
        "support-extract.log": "log of extract\n",
    }
    assert (folder / "events.txt").read_text() == "events\n"
