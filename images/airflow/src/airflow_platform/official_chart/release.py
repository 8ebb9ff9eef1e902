"""Values of the whole release: image, executor, keys and the database, the way in, DAGs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from airflow_platform.official_chart import components
from airflow_platform.official_chart.conversion import Conversion, Kind

_WEBSERVER = "Airflow 3 has no webserver: its api-server serves the UI"


def executor(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """What runs tasks."""
    known = {
        "CeleryExecutor",
        "KubernetesExecutor",
        "LocalExecutor",
        "CeleryKubernetesExecutor",
        "LocalKubernetesExecutor",
    }
    if unknown := conversion.executors - known:
        conversion.hand(
            f"{', '.join(sorted(unknown))}: put it into the image, and set config.core.executor to the whole list"
        )
    launches(conversion, path)


def launches(conversion: Conversion, path: str) -> None:
    """`launcher.kind`, and what it means for tasks."""
    kind = "celery" if conversion.celery else "local"
    conversion.put("launcher.kind", kind)
    where = "pods of Celery" if conversion.celery else "the scheduler's pods"
    conversion.say(
        path, Kind.FORM, ["launcher.kind"],
        f"KubernetesPodOperator's tasks are launched by {where}; every other task has a worker pod of its own",
    )  # fmt: skip


def image(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """Repository, tag and digest of the image: it has to have the platform's package in it."""
    if path in ("airflowVersion", "defaultAirflowTag") and re.match(r"[12]\.", str(value)):
        conversion.hand("this chart runs Airflow 3.3: upgrade to Airflow 3 with the official chart first, DAGs too")
    elif path == "airflowVersion":
        conversion.say(path, Kind.GONE, (), "the chart's appVersion says it")
    elif conversion.image:
        conversion.say(path, Kind.FORM, ["image"], f"{conversion.image} stands in for it")
    else:
        conversion.hand(
            "the image has to be this project's, or be built FROM it: build it, and name it by --image or `image`", path
        )


