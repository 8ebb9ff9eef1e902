"""The API of one Kubernetes cluster: one connection pool an event loop, and credentials that follow their source.

A trigger names its cluster as the operator does, by an Airflow connection and a few arguments (`ClusterRef`), and is
given the `Cluster` that it shares with all others that name the same. Where that is and who we are is found as the
stock ``KubernetesHook`` finds it, which has created the pod; a service account's token and a kubeconfig are read by
kubernetes_asyncio. What is sent and received is plain JSON: the client's model objects cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
import yaml
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowNotFoundException, conf

if TYPE_CHECKING:
    from airflow_platform.watch import PodWatch

log = logging.getLogger(__name__)

T = TypeVar("T")
Query = Mapping[str, Any]

#: The one connection that may be missing: without it the cluster is the one we run in, else the default kubeconfig's.
DEFAULT_CONNECTION = "kubernetes_default"

#: Requests at once. Streams come on top: each log that is followed holds a connection.
CONCURRENCY = 32

#: Objects that a page of a list has at most.
PAGE = 500

#: Seconds to connect, TLS included. Less than any answer may take: who cannot connect is to learn why.
CONNECT = 5

#: Seconds between two looks at the files of the credentials; the kubelet writes a new token minutes before its end.
LOOK = 10.0

#: Seconds after one reading of credentials in which a 401, a server that cannot be reached, or the next who asks for a
#: cluster whose credentials could not be read, does not cause another.
REST = 5.0

#: Seconds for a kubeconfig's exec plugin.
PLUGIN = 30.0


class ClusterConfigError(ValueError):
    """Connection, arguments and files do not say which cluster, or cannot be read."""


class ApiError(Exception):
    """The API server's answer was an error.

    ``status`` is the HTTP status; ``reason`` is the one of the Status object that the API server sends
    (``AlreadyExists``, ``Forbidden``, ``Expired`` …), else HTTP's; ``message`` is its sentence.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.status} {self.reason}: {self.message}"


@dataclass(frozen=True)
class ClusterRef:
    """What names a cluster: KubernetesPodOperator's arguments of the same meaning.

    ``conn_id`` is its kubernetes_conn_id, ``context`` its cluster_context. ``kubeconfig`` is the text of a kubeconfig,
    for one that is a file where the operator runs and not here; it may not have programs run, as a connection's may: it
    comes from a task.
    """

    conn_id: str | None
    in_cluster: bool | None = None
    context: str | None = None
    config_file: str | None = None
    kubeconfig: str | None = field(default=None, repr=False)


class _Page(msgspec.Struct, Generic[T]):
    metadata: dict[str, Any]
    items: list[T] | None


@cache
def _pages(of: type[T]) -> Callable[[bytes], _Page[T]]:
    return msgspec.json.Decoder(_Page[of]).decode


