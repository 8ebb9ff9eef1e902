"""The file of a release: Python that Airflow parses, and that a person can read and compare.

It holds the files of the DAG folder as literals, and calls `airflow_platform.release.loader.load` with them. The same
release gives the same bytes.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from airflow_platform.command_error import CommandError
from airflow_platform.release.version import suffixed

#: Raised when the loader could no longer read files that were written before; it reads all up to this.
FORMAT = 1
#: Bytes of a file. All of it is parsed every half minute, and kept by Airflow as the DAG's code.
LARGEST = 2**20


@dataclass(frozen=True, kw_only=True)
class Release:
    """A version of a DAG folder.

    Args:
        name: the folder's own name. source: its path below the folder of all DAGs, as "support/ticket_sentiment".
        version, commit: the latter is the last one that changed any of the files.
        images: those that its tasks run, each with its digest, by the name and tag without it.
        dags: the ids of its DAGs as the folder's code has them.
        files: text, or bytes where it is none, by path below the folder of all DAGs.
    """

    name: str
    source: str
    version: str
    commit: str
    images: Mapping[str, str] = field(default_factory=dict)
    dags: tuple[str, ...] = ()
    files: Mapping[str, str | bytes] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Of its file."""
        return f"{suffixed(self.name, self.version)}.py"

    @property
    def entry(self) -> str:
        """The path of the file that makes its DAGs."""
        return f"{self.source}/dag.py"

    def render(self) -> bytes:
        """The file.

        Raises:
            CommandError: it would be too large.
        """
        lines = [
            f'"""Release {self.version} of {self.source}, an Airflow DAG, as `airflow-platform release` wrote it."""',
            "",
            "from airflow_platform.release.loader import load",
            "",
            "load(",
            "    globals(),",
            f"    format={FORMAT},",
            *(f"    {name}={getattr(self, name)!r}," for name in ("name", "source", "version", "commit")),
            "    images={",
            *(f"        {image!r}: {pinned!r}," for image, pinned in sorted(self.images.items())),
            "    },",
            f"    dags={tuple(sorted(self.dags))!r},",
            "    files={",
            *(f"        {path!r}: {_literal(content)}," for path, content in sorted(self.files.items())),
            "    },",
            ")",
            "",
        ]
        rendered = "\n".join(lines).encode()
        if len(rendered) > LARGEST:
            largest = max(self.files, key=lambda path: len(self.files[path]))
            raise CommandError(
                f"the release would have {len(rendered):,} bytes, and {LARGEST:,} are the most; the largest file in it "
                f"is {largest}. Data belongs in an image or in S3."
            )
        return rendered


def read(text: str | bytes) -> Release:
    """The release that a file holds, without running it.

    Raises:
        CommandError: it holds none.
    """
    try:
        (call,) = (node.value for node in ast.parse(text).body if isinstance(node, ast.Expr) and _is_load(node.value))
        found = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
        return Release(**{one.name: found[one.name] for one in fields(Release)})
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"this is no file of a release: {error}") from error


def _is_load(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load"


def _literal(content: str | bytes) -> str:
    """``content`` as Python writes it; text of more than a line as it is read."""
    if isinstance(content, bytes) or "\n" not in content:
        return repr(content)
    quote = "'''" if '"""' in content and "'''" not in content else '"""'
    shown = "".join(
        one if one == "\n" or (one.isprintable() and one != "\\") else one.encode("unicode_escape").decode()
        for one in content
    )
    if shown.endswith(quote[0]):
        # It would be one of those that end the literal.
        shown = f"{shown[:-1]}\\{quote[0]}"
    shown = shown.replace(quote, f"\\{quote[0]}" * 3)
    return f"{quote}\\\n{shown}{quote}"
