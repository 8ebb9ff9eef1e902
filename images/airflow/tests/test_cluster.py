import asyncio
import contextlib
import gc
import json
import re
import ssl
import stat
import warnings
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import msgspec
import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from api_server import ApiServer, asynchronous, kubeconfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes_asyncio.config import incluster_config, kube_config

from airflow_platform import cluster as module
from airflow_platform.cluster import ApiError, Cluster, ClusterConfigError, ClusterRef
from airflow_platform.watch import PodWatch


@pytest.fixture(autouse=True)
def no_pod(monkeypatch, tmp_path):
    """Neither a service account nor a kubeconfig of whoever runs the tests."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))


@pytest.fixture
def eager(monkeypatch):
    """Files are looked at before each request."""
    monkeypatch.setattr(module, "LOOK", 0)
    monkeypatch.setattr(module, "REST", 0)


@pytest.fixture
def connection(monkeypatch):
    """Set an Airflow connection's extras."""

    def connection(conn_id, **extra):
        content = json.dumps({"conn_type": "kubernetes", "extra": extra})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", content)

    return connection


@pytest.fixture
def config(tmp_path):
    def config(api, user=None, **cluster):
        return kubeconfig(tmp_path / "kubeconfig", api.url, user, **cluster)

    return config


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that is its own CA; its file, and what a server needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path, key_path = tmp_path / "ca.crt", tmp_path / "server.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path, key_path)
    return path, server


@pytest.fixture
def service_account(monkeypatch, tmp_path, certificate):
    """Put the process into a pod of the cluster; its token's file."""
    token = tmp_path / "token"
    token.write_text("first")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate[0]))

    def service_account(api):
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
        return token

    return service_account


@contextlib.asynccontextmanager
async def secure(certificate):
    api = await ApiServer().start(ssl=certificate[1])
    async with api:
        yield api


@asynchronous
async def test_a_request_is_json_both_ways(config):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        patch = "application/merge-patch+json"
        answer = await cluster.request(
            "PATCH", "/echo", query={"dryRun": True, "limit": 5}, body={"a": "ü"}, content_type=patch
        )
        assert (answer["method"], answer["type"], answer["body"]) == ("PATCH", patch, '{"a":"ü"}')
        assert answer["query"] == {"dryRun": "true", "limit": "5"}
        assert await cluster.request("DELETE", "/echo", query={"empty": 1}) == {}
        assert api.requests[0][2] == "Bearer secret"


@asynchronous
async def test_an_error_says_what_the_api_server_says(config):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        with pytest.raises(ApiError) as caught:
            await cluster.request("GET", "/api/v1/namespaces/team/pods/a")
        assert (caught.value.status, caught.value.reason, caught.value.message) == (404, "NotFound", "pods not found")
        with pytest.raises(ApiError, match="503 Service Unavailable: no backend"):
            await cluster.request("GET", "/echo", query={"text": "no backend"})
        with pytest.raises(ApiError, match="200 Unreadable: The answer to GET /echo"):
            await cluster.request("GET", "/echo", decode=msgspec.json.Decoder(list).decode)


@asynchronous
async def test_a_request_that_hangs_times_out(config):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        api.open.clear()
        with pytest.raises(TimeoutError):
            await cluster.request("GET", "/echo", timeout=0.05)


@asynchronous
async def test_requests_at_once_are_bounded(config):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        api.open.clear()
        waiting = [asyncio.create_task(cluster.request("GET", "/echo")) for _ in range(module.CONCURRENCY + 8)]
        await api.until(lambda: api.at_once == module.CONCURRENCY)
        api.open.set()
        await asyncio.gather(*waiting)
        assert api.most_at_once == module.CONCURRENCY


@asynchronous
async def test_a_cluster_is_shared_by_all_that_name_it(config):
    async with ApiServer() as api:
        path = config(api)
        first, *others = await asyncio.gather(*(Cluster.get(ClusterRef(None, config_file=path)) for _ in range(5)))
        assert all(other is first for other in others)
        assert await Cluster.get(ClusterRef(None, config_file=path, context="nowhere")) is not first