class Cluster:
    """One cluster's API, shared by all that use it in this event loop.

    Its connections close with the event loop.
    """

    def __init__(self, ref: ClusterRef) -> None:
        self.ref = ref
        #: What `airflow_platform.watch` shares, by namespace.
        self.watches: dict[str, PodWatch] = {}
        self._access: _Access | None = None
        self._looked = self._read = 0.0
        self._trouble = ""
        #: Why it could not be opened, and until when that is what all are told who ask for it.
        self._closed: tuple[float, Exception] | None = None
        self._reading: asyncio.Task | None = None
        self._opening = asyncio.Lock()
        self._slots = asyncio.Semaphore(CONCURRENCY)

    @classmethod
    async def get(cls, ref: ClusterRef) -> Cluster:
        """The cluster of that name; the first call finds it and its credentials.

        Raises:
            AirflowNotFoundException: there is no connection of that id (``kubernetes_default`` may be missing).
            ClusterConfigError: what the connection says cannot be followed.
        """
        if (home := await cls._home(ref)) is not None:
            return home
        clusters = _clusters.setdefault(asyncio.get_running_loop(), {})
        cluster = clusters[ref] = clusters.get(ref) or cls(ref)
        async with cluster._opening:
            if cluster._access is None:
                await cluster._open_once(clusters)
        return cluster

    @classmethod
    async def _home(cls, ref: ClusterRef) -> Cluster | None:
        """That of the platform's own connection, where the arguments say the same: one list and watch for both."""
        if ref.conn_id not in (None, DEFAULT_CONNECTION) or ref != ClusterRef(ref.conn_id, in_cluster=True):
            return None
        try:
            home = await cls.get(ClusterRef(DEFAULT_CONNECTION))
        except Exception:
            return None
        return home if home._access.here else None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = 30,
        decode: Callable[[bytes], T] = msgspec.json.decode,
    ) -> T:
        """One request; the answer's JSON, ``{}`` where it has no body.

        ``body`` is sent as JSON. ``timeout`` is in seconds, for all of it, the wait for a free slot included.
        ``decode`` makes the answer of the body's bytes.

        Raises:
            ApiError: the answer is an error, or is not JSON.
            aiohttp.ClientError, TimeoutError: there is no answer.
        """
        headers, data = {}, None
        if body is not None:
            headers, data = {"Content-Type": content_type}, msgspec.json.encode(body)
        async with asyncio.timeout(timeout), self._slots:
            response = await self._authorized(lambda access: self._send(access, method, path, query, headers, data))
            async with response:
                content = await response.read()
        try:
            return decode(content or b"{}")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ApiError(response.status, "Unreadable", f"The answer to {method} {path}: {error}") from error

    async def items(self, path: str, *, of: type[T] = dict, query: Mapping[str, Any] | None = None) -> list[T]:
        """All objects of a list, read in pages.

        ``of`` is what an object is decoded to: of a TypedDict, what it does not name is left out.

        Raises:
            ApiError, aiohttp.ClientError, TimeoutError: as `request`, of any page.
        """
        found: list[T] = []
        query = {"limit": PAGE, **(query or {})}
        while True:
            page = await self.request("GET", path, query=query, decode=_pages(of))
            found += page.items or ()
            if not page.metadata.get("continue"):
                return found
            query["continue"] = page.metadata["continue"]

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Query | None = None, idle: float | None, answer: float = 30
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A response's body in pieces, as they come.

        ``idle`` is how many seconds may pass without a byte (None: any), ``answer`` how many until the response
        begins.

        Raises:
            ApiError: the answer is an error.
            aiohttp.ClientError: the connection fails, or ends before the body does.
            TimeoutError: ``idle`` or ``answer`` seconds have passed.
        """
        async with asyncio.timeout(answer):
            response = await self._authorized(lambda access: self._send(access, "GET", path, query, idle=idle))
        async with response:
            yield response.content.iter_any()

    def __str__(self) -> str:
        return self._access.host if self._access else f"cluster of the connection {self.ref.conn_id!r}"

    async def _open_once(self, clusters: dict[ClusterRef, Cluster]) -> None:
        """Open it; of a crowd that waits for one that cannot be, the first alone has to find that out."""
        if self._closed and time.monotonic() < self._closed[0]:
            raise self._closed[1].with_traceback(None)
        try:
            await self._open(clusters)
        except Exception as error:
            self._closed = time.monotonic() + REST, error
            raise

    async def _open(self, clusters: dict[ClusterRef, Cluster]) -> None:
        extras = await self._extras()
        access = await asyncio.to_thread(_load, _Source.of(self.ref, extras))
        self._session_keeper = self._keep_session(clusters, _socket_options(extras))
        await anext(self._session_keeper)
        self._adopt(access)

    async def _keep_session(self, clusters: dict, socket_options: list[tuple]) -> AsyncGenerator[None]:
        """Holds the session open until the event loop ends: asyncio.run closes generators that are left."""
        connector = aiohttp.TCPConnector(limit=0, socket_factory=lambda info: _socket(info, socket_options))
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
            try:
                yield
            finally:
                clusters.pop(self.ref, None)

    async def _extras(self) -> dict[str, Any]:
        if not self.ref.conn_id:
            return {}
        try:
            return await get_async_extra_dejson(await get_async_connection(self.ref.conn_id))
        except AirflowNotFoundException:
            if self.ref.conn_id == DEFAULT_CONNECTION:
                return {}
            raise

    def _adopt(self, access: _Access) -> None:
        if self._access and self._access.identity != access.identity:
            log.warning("The connection %r leads to %s now.", self.ref.conn_id, access.host)
            for watch in self.watches.values():
                watch.begin_anew()
        self._access = access
        self._trouble = ""
        self._looked = self._read = time.monotonic()

    async def _authorized(self, call: Callable[[_Access], Awaitable[T]]) -> T:
        """What the call gives; after a 401 it is made once more, if there are newer credentials."""
        access = await self._current()
        try:
            return await call(access)
        except ApiError as error:
            if error.status != 401:
                raise
            newer = await self._newer(access)
            if newer is access:
                raise
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            # The connection may name another server by now: for the next call, as a watch has to begin anew there.
            await self._newer(access)
            raise
        return await call(newer)

    async def _current(self) -> _Access:
        """The credentials, read again where their files have changed or their end is near."""
        access, now = self._access, time.monotonic()
        if now - self._looked < LOOK:
            return access
        self._looked = now
        return await self._newer(access) if access.is_stale() else access

    async def _newer(self, access: _Access) -> _Access:
        """Other credentials than these, where there are any to be had; else the same."""
        if self._access is access and not self._reading and time.monotonic() - self._read >= REST:
            # Of nobody's time: who asks may give up before a slow plugin has answered, and its answer serves the next.
            self._reading = asyncio.create_task(self._read_again(), context=contextvars.Context())
        if self._reading:
            await asyncio.shield(self._reading)
        return self._access

    async def _read_again(self) -> None:
        self._read = time.monotonic()
        try:
            extras = await self._extras()
            self._adopt(await asyncio.to_thread(_load, _Source.of(self.ref, extras)))
        except Exception as error:
            if self._trouble != str(error):
                log.warning("The credentials for %s cannot be read again; the old ones stay. %s", self, error)
            self._trouble = str(error)
        finally:
            self._reading = None

    async def _send(
        self,
        access: _Access,
        method: str,
        path: str,
        query: Query | None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        *,
        idle: float | None = None,
    ) -> aiohttp.ClientResponse:
        response = await self._session.request(
            method,
            access.host + path,
            params=_pairs(query),
            headers={**access.headers, **(headers or {})},
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=idle),
            **access.options,
        )
        if response.status < 300:
            return response
        async with response:
            raise _error(response, await response.read())


#: The clusters of each event loop.
_clusters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ClusterRef, Cluster]] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Source:
    """Where address and credentials come from: at most one of the first three; none means that we look around."""

    in_cluster: bool
    config_file: str | None
    kubeconfig: str | dict | None
    context: str | None
    verify: bool
    programs: bool  # whether the kubeconfig may have programs run

    @classmethod
    def of(cls, ref: ClusterRef, extras: dict[str, Any]) -> _Source:
        """As ``KubernetesHook.get_conn``: an argument goes before the connection, and there may be one source only.

        Raises:
            ClusterConfigError: there are several.
        """
        in_cluster = _extra(extras, "in_cluster") if ref.in_cluster is None else ref.in_cluster
        found = {
            "in_cluster": in_cluster,
            "config_file or kube_config_path": ref.config_file or _extra(extras, "kube_config_path"),
            "kube_config": ref.kubeconfig or _extra(extras, "kube_config"),
        }
        given = [name for name, value in found.items() if value]
        if len(given) > 1:
            raise ClusterConfigError(
                f"The connection {ref.conn_id!r} and the operator's arguments name a cluster in {len(given)} ways: "
                f"{'; '.join(given)}. Keep one."
            )
        _, path, content = found.values()
        return cls(
            in_cluster=bool(in_cluster),
            config_file=path,
            kubeconfig=content,
            context=ref.context or _extra(extras, "cluster_context"),
            verify=not _is_true(_extra(extras, "disable_verify_ssl")),
            programs=not ref.kubeconfig,
        )


@dataclass(frozen=True)
class _Access:
    """Address and credentials as read once, and how to see that they are out of date."""

    host: str
    headers: dict[str, str] = field(repr=False)
    options: dict[str, Any] = field(repr=False)
    identity: tuple[str, bytes]  # the address, and the authority whose certificate it has
    files: tuple[str, ...]
    stamps: tuple
    expires: float | None
    here: bool  # whether it is the account of the pod that this runs in

    def is_stale(self) -> bool:
        return _stamps(self.files) != self.stamps or (self.expires is not None and time.time() > self.expires)


def _load(source: _Source) -> _Access:
    """Read it. Takes a moment (imports, files, perhaps a plugin), so it runs in a thread.

    Raises:
        ClusterConfigError: it cannot be read.
    """
    # Seconds of imports, which must not hold up the event loop.
    from kubernetes_asyncio.client import Configuration

    configuration = Configuration()
    try:
        here = _load_in_cluster(source, configuration)
        files, expires = here or asyncio.run(asyncio.wait_for(_load_kubeconfig(source, configuration), PLUGIN))
        configuration.verify_ssl = configuration.verify_ssl and source.verify
        tls = _tls(configuration)
    except ClusterConfigError:
        raise
    except yaml.YAMLError as error:
        # Its own message shows the line, and what is secret there.
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise ClusterConfigError(
            f"The kubeconfig is not YAML{'' if line is None else f' (line {line + 1})'}. Put it right."
        ) from None
    except TimeoutError as error:
        raise ClusterConfigError(f"The kubeconfig's exec plugin takes more than {PLUGIN:g} s.") from error
    except Exception as error:
        raise ClusterConfigError(f"Address and credentials of the cluster cannot be read: {error}") from error
    read = (*files, configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file)
    present = tuple(path for path in read if path)
    authorization = configuration.api_key.get("BearerToken")
    authority = configuration.ssl_ca_cert
    return _Access(
        host=configuration.host.rstrip("/"),
        headers={"Authorization": authorization.strip()} if authorization else {},
        options={
            "ssl": tls,
            "proxy": configuration.proxy or _environment_proxy(configuration.host),
            "server_hostname": configuration.tls_server_name,
        },
        identity=(configuration.host, Path(authority).read_bytes() if authority else b""),
        files=present,
        stamps=_stamps(present),
        expires=expires,
        here=here is not None,
    )


def _load_in_cluster(source: _Source, configuration: Any) -> tuple[list[str], None] | None:
    """The pod's own service account, where that is wanted, or nothing else is and we are in a pod."""
    from kubernetes_asyncio.config import ConfigException, incluster_config, load_incluster_config

    if source.config_file or source.kubeconfig:
        return None
    try:
        load_incluster_config(client_configuration=configuration, try_refresh_token=False)
    except ConfigException:
        if source.in_cluster:
            raise
        return None
    return [incluster_config.SERVICE_TOKEN_FILENAME], None


