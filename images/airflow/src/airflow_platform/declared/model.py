"""The declaration: one variable of the environment, rendered from the chart's values, and a file for each secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

#: The variable with the declaration as JSON.
ENVIRONMENT_VARIABLE = "AIRFLOW_PLATFORM_DECLARED"
#: Where the migrations Job has the secrets: `connections/<id>`, `variables/<key>`, `users/<name>`.
SECRETS = Path("/etc/airflow-platform-declared")


class DeclaredError(RuntimeError):
    """Something declared cannot be as it is."""


class _Section(BaseModel):
    # Keys are checked by the schema of the chart's values.
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, hide_input_in_errors=True)


class Connection(_Section):
    """A connection: ``value`` as Airflow's JSON of one has it; None: the Secret's file holds it, as JSON or URI."""

    id: str
    value: dict[str, Any] | None = None


class Variable(_Section):
    """A variable; without ``value`` the Secret's file holds it. What is no text is stored as JSON."""

    key: str
    value: Any = None


class Pool(_Section):
    """A pool of Airflow's, beside those of node pools."""

    name: str
    slots: int
    description: str = ""
    include_deferred: bool = True


class Role(_Section):
    """A role of FAB's: resource to the actions on it, such as ``{"DAGs": ["can_read"]}``."""

    name: str
    permissions: dict[str, tuple[str, ...]]


class User(_Section):
    """A user of FAB's who logs in by password, which the Secret's file holds."""

    username: str
    email: str
    first_name: str = ""
    last_name: str = ""
    roles: tuple[str, ...]


class Declared(_Section):
    """All of it."""

    connections: tuple[Connection, ...] = ()
    variables: tuple[Variable, ...] = ()
    pools: tuple[Pool, ...] = ()
    roles: tuple[Role, ...] = ()
    users: tuple[User, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Declared:
        """What the variable declares; nothing, where there is none.

        Raises:
            DeclaredError: it is malformed.
        """
        text = environment.get(ENVIRONMENT_VARIABLE)
        if not text:
            return cls()
        try:
            return cls.model_validate(json.loads(text))
        except (ValueError, ValidationError) as error:
            raise DeclaredError(f"{ENVIRONMENT_VARIABLE}: {error}") from error


def secret(kind: str, name: str) -> str:
    """The content of a declared object's Secret.

    Raises:
        DeclaredError: the Secret has nothing under that key.
    """
    path = SECRETS / kind / name
    try:
        content = path.read_text().strip("\r\n")
    except OSError as error:
        raise DeclaredError(f"declared.{kind}: {name}: its Secret cannot be read: {error.strerror}") from error
    if not content:
        raise DeclaredError(f"declared.{kind}: {name}: its Secret is empty under that key")
    return content
