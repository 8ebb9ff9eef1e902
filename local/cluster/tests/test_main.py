import fcntl

import pytest
from local.cluster import __main__ as cluster
from local.cluster import kind, settings


def test_two_at_once_do_not_undo_each_others_work(capsys):
    with (settings.CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (["up"], ["down"]):
            assert cluster.main(command) == 1
            assert capsys.readouterr().err.startswith("error: another `make` works on the local cluster\n")


def test_down_where_docker_is_missing(bare_machine, capsys):
    assert cluster.main(["down"]) == 0
    assert capsys.readouterr().out == "no Docker engine here: nothing to remove\n"


@pytest.mark.parametrize("command", [["smoke"], ["status"], ["dags-push", "dags"]])
def test_what_needs_a_cluster_says_how_to_make_one(monkeypatch, capsys, command):
    monkeypatch.setattr(cluster.access, "link_programs", lambda: None)
    monkeypatch.setattr(kind, "is_up", lambda: False)
    assert cluster.main(command) == 1
    assert capsys.readouterr().err == "error: the local cluster is not up\n       Run `make up`.\n"


def test_up_stops_before_anything_is_built(monkeypatch, capsys, bare_machine):
    monkeypatch.setattr(cluster.preflight, "MEMORY_GIB", 1e6)
    assert cluster.main(["up"]) == 1
    assert "GiB of memory; the local cluster needs 1000000\n" in capsys.readouterr().err
    assert [path.name for path in settings.CACHE.iterdir()] == ["lock"]


def test_an_unknown_command(capsys):
    with pytest.raises(SystemExit) as raised:
        cluster.main(["upp"])
    assert raised.value.code == 2
    assert "dags-push" in capsys.readouterr().err