@pytest.mark.parametrize("name", ["kube_config", "extra__kubernetes__kube_config"])
@asynchronous
async def test_a_connection_brings_a_kubeconfig(config, connection, tmp_path, name):
    async with ApiServer() as api:
        config(api)
        connection("other", **{name: (tmp_path / "kubeconfig").read_text()})
        cluster = await Cluster.get(ClusterRef("other"))
        assert (await cluster.request("GET", "/echo"))["method"] == "GET"
        assert api.requests[0][2] == "Bearer secret"


@asynchronous
async def test_arguments_go_before_the_connection(config, connection):
    async with ApiServer() as api:
        connection("other", kube_config_path="/none", cluster_context="nowhere")
        cluster = await Cluster.get(ClusterRef("other", context="here", config_file=config(api)))
        await cluster.request("GET", "/echo")
        assert str(cluster) == api.url


@asynchronous
async def test_the_text_of_a_kubeconfig_will_do_and_is_not_shown(config):
    async with ApiServer() as api:
        with open(config(api)) as file:
            ref = ClusterRef(None, kubeconfig=file.read())
        await (await Cluster.get(ref)).request("GET", "/echo")
        assert "secret" not in repr(ref)


@asynchronous
async def test_only_the_default_connection_may_be_missing(config, monkeypatch):
    async with ApiServer() as api:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", config(api))
        await (await Cluster.get(ClusterRef("kubernetes_default"))).request("GET", "/echo")
        with pytest.raises(AirflowNotFoundException):
            await Cluster.get(ClusterRef("missing"))


@asynchronous
async def test_two_sources_are_refused_by_name(connection):
    connection("other", in_cluster=True, kube_config="{}")
    with pytest.raises(ClusterConfigError, match=r"'other'.* in 2 ways: in_cluster; kube_config\. Keep one"):
        await Cluster.get(ClusterRef("other"))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"kube_config_path": "/none/kubeconfig"}, "There is no kubeconfig /none/kubeconfig"),
        ({"kube_config": "just words"}, "is no kubeconfig"),
        ({"kube_config": "a: 1\ntoken: 'hidden\n"}, r"is not YAML \(line \d\)"),
        ({"kube_config": "{current-context: x, contexts: []}"}, "object with name x in kube-config/contexts"),
        ({"in_cluster": True}, "Service host/port is not set"),
    ],
)
@asynchronous
async def test_what_cannot_be_read_is_said(connection, extra, message, eager):
    connection("other", **extra)
    with pytest.raises(ClusterConfigError, match=message) as caught:
        await Cluster.get(ClusterRef("other"))
    assert "hidden" not in str(caught.value)
    connection("other", kube_config="{}")
    with pytest.raises(ClusterConfigError, match="current-context"):
        await Cluster.get(ClusterRef("other"))


@asynchronous
async def test_of_a_crowd_the_first_alone_finds_out_that_a_cluster_cannot_be_opened(connection, config, monkeypatch):
    connection("other", kube_config="just words")
    opened = []
    monkeypatch.setattr(module, "_load", lambda source, load=module._load: (opened.append(source), load(source))[1])
    answers = await asyncio.gather(*(Cluster.get(ClusterRef("other")) for _ in range(100)), return_exceptions=True)
    assert {type(one) for one in answers} == {ClusterConfigError}
    assert len(opened) == 1
    # Put right, it is opened once the rest is over, and not before.
    async with ApiServer() as api:
        connection("other", kube_config_path=config(api))
        with pytest.raises(ClusterConfigError):
            await Cluster.get(ClusterRef("other"))
        monkeypatch.setattr(module.time, "monotonic", lambda now=module.time.monotonic: now() + module.REST)
        assert await (await Cluster.get(ClusterRef("other"))).request("GET", "/echo")


@asynchronous
async def test_in_a_pod_it_is_the_pod_s_cluster(service_account, certificate, eager):
    async with secure(certificate) as api:
        token = service_account(api)
        api.token = "first"
        cluster = await Cluster.get(ClusterRef("kubernetes_default"))
        await cluster.request("GET", "/echo")
        api.token = "second"
        token.write_text("second")
        await cluster.request("GET", "/echo")
        # The new token was seen in its file, not after a 401.
        assert [authorization for *_, authorization in api.requests] == ["Bearer first", "Bearer second"]


