"""A DAG as a YAML file: which images run, in what order, on which pools; one DAG, or one for each client of a list.

Airflow reads Python files, so a ``dag.py`` lies beside each ``dag.yaml`` and says no more than::

    from airflow_platform.declared import load

    load(__file__)

What is wrong is an import error that names file and line. What is wrong with one client is that client's alone: its DAG
has one task, which fails and says what is wrong; the others are as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_platform.declared.text import DeclarationError, Text, fill, read, read_entries

__all__ = ["DeclarationError", "load"]


def load(file: str) -> None:
    """Make the DAGs of the YAML file beside a DAG file; Airflow finds them as it finds those of a ``with DAG(…)``.

    Args:
        file: the DAG file, ``__file__``; the YAML file has its name, and ends in ``.yaml``.

    Raises:
        DeclarationError: the file cannot be read, or says what it cannot, for every client.
    """
    from airflow_platform.declared import build

    declared = read(Path(file).resolve().with_suffix(".yaml"))
    if not isinstance(declared.value, dict):
        raise DeclarationError(f"{declared.at(())}: a mapping is expected; begin with dag: <its id>")
    clients, parameters = declared.value.get("clients"), declared.value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise DeclarationError(f"{declared.at(('parameters',))}: a mapping is expected, as {{batches: 2}}")
    if clients is None:
        build.register(build.dag(declared, _declaration(declared, parameters)))
        return
    _load_clients(declared, str(clients), parameters)


def _load_clients(declared: Text, name: str, parameters: Mapping[str, Any]) -> None:
    from airflow_platform.declared import build

    well, broken = 0, {}
    lines: dict[str, None] = {}
    for client, entry in _clients(declared.file.with_name(name)):
        try:
            made = build.dag(declared, _declaration(declared, _words(client, entry, parameters)), client)
            build.check(made)
            build.register(made)
            well += 1
        except Exception as error:
            said = str(error) if isinstance(error, DeclarationError) else f"{entry.at(())}: {_one_line(error)}"
            lines |= dict.fromkeys(said.splitlines())
            broken[client] = _of_client(client, entry, said)
    if broken and not well:
        raise DeclarationError("\n".join(lines))
    for client, message in broken.items():
        build.broken(declared, client, message)


def _clients(file: Path) -> Iterator[tuple[str, Text]]:
    """The entries of a list of clients by the names of their DAGs."""
    seen = set()
    for entry in read_entries(file):
        value = entry.value
        name = str(next(iter(value))) if isinstance(value, dict) and len(value) == 1 else ""
        if name in seen or not name:
            again = (
                f"client {name} is there twice; keep one" if name else "a client is expected, as `acme: {batches: 3}`"
            )
            error = value if isinstance(value, DeclarationError) else DeclarationError(f"{entry.at(())}: {again}")
            entry, name = Text(entry.file, error, entry.lines), f"line_{entry.lines[()]}"
        seen.add(name)
        yield name, entry


def _words(client: str, entry: Text, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for ``${name}`` in a client's DAG.

    Raises:
        DeclarationError: the client's line has a name too many, or lacks one.
    """
    if isinstance(entry.value, DeclarationError):
        raise entry.value
    given = entry.value[client] or {}
    if not isinstance(given, dict):
        raise DeclarationError(f"{entry.at((client,))}: a mapping is expected, as `{client}: {{batches: 3}}`")
    for name in given:
        if name not in parameters:
            known = ", ".join(parameters) or "none"
            raise DeclarationError(f"{entry.at((client, name))}: {name} is no parameter; there are: {known}")
    own = {"client": client}
    words = own | {name: fill(given.get(name, default), own, entry, (client,)) for name, default in parameters.items()}
    if missing := [name for name, value in words.items() if value is None and name not in given]:
        raise DeclarationError(f"{entry.at((client,))}: {', '.join(missing)} is missing; each client must say it")
    return words


def _declaration(declared: Text, words: Mapping[str, Any]) -> Any:
    """What the file says, with these words.

    Raises:
        DeclarationError: it is not what a DAG can be.
    """
    from pydantic import ValidationError

    from airflow_platform.declared.model import Declaration

    said = {key: value for key, value in declared.value.items() if key not in ("parameters", "clients")}
    # The index of a pod is known where there is more than one.
    words = {**words, "index": "${index}"}
    try:
        return Declaration.model_validate(fill(said, words, declared))
    except ValidationError as error:
        raise DeclarationError("\n".join(_describe(declared, one) for one in error.errors())) from error


def _describe(declared: Text, detail: Mapping[str, Any]) -> str:
    where = tuple(detail["loc"])
    name = ".".join(map(str, where))
    if detail["type"] == "missing":
        return f"{declared.at(where)}: {name} is missing; add it"
    if detail["type"] == "extra_forbidden":
        return f"{declared.at(where)}: {name} is not known here; take it out, or correct its name"
    message = detail["msg"].removeprefix("Value error, ")
    if not where:  # of tasks that do not fit together
        return f"{declared.at(('tasks',))}: {message}"
    return f"{declared.at(where)}: {name}: {message[:1].lower()}{message[1:]}; found {detail['input']!r}"


def _of_client(client: str, entry: Text, said: str) -> str:
    """What is wrong with a client, with its line in the list first."""
    own = f"{entry.file}:"
    return "\n".join(
        line if line.startswith(own) else f"{entry.at((client,))}: client {client}: {line}"
        for line in said.splitlines()
    )


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