async def _load_kubeconfig(source: _Source, configuration: Any) -> tuple[list[str], float | None]:
    """Fill the configuration; the files that it came from, and when the credentials end (seconds since 1970)."""
    from kubernetes_asyncio.config import kube_config

    if source.kubeconfig:
        paths = []
        content = yaml.safe_load(source.kubeconfig) if isinstance(source.kubeconfig, str) else source.kubeconfig
        if not isinstance(content, dict):
            raise ClusterConfigError("The connection's kube_config is no kubeconfig. Paste the whole file's content.")
        if not source.programs and any({"exec", "auth-provider"} & {*one["user"]} for one in content["users"]):
            raise ClusterConfigError(
                "A kubeconfig that a task gives may not have a program run (exec, auth-provider). "
                "Put it into an Airflow connection of type kubernetes, as kube_config."
            )
        loader = await kube_config.load_kube_config_from_dict(
            content, context=source.context, client_configuration=configuration
        )
    else:
        given = source.config_file or kube_config.KUBE_CONFIG_DEFAULT_LOCATION
        paths = [os.path.expanduser(path) for path in given.split(os.pathsep) if path]
        if not any(os.path.exists(path) for path in paths):
            raise ClusterConfigError(
                f"There is no kubeconfig {given}, and no service account of a pod. Name the cluster in an Airflow "
                "connection of type kubernetes (kube_config: the file's content), which every component can read."
            )
        loader = await kube_config.load_kube_config(
            config_file=given, context=source.context, client_configuration=configuration
        )
    # The loader's user section is the only place that has these two.
    user = loader._user.value if loader._user else {}
    if token_file := user.get("tokenFile"):
        paths.append(os.path.join(loader._get_base_path(loader._user.path), token_file))
    ends = getattr(loader, "exec_plugin_expiry", None)
    return paths, ends.timestamp() - 60 if ends else None