@asynchronous
async def test_to_say_in_cluster_once_more_is_no_other_cluster(service_account, certificate, connection):
    async with secure(certificate) as api:
        service_account(api)
        home = await Cluster.get(ClusterRef("kubernetes_default"))
        for conn_id in ("kubernetes_default", None):
            assert await Cluster.get(ClusterRef(conn_id, in_cluster=True)) is home


@asynchronous
async def test_in_cluster_is_not_where_the_connection_leads_to(service_account, certificate, config, connection):
    async with secure(certificate) as api, ApiServer() as other:
        service_account(api)
        connection("kubernetes_default", kube_config_path=config(other))
        here = await Cluster.get(ClusterRef(None, in_cluster=True))
        assert str(here) == api.url
        assert str(await Cluster.get(ClusterRef("kubernetes_default"))) == other.url


@asynchronous
async def test_a_cluster_of_another_ca_is_not_trusted(certificate, config, connection):
    async with secure(certificate) as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await cluster.request("GET", "/echo")
        path = config(api, **{"certificate-authority": str(certificate[0])})
        await (await Cluster.get(ClusterRef(None, config_file=path, context="here"))).request("GET", "/echo")
        connection("careless", disable_verify_ssl=True, kube_config_path=config(api))
        await (await Cluster.get(ClusterRef("careless"))).request("GET", "/echo")


@asynchronous
async def test_after_a_401_credentials_are_read_once_more(service_account, certificate, monkeypatch):
    monkeypatch.setattr(module, "REST", 0)
    async with secure(certificate) as api:
        token = service_account(api)
        cluster = await Cluster.get(ClusterRef(None, in_cluster=True))
        api.token = "second"
        token.write_text("second")
        await cluster.request("GET", "/echo")
        assert [authorization for *_, authorization in api.requests] == ["Bearer first", "Bearer second"]
        api.token = "third"
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await cluster.request("GET", "/echo")
        assert len(api.requests) == 4


def plugin(tmp_path, expires="2999-01-01T00:00:00Z"):
    """A kubeconfig's user with an exec plugin, which counts its runs in the file ``runs`` and tells the number."""
    script = tmp_path / "plugin"
    script.write_text(
        f"#!/bin/sh\necho >> {tmp_path}/runs\nn=$(wc -l < {tmp_path}/runs)\n"
        'echo "{\\"apiVersion\\": \\"client.authentication.k8s.io/v1\\", \\"kind\\": \\"ExecCredential\\", '
        f'\\"status\\": {{\\"token\\": \\"run$n\\", \\"expirationTimestamp\\": \\"{expires}\\"}}}}"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}}


@asynchronous
async def test_a_plugin_runs_once_and_again_after_a_401(config, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOOK", 0)
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api, plugin(tmp_path))))
        cluster._read = -module.REST
        api.token = "run2"
        answers = await asyncio.gather(*(cluster.request("GET", "/echo") for _ in range(20)))
        assert len(answers) == 20
        assert (tmp_path / "runs").read_text() == "\n\n"
        # Those that are refused for good do not run it each time.
        api.token = "other"
        answers = await asyncio.gather(*(cluster.request("GET", "/echo") for _ in range(20)), return_exceptions=True)
        assert {answer.status for answer in answers} == {401}
        assert (tmp_path / "runs").read_text() == "\n\n"


@asynchronous
async def test_a_plugin_runs_for_a_connection_and_not_for_what_a_task_gives(config, connection, tmp_path, eager):
    async with ApiServer() as api:
        with open(config(api, plugin(tmp_path))) as file:
            given = file.read()
        connection("other", kube_config=given)
        await (await Cluster.get(ClusterRef("other"))).request("GET", "/echo")
        ran = (tmp_path / "runs").read_text()
        for refused in (given, given.replace("exec:", "auth-provider:")):
            with pytest.raises(ClusterConfigError, match="that a task gives may not have a program run"):
                await Cluster.get(ClusterRef(None, kubeconfig=refused))
        assert (tmp_path / "runs").read_text() == ran


@asynchronous
async def test_a_plugin_s_token_is_replaced_before_its_end(config, tmp_path, eager):
    async with ApiServer() as api:
        user = plugin(tmp_path, expires="2001-01-01T00:00:00Z")
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api, user)))
        await cluster.request("GET", "/echo")
        assert api.requests[0][2] == "Bearer run2"


