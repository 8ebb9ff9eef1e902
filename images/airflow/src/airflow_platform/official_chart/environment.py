"""Variables for all containers, connections among them, and the Secrets and ConfigMaps that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from airflow_platform.official_chart import configuration
from airflow_platform.official_chart.conversion import Conversion, Kind

#: Variables that the chart sets from a Secret that has a value of its own.
_KEYS = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "database",
    "AIRFLOW__CORE__FERNET_KEY": "fernetKey",
    "AIRFLOW__API__SECRET_KEY": "apiSecretKey",
    "AIRFLOW__WEBSERVER__SECRET_KEY": "apiSecretKey",
    "AIRFLOW__API_AUTH__JWT_SECRET": "jwtSecret",
    "AIRFLOW__SECRETS__BACKEND_KWARGS": "secretsBackend",
    "AIRFLOW__CELERY__BROKER_URL": "launcher.celery.broker",
}


def variables(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """`env`, a list, and `extraEnv`, a text with one."""
    if isinstance(value, str):
        value = _parsed(conversion, value)
        if value is None:
            return
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        conversion.hand("is no list of variables, each with a name: write it as extraEnv")
        return
    _put(conversion, path, value)


def from_secrets(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """`secret`, a list of variables that come from a Secret's keys."""
    _put(
        conversion, path,
        [
            {
                "name": one.get("envName"),
                "valueFrom": {"secretKeyRef": {"name": one.get("secretName"), "key": one.get("secretKey", "value")}},
            }
            for one in value
        ],
    )  # fmt: skip


def _put(conversion: Conversion, path: str, entries: list[Any]) -> None:
    left = []
    for entry in entries:
        name = str(entry.get("name", ""))
        reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
        section, option = configuration.option_of(name)
        if name in _KEYS and reference:
            conversion.put(f"{_KEYS[name]}.existingSecret", reference["name"])
            conversion.put(f"{_KEYS[name]}.secretKey", reference["key"])
            conversion.say(path, Kind.FORM, [f"{_KEYS[name]}.existingSecret"], name)
        elif name == "AIRFLOW__CELERY__RESULT_BACKEND":
            conversion.say(path, Kind.GONE, (), f"{name}: results go to the broker")
        elif "value" in entry and configuration.is_own(section, option):
            configuration.put(conversion, path, section, option, entry["value"])
        else:
            left.append(entry)
    found = conversion.environment(left)
    if found and conversion.put("extraEnv", found):
        conversion.say(path, Kind.CARRIED, ["extraEnv"])


def env_from(conversion: Conversion, _: str, path: str, value: Any) -> None:
    """`extraEnvFrom`: this chart takes variables by name."""
    found = _parsed(conversion, value) if isinstance(value, str) else value
    names = [
        f"{kind.removesuffix('Ref')} {(one.get(kind) or {}).get('name')}"
        for one in found or []
        for kind in ("secretRef", "configMapRef")
        if one.get(kind)
    ]
    conversion.hand(
        f"this chart takes variables by name: write each key of {', '.join(names) or 'it'} to extraEnv, with valueFrom",
        path,
    )


def objects(kind: str, command: str) -> Any:
    """`extraSecrets`, `extraConfigMaps`: the chart makes none; each is a command, whose texts are placeholders."""

    def form(conversion: Conversion, _: str, path: str, value: Any) -> None:
        for name, content in value.items():
            keys = []
            for part in ("data", "stringData"):
                text = content.get(part) or {}
                parsed = _parsed(conversion, text) if isinstance(text, str) else text
                keys += [str(key) for key in parsed or {}]
            name = conversion.filled(name) or "<name>"
            words = " ".join(f"--from-file={key}=<file>" for key in keys)
            conversion.commands.append(
                f"kubectl --namespace {conversion.namespace} create {command} {name} {words}".strip()
            )
            conversion.hand(f"the chart makes no {kind}: make {name} with the keys {', '.join(keys) or '(none)'}", path)

    return form


def _parsed(conversion: Conversion, text: str) -> Any:
    # Names in braces are filled first: YAML would read them as a map. What holds secrets is only read here.
    release, namespace = conversion.release, conversion.namespace
    for name, one in (("Release.Name", release), ("Release.Namespace", namespace)):
        for template in (f"{{{{ .{name} }}}}", f"{{{{.{name}}}}}"):
            text = text.replace(template, one)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        conversion.hand("is a template of helm's; values of this chart are taken as they are. Write what it gives.")
        return None