def _tls(configuration: Any) -> ssl.SSLContext:
    """As kubernetes_asyncio.client.rest makes it."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _environment_proxy(host: str) -> str | None:
    """aiohttp's trust_env would do it, and look into ~/.netrc at each request."""
    address = urlsplit(host)
    return None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)


def _socket_options(extras: dict[str, Any]) -> list[tuple[int, int, int]]:
    """TCP keepalive as the stock hook sets it: a quiet log stream outlives load balancers; a dead one is noticed."""
    if _is_true(_extra(extras, "disable_tcp_keepalive")):
        return []
    names = {"TCP_KEEPIDLE": "tcp_keep_idle", "TCP_KEEPINTVL": "tcp_keep_intvl", "TCP_KEEPCNT": "tcp_keep_cnt"}
    return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
        (socket.IPPROTO_TCP, getattr(socket, option), conf.getint("kubernetes_executor", key))
        for option, key in names.items()
        if hasattr(socket, option)
    ]


def _socket(info: tuple, options: list[tuple[int, int, int]]) -> socket.socket:
    family, kind, protocol, *_ = info
    made = socket.socket(family, kind, protocol)
    for option in options:
        made.setsockopt(*option)
    return made


def _stamps(files: Iterable[str]) -> tuple:
    def stamp(path: str) -> tuple[int, int, int] | None:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    return tuple(stamp(path) for path in files)


def _extra(extras: dict[str, Any], name: str) -> Any:
    """A field of the connection, by its name or the one it had before Airflow 2.3; None where it is empty."""
    return extras.get(name, extras.get(f"extra__kubernetes__{name}")) or None


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _pairs(query: Query | None) -> list[tuple[str, str]]:
    pairs = (query or {}).items()
    return [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in pairs]


def _error(response: aiohttp.ClientResponse, content: bytes) -> ApiError:
    try:
        status = msgspec.json.decode(content, type=dict)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        status = {}
    return ApiError(
        response.status,
        str(status.get("reason") or response.reason),
        str(status.get("message") or content[:500].decode(errors="replace").strip() or "no further word"),
    )