@asynchronous
async def test_a_kubeconfig_and_its_token_file_are_read_again(config, tmp_path, eager):
    async with ApiServer() as api:
        (tmp_path / "mine").write_text("one\n")
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api, {"tokenFile": "mine"})))
        await cluster.request("GET", "/echo")
        (tmp_path / "mine").write_text("another\n")
        await cluster.request("GET", "/echo")
        config(api, {"token": "third"})
        await cluster.request("GET", "/echo")
        assert [authorization[7:] for *_, authorization in api.requests] == ["one", "another", "third"]


@asynchronous
async def test_a_kubeconfig_that_breaks_leaves_the_old_credentials(config, tmp_path, eager, caplog):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        (tmp_path / "kubeconfig").write_text("{")
        for _ in range(3):
            await cluster.request("GET", "/echo")
        assert api.requests[-1][2] == "Bearer secret"
        assert caplog.text.count("cannot be read again") == 1


@asynchronous
async def test_a_connection_that_leads_elsewhere_is_followed(config, connection, tmp_path, eager):
    async with ApiServer() as other:
        async with ApiServer() as api:
            connection("moved", kube_config=Path(config(api)).read_text())
            cluster = await Cluster.get(ClusterRef("moved"))
            await cluster.request("GET", "/echo")
            watch = await PodWatch.get(cluster, "team")
            async with watch.follow("p") as feed:
                await api.put("p", "Running")
                assert (await feed.next(10))["status"]["phase"] == "Running"
        connection("moved", kube_config=Path(config(other)).read_text())
        with pytest.raises(aiohttp.ClientConnectorError):
            await cluster.request("GET", "/echo")
        await cluster.request("GET", "/echo")
        async with watch.follow("q") as feed:
            await other.put("q", "Running")
            assert (await feed.next(10))["status"]["phase"] == "Running"
        assert other.count("^GET .*/pods.*limit=") == 1


@asynchronous
async def test_a_stream_gives_bytes_as_they_come(config):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        api.log = [b"first\nsec", b"ond\n"]
        async with cluster.stream("/api/v1/namespaces/team/pods/a/log", idle=5) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == b"first\nsecond\n"
        api.log = [b"x" * 1000, None]
        with pytest.raises(aiohttp.ClientError):
            async with cluster.stream("/api/v1/namespaces/team/pods/a/log", idle=5) as chunks:
                [chunk async for chunk in chunks]
        api.refuse["log"] = 403
        with pytest.raises(ApiError, match="403 Forbidden"):
            async with cluster.stream("/api/v1/namespaces/team/pods/a/log", idle=5):
                pass


@asynchronous
async def test_a_stream_that_falls_silent_is_given_up(config):
    async with ApiServer() as api:
        cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
        api.log = [b"first"]
        async with cluster.stream("/api/v1/namespaces/team/pods/a/log", query={"follow": 1}, idle=0.1) as chunks:
            assert await anext(aiter(chunks)) == b"first"
            with pytest.raises(TimeoutError):
                await anext(aiter(chunks))
        api.open.clear()
        with pytest.raises(TimeoutError):
            async with cluster.stream("/api/v1/namespaces/team/pods/a/log", idle=None, answer=0.05):
                pass


def test_proxies_of_the_environment_are_used(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "10.0.0.1")
    assert module._environment_proxy("https://10.0.0.2:6443") == "http://proxy:3128"
    assert module._environment_proxy("https://10.0.0.1:6443") is None


def test_connections_are_kept_alive_unless_disabled():
    assert (6, 4, 120) in module._socket_options({})  # IPPROTO_TCP, TCP_KEEPIDLE, Airflow's default
    assert module._socket_options({"disable_tcp_keepalive": "true"}) == []


def test_connections_close_with_the_event_loop(config, caplog):
    async def use():
        async with ApiServer() as api:
            cluster = await Cluster.get(ClusterRef(None, config_file=config(api)))
            await cluster.request("GET", "/echo")
            api.log = [b"first"]
            follow = cluster.stream("/api/v1/namespaces/team/pods/a/log", query={"follow": 1}, idle=None)
            chunks = await follow.__aenter__()
            await anext(aiter(chunks))
            return cluster

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cluster = asyncio.run(use())
        assert cluster._session.closed
        del cluster
        gc.collect()
    assert [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)] == []
    assert not re.search("Unclosed|was destroyed|never retrieved", caplog.text)