def pull_policy(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """When nodes pull the Airflow image."""
    if conversion.put("image.pullPolicy", value, weak=path != "images.airflow.pullPolicy"):
        conversion.say(path, Kind.CARRIED, ["image.pullPolicy"])


def pull_secrets(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """Pull secrets: a list of names or maps, or one name."""
    given = value if isinstance(value, list) else [value]
    names = [one if isinstance(one, str) else one.get("name") for one in given]
    conversion.put("imagePullSecrets", [{"name": name} for name in names if name], weak=path == "registry.secretName")
    conversion.say(path, Kind.CARRIED, ["imagePullSecrets"])


def registry(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """A registry's user and password."""
    if not conversion.get("imagePullSecrets"):
        conversion.put("imagePullSecrets", [{"name": "registry"}])
    conversion.commands.append(
        f"kubectl --namespace {conversion.namespace} create secret docker-registry registry "
        f"--docker-server={value.get('host', '<host>')} --docker-username={value.get('user', '<user>')} "
        "--docker-password=<password>"
    )
    conversion.hand("a secret, which is not copied: make the pull secret registry", path)


def secret_name(ours: str, key: str, note: str = "") -> Any:
    """A form for the name of a Secret whose key the official chart prescribes."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        if _is_of_celery_alone(conversion, ours, path):
            return
        if conversion.put(f"{ours}.existingSecret", value, weak=path.startswith("webserver")):
            conversion.put(f"{ours}.secretKey", key, weak=path.startswith("webserver"))
            # A note is to be read in the file as well.
            kind = Kind.FORM if note else Kind.CARRIED
            conversion.say(path, kind, [f"{ours}.existingSecret", f"{ours}.secretKey"], note)

    return form


def _is_of_celery_alone(conversion: Conversion, ours: str, path: str) -> bool:
    if conversion.celery or not ours.startswith("launcher.celery"):
        return False
    conversion.say(path, Kind.GONE, (), "the executor is not Celery's, so it had no effect")
    return True


def secret_text(ours: str, name: str, key: str, shown: str = "") -> Any:
    """A form for a secret in plain text: it goes to a Secret that is to be made."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        if _is_of_celery_alone(conversion, ours, path):
            return
        if not conversion.get(f"{ours}.existingSecret"):
            found = conversion.secret(name, key, shown)
            conversion.put(f"{ours}.existingSecret", found["name"])
            conversion.put(f"{ours}.secretKey", found["key"])

    return form


def database(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """Address of the database, with its password."""
    if str(value.get("protocol", "postgresql")) != "postgresql":
        conversion.hand("this chart's database is PostgreSQL: move the metadata there first")
    sslmode = str(value.get("sslmode") or "")
    if sslmode in ("require", "verify-ca", "verify-full"):
        conversion.put("database.sslMode", sslmode)
        conversion.say(f"{path}.sslmode", Kind.CARRIED, ["database.sslMode"], "")
    elif sslmode:
        conversion.put("extraEnv", [{"name": "PGSSLMODE", "value": sslmode}])
        conversion.say(f"{path}.sslmode", Kind.FORM, ["extraEnv"], "PGSSLMODE; not in the URL, which asyncpg reads too")
    if (port := int(value.get("port", 5432))) not in (5432, 6432):
        conversion.put("networkPolicies.egress.database.ports", [port])
        conversion.say(f"{path}.port", Kind.FORM, ["networkPolicies.egress.database.ports"])
    if conversion.get("database.existingSecret"):
        return
    # What is not said is the official chart's default, if anything is.
    user, name = (value.get(key, "postgres") if value else f"<{key}>" for key in ("user", "db"))
    host = f"{value.get('host', '<host>')}:{value.get('port', 5432)}"
    url = f"postgresql://{quote(str(user), safe='<>')}:<password>@{host}/{name}"
    found = conversion.secret("airflow-database", "url", url)
    conversion.put("database.existingSecret", found["name"])


def network(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """NetworkPolicies: theirs say who reaches a pod, ours what it reaches too."""
    conversion.put("networkPolicies.enabled", bool(value.get("enabled")))
    conversion.say(
        path, Kind.FORM, ["networkPolicies.enabled"],
        "of egress too, unlike the official chart's: what tasks, workers and components reach goes to "
        "networkPolicies.tasks, .extra and .egress (docs/security.md)",
    )  # fmt: skip


def admin(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """The first user."""
    if "enabled" in value:
        admin_off(conversion, "", f"{path}.enabled", value["enabled"])
        if not value["enabled"]:
            return
    for key in ("username", "email", "firstName", "lastName"):
        if key in value and conversion.put(f"admin.{key}", str(value[key]), weak=path.startswith("webserver")):
            conversion.say(f"{path}.{key}", Kind.CARRIED, [f"admin.{key}"])
    if "password" in value:
        conversion.put("admin.existingSecret", conversion.secret("airflow-admin", "admin-password")["name"])
    if value.get("role", "Admin") != "Admin":
        conversion.hand(f"the chart makes an Admin: make the user of role {value['role']} in Airflow", f"{path}.role")


def admin_off(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """No first user."""
    conversion.put("admin.enabled", bool(value))
    conversion.say(path, Kind.FORM, ["admin.enabled"])


def ingress(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """The Ingress of the UI; `ingress.web`, Airflow 2's, counts where `ingress.apiServer` says nothing."""
    if not value.get("enabled", conversion.given.get("ingress.enabled", False)):
        conversion.say(path, Kind.GONE, (), "it is off")
        return
    if path == "ingress.web" and conversion.get("apiServer.ingress.enabled"):
        conversion.say(path, Kind.GONE, (), "ingress.apiServer stands in for it")
        return
    tls = value.get("tls") or {}
    given = value.get("hosts") or ([value["host"]] if value.get("host") else [])
    given = [one if isinstance(one, Mapping) else {"name": one, "tls": tls} for one in given]
    hosts, certificates = [], {}
    for one in given:
        name = conversion.filled(str(one.get("name", "")))
        if not name:
            continue
        hosts.append(name)
        if (one.get("tls") or {}).get("enabled"):
            certificates.setdefault(one["tls"].get("secretName", ""), []).append(name)
    base = conversion.get("apiServer.baseUrl")
    if not base:
        if not hosts:
            conversion.hand("it names no host: set apiServer.baseUrl, and apiServer.ingress.enabled", path)
            return
        scheme = "https" if any(hosts[0] in names for names in certificates.values()) else "http"
        base = f"{scheme}://{hosts[0]}{str(value.get('path', '/')).rstrip('/*')}"
        conversion.put("apiServer.baseUrl", base)
        conversion.say(
            path, Kind.FORM, ["apiServer.baseUrl"], "path and scheme of its first host: the Ingress goes by them"
        )
    host = re.sub(r"^https?://([^/:]+).*", r"\1", base)
    if hosts and host not in hosts:
        conversion.hand(f"apiServer.baseUrl has the host {host}, which the Ingress did not have: it is added", path)
        hosts.append(host)
    put = {
        "enabled": True,
        "className": value.get("ingressClassName"),
        "annotations": value.get("annotations"),
        "hosts": hosts,
    }
    put["tls"] = [{**({"secretName": name} if name else {}), "hosts": names} for name, names in certificates.items()]
    if base.startswith("http://") and put["tls"]:
        conversion.hand("apiServer.baseUrl begins with http://, so the certificates are left out: write https://", path)
        put["tls"] = []
    for key, one in put.items():
        if one:
            conversion.put(f"apiServer.ingress.{key}", one)
    where = [f"apiServer.ingress.{key}" for key, one in put.items() if one]
    conversion.say(
        path, Kind.FORM if path == "ingress.web" else Kind.CARRIED, where, _WEBSERVER if path == "ingress.web" else ""
    )
    if more := [key for key in ("precedingPaths", "succeedingPaths") if value.get(key)]:
        conversion.hand(f"{', '.join(more)}: make an Ingress of your own for other paths", path)
    variables = [*(conversion.get("extraEnv") or []), *(conversion.get("apiServer.extraEnv") or [])]
    if base.startswith("https://") and "FORWARDED_ALLOW_IPS" not in {one["name"] for one in variables}:
        conversion.hand(
            "name the Ingress controller's addresses by FORWARDED_ALLOW_IPS in apiServer.extraEnv: else redirects lead "
            "to http://",
            path,
        )


def git_sync(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """The repository of DAGs. What is left at its default is the official chart's default, where it is needed."""
    if not value.get("enabled", False):
        conversion.say(path, Kind.GONE, (), "it is off")
        return
    put = {"enabled": True, "ref": _ref(conversion, value), "period": value.get("period", "5s")}
    if value.get("wait") and "period" not in value:
        put["period"] = f"{value['wait']}s"
    repository = str(value.get("repo", "https://github.com/apache/airflow.git"))
    if re.search(r"://[^/]*@", repository) and not repository.startswith("ssh://"):
        conversion.hand(
            "the repository's address has a user, a password or a token, which is not copied: make a Secret"
        )
        repository = re.sub(r"://[^/]*@", "://", repository)
        conversion.put("dags.gitSync.credentials.existingSecret", "git-credentials")
        for key in ("username", "password"):
            conversion.secret("git-credentials", key)
    put["repo"] = repository
    for theirs, ours in (("depth", "depth"), ("maxFailures", "maxFailures"), ("uid", "runAsUser")):
        if theirs in value:
            put[ours] = int(value[theirs])
    if "resources" in value:
        put["resources"] = components.resources(conversion, "", value["resources"])
    if "env" in value:
        put["extraEnv"] = conversion.environment(value["env"])
    for key, one in put.items():
        conversion.put(f"dags.gitSync.{key}", one)
    conversion.put("dags.subPath", str(value.get("subPath", "tests/dags")).strip("/"))
    conversion.say(path, Kind.CARRIED, [*(f"dags.gitSync.{key}" for key in put), "dags.subPath"])
    _git_credentials(conversion, path, value, ssh=bool(re.match(r"ssh://|[^/:]+@[^/]+:", repository)))
    left = {
        "envFrom": "write its keys to dags.gitSync.extraEnv",
        "extraVolumeMounts": "git-sync mounts what it needs alone",
    }
    for key, note in left.items():
        if value.get(key):
            conversion.hand(note, f"{path}.{key}")
    for key in (
        "containerName", "containerLifecycleHooks", "httpPort", "livenessProbe", "readinessProbe", "startupProbe",
        "recommendedProbeSetting", "securityContext", "securityContexts", "emptyDirConfig",
    ):  # fmt: skip
        if key in value:
            conversion.say(f"{path}.{key}", Kind.GONE, (), "the chart's own")


def _ref(conversion: Conversion, value: Mapping[str, Any]) -> str:
    # git-sync reads the chart's GIT_SYNC_REV and GIT_SYNC_BRANCH before GITSYNC_REF.
    revision, branch, ref = value.get("rev", "HEAD"), value.get("branch"), value.get("ref")
    if revision not in ("", "HEAD"):
        return str(revision)
    if branch and ref and branch != ref:
        conversion.say(
            "dags.gitSync.ref",
            Kind.GONE,
            (),
            f"git-sync went by branch, {branch}, which the official chart always sets too",
        )
    return str(branch or ref or "v2-2-stable")


def _git_credentials(conversion: Conversion, path: str, value: Mapping[str, Any], *, ssh: bool) -> None:
    where = "dags.gitSync.credentials"
    if value.get("sshKeySecret") or value.get("sshKey"):
        if value.get("sshKeySecret"):
            name, key = value["sshKeySecret"], "gitSshKey"
            conversion.say(f"{path}.sshKeySecret", Kind.CARRIED, [f"{where}.existingSecret", f"{where}.sshKey"])
        else:
            found = conversion.secret("git-credentials", "ssh", note="sshKey")
            name, key = found["name"], found["key"]
        conversion.put(f"{where}.existingSecret", name)
        conversion.put(f"{where}.sshKey", key)
        hosts = where if value.get("knownHosts") else ""
        conversion.get(where)["knownHostsKey"] = "known_hosts" if hosts else None
        if hosts:
            conversion.hand(f"they are a key of the same Secret here: add known_hosts to {name}", f"{path}.knownHosts")
        else:
            conversion.say(
                f"{path}.knownHosts", Kind.FORM, [f"{where}.knownHostsKey"], "not set: the server is not verified"
            )
    elif value.get("credentialsSecret"):
        conversion.put(f"{where}.existingSecret", value["credentialsSecret"])
        conversion.put(f"{where}.usernameKey", "GITSYNC_USERNAME")
        conversion.put(f"{where}.passwordKey", "GITSYNC_PASSWORD")
        conversion.say(f"{path}.credentialsSecret", Kind.CARRIED, [f"{where}.existingSecret"])
    elif ssh:
        conversion.secret("git-credentials", "ssh", note="a repository by ssh")
        conversion.put(f"{where}.existingSecret", "git-credentials")
        conversion.get(where)["knownHostsKey"] = None


def git_sync_image(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """The git-sync image, of version 4: its variables are other than those of 3."""
    if re.match(r"v?[0-3]\.", str(value.get("tag", "v4"))):
        conversion.say(path, Kind.GONE, (), "git-sync 3 knows other variables; the chart's own image is of version 4")
        return
    for key in ("repository", "tag", "pullPolicy"):
        if key in value and conversion.put(f"dags.gitSync.image.{key}", value[key]):
            conversion.say(f"{path}.{key}", Kind.CARRIED, [f"dags.gitSync.image.{key}"])


def dags_volume(conversion: Conversion, _: str, path: str, value: Mapping[str, Any]) -> None:
    """DAGs in a volume: mounted where they would be in the image."""
    if not value.get("enabled", False):
        conversion.say(path, Kind.GONE, (), "it is off")
        return
    if conversion.given.get("dags.gitSync.enabled"):
        conversion.say(path, Kind.GONE, (), "each pod has a copy of its own by git-sync; the volume is not needed")
        return
    claim = value.get("existingClaim")
    if not claim:
        claim = "airflow-dags"
        conversion.hand(
            f"the chart makes no volume for DAGs: make the PersistentVolumeClaim {claim}, or use dags.gitSync", path
        )
    mount = {"name": "dags-claim", "mountPath": "/opt/airflow/dags", "readOnly": True}
    if value.get("subPath"):
        mount["subPath"] = value["subPath"]
    where = [one for one in conversion.components() if one not in ("apiServer", "migrations")]
    for one in where:
        conversion.put(f"{one}.extraVolumes", [{"name": "dags-claim", "persistentVolumeClaim": {"claimName": claim}}])
        conversion.put(f"{one}.extraVolumeMounts", [mount])
    conversion.say(path, Kind.FORM, [f"{one}.extraVolumes" for one in where], "mounted at /opt/airflow/dags")


def bundles(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """DAG bundles."""
    if conversion.put("config.dag_processor.dag_bundle_config_list", value):
        conversion.say(path, Kind.FORM, ["config.dag_processor.dag_bundle_config_list"])


def webserver_config(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """webserver_config.py from a ConfigMap."""
    weak = path.startswith("webserver")
    conversion.put("apiServer.extraVolumes", [{"name": "webserver-config", "configMap": {"name": value}}], weak=weak)
    mount = {
        "name": "webserver-config",
        "mountPath": "/opt/airflow/webserver_config.py",
        "subPath": "webserver_config.py",
    }
    conversion.put("apiServer.extraVolumeMounts", [{**mount, "readOnly": True}], weak=weak)
    conversion.say(
        path, Kind.FORM, ["apiServer.extraVolumes", "apiServer.extraVolumeMounts"], "mounted in the api-server"
    )


def gone(note: str) -> Any:
    """A form that says why there is no counterpart."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        conversion.say(path, Kind.GONE, (), note)

    return form


def hand(note: str) -> Any:
    """A form that says what to do."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        conversion.hand(note, path)

    return form


def part(note: str, off: str = "it is off") -> Any:
    """A form for a part of the official chart that `enabled` turns on, and that this chart has not."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        if isinstance(value, Mapping) and value.get("enabled"):
            conversion.hand(note, path)
        else:
            conversion.say(path, Kind.GONE, (), off)

    return form


def same(ours: str, change: Any = None) -> Any:
    """A form for a value that is the same, at a path of ours."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        if conversion.put(ours, change(conversion, path, value) if change else value):
            conversion.say(path, Kind.CARRIED, [ours])

    return form


def another(ours: str, note: str, change: Any = None) -> Any:
    """A form for a value that has another form at a path of ours."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        if conversion.put(ours, change(conversion, path, value) if change else value):
            conversion.say(path, Kind.FORM, [ours], note)

    return form
