import shutil
import socket
from types import SimpleNamespace

import pytest
from local.cluster import preflight, settings
from local.cluster.console import Problem


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GiB of memory and of free disk."""

    def machine(memory, disk):
        monkeypatch.setattr(
            preflight.os,
            "sysconf",
            {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": memory * 2**30 // 4096}.__getitem__,
        )
        monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=disk * 2**30))

    return machine


@pytest.fixture
def free_ports(monkeypatch):
    """Each setting names a port that is free: {name: port}."""
    with socket.socket() as one, socket.socket() as two, socket.socket() as three, socket.socket() as four:
        ports = {}
        for name, probe in zip(settings.PORTS, (one, two, three, four), strict=True):
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
    for name, number in ports.items():
        monkeypatch.setenv(settings.PORTS[name][0], str(number))
    return ports


@pytest.fixture
def docker_ps(fake):
    """What ``docker ps`` prints."""

    def docker_ps(*lines):
        text = "\n".join(lines)
        fake("docker", f"cat <<'END'\n{text}\nEND")

    docker_ps()
    return docker_ps


def first_line(raised):
    return str(raised.value).splitlines()[0]


def test_too_little_memory(machine):
    machine(memory=4, disk=100)
    with pytest.raises(Problem) as raised:
        preflight.check_room()
    assert first_line(raised) == "this machine has 4.0 GiB of memory; the local cluster needs 7"


def test_too_little_disk_for_a_first_run_names_the_place(machine, tmp_path):
    machine(memory=8, disk=10)
    with pytest.raises(Problem) as raised:
        preflight.check_room()
    assert first_line(raised).startswith(f"10.0 GiB of disk are free at {settings.CACHE}")
    assert first_line(raised).endswith("25 are needed")


def test_a_run_after_the_first_needs_less_disk(machine):
    (settings.CACHE / "go" / "go-1").mkdir(parents=True)
    (settings.CACHE / "go" / "go-1" / "complete").touch()
    machine(memory=8, disk=10)
    preflight.check_room()
    machine(memory=8, disk=7)
    with pytest.raises(Problem, match="8 are needed"):
        preflight.check_room()


def test_the_cache_need_not_exist_yet(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "CACHE", tmp_path / "not" / "there")
    machine(memory=8, disk=1)
    with pytest.raises(Problem, match=f"are free at {tmp_path} "):
        preflight.check_room()


def test_free_ports_are_fine(free_ports, docker_ps):
    preflight.check_ports()


@pytest.mark.parametrize("name", settings.PORTS)
def test_a_port_in_use_is_named_with_its_variable(free_ports, docker_ps, name):
    with socket.create_server(("127.0.0.1", free_ports[name])), pytest.raises(Problem) as raised:
        preflight.check_ports()
    assert f"port {free_ports[name]} " in first_line(raised)
    assert settings.PORTS[name][0] in first_line(raised)
    assert "in use" in first_line(raised)


def test_ports_of_this_cluster_are_not_in_use(free_ports, docker_ps):
    docker_ps(
        f"{settings.CLUSTER}-control-plane 127.0.0.1:43199->6443/tcp, 127.0.0.1:{free_ports['ui']}->30080/tcp",
        f"{settings.CLUSTER}-registry 127.0.0.1:{free_ports['registry']}->5000/tcp",
    )
    with (
        socket.create_server(("127.0.0.1", free_ports["ui"])),
        socket.create_server(("127.0.0.1", free_ports["registry"])),
    ):
        preflight.check_ports()


def test_ports_that_docker_shows_as_a_range_are_this_clusters(monkeypatch, docker_ps):
    docker_ps(f"{settings.CLUSTER}-control-plane 127.0.0.1:30080-30081->30080-30081/tcp")
    assert preflight._published() == {30080, 30081}


@pytest.mark.parametrize("container", ["somebody", f"{settings.CLUSTER}-2-control-plane"])
def test_a_port_of_another_container_is_in_use(free_ports, docker_ps, container):
    docker_ps(f"{container} 127.0.0.1:{free_ports['ui']}->30080/tcp")
    with socket.create_server(("127.0.0.1", free_ports["ui"])), pytest.raises(Problem, match="in use"):
        preflight.check_ports()


@pytest.mark.parametrize("given", ["http", "-1", "0", "65536", "80.5"])
def test_what_is_no_port_is_said(monkeypatch, docker_ps, given):
    monkeypatch.setenv("AIRFLOW_PLATFORM_UI_PORT", given)
    with pytest.raises(Problem, match=f"AIRFLOW_PLATFORM_UI_PORT={given}: that is not a port"):
        preflight.check_ports()


def test_an_empty_variable_means_the_default(monkeypatch):
    monkeypatch.setenv("AIRFLOW_PLATFORM_UI_PORT", "")
    assert settings.port("ui") == 8080


def test_two_settings_with_one_port(free_ports, docker_ps, monkeypatch):
    monkeypatch.setenv("AIRFLOW_PLATFORM_S3_PORT", str(free_ports["ui"]))
    with pytest.raises(Problem) as raised:
        preflight.check_ports()
    assert (
        first_line(raised) == f"AIRFLOW_PLATFORM_UI_PORT and AIRFLOW_PLATFORM_S3_PORT both name port {free_ports['ui']}"
    )
