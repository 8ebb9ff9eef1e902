"""The report of a conversion, for a person: what became of each value, and the commands that make what is missing."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_platform.official_chart.conversion import Conversion, Kind

_COLOURS = {Kind.CARRIED: "green", Kind.FORM: "cyan", Kind.GONE: "dim", Kind.HAND: "yellow"}


def show(conversion: Conversion) -> None:
    """Print it on stderr."""
    console = Console(stderr=True, highlight=False)
    for kind in Kind:
        said = [one for one in conversion.said if one.kind is kind]
        if not said:
            continue
        rows = Table(
            title=f"{len(said)} {kind.value}", title_justify="left", title_style=_COLOURS[kind], show_lines=False
        )
        for column in ("official chart", "here", "note", "from"):
            rows.add_column(column, overflow="fold")
        for one in said:
            rows.add_row(*(Text(text) for text in (one.official, "\n".join(one.ours), one.note, one.place)))
        console.print(rows)
    commands = [*conversion.commands, *_secrets(conversion)]
    if commands:
        console.print(Text("\nTo run, with what stands in <…> put in:", style="yellow"))
        for command in commands:
            console.print(Text(command), soft_wrap=True)


def _secrets(conversion: Conversion) -> list[str]:
    return [
        " \\\n".join(
            [
                f"kubectl --namespace {conversion.namespace} create secret generic {name}",
                *(f"  --from-file={key}=<(printf %s {shlex.quote(shown)})" for key, shown in keys.items()),
            ]
        )
        for name, keys in conversion.secrets.items()
    ]
