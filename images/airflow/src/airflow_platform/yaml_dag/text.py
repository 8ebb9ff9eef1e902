"""YAML that knows its lines: what is read, where each of it stands, and what stands for ``${name}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: Keys and indices that lead to a value.
Where = tuple[str | int, ...]

_NAME = re.compile(r"\$\{(\w+)\}")
#: A line at which another entry of the top begins.
_ENTRY = re.compile(r"^[^\s#-]", flags=re.MULTILINE)


class DeclarationError(ValueError):
    """What is wrong with a declaration: lines ``file:line: what, and what to do``."""


@dataclass(frozen=True)
class Text:
    """A YAML document.

    Args:
        file: that it is in.
        value: as Python has it.
        lines: the line of each value, by what leads to it.
    """

    file: Path
    value: Any
    lines: Mapping[Where, int]

    def at(self, where: Where) -> str:
        """``file:line`` of a value; where it is missing, of what it should be in."""
        while where not in self.lines:
            where = where[:-1]
        return f"{self.file}:{self.lines[where]}"


def read(file: Path) -> Text:
    """Read a file.

    Raises:
        DeclarationError: there is no such file, or it is not YAML.
    """
    return _parse(file, _content(file), 1)


def read_entries(file: Path) -> list[Text]:
    """Read a file whose top is a mapping, each entry by itself: one that is not YAML is its own `DeclarationError` when
    it is asked for its value, and no other's.

    Raises:
        DeclarationError: there is no such file.
    """
    content = _content(file)
    starts = [match.start() for match in _ENTRY.finditer(content)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        line = content.count("\n", 0, start) + 1
        try:
            found.append(_parse(file, content[start:end], line))
        except DeclarationError as error:
            found.append(Text(file, error, {(): line}))
    return found


def fill(value: Any, words: Mapping[str, Any], text: Text, where: Where = ()) -> Any:
    """Put words where ``${name}`` is; alone, it is replaced by the word as it is, be it a number or a list.

    Raises:
        DeclarationError: there is no such word.
    """

    def word(name: str) -> Any:
        if name not in words:
            known = ", ".join(sorted(words)) or "none"
            raise DeclarationError(f"{text.at(where)}: ${{{name}}} is no parameter; there are: {known}")
        return words[name]

    if isinstance(value, dict):
        return {key: fill(one, words, text, (*where, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, words, text, (*where, index)) for index, one in enumerate(value)]
    if not isinstance(value, str):
        return value
    if alone := _NAME.fullmatch(value):
        return word(alone[1])
    return _NAME.sub(lambda match: str(word(match[1])), value)


def _content(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise DeclarationError(f"{file}:1: cannot be read: {error.strerror}; it must lie there") from error


def _parse(file: Path, content: str, first: int) -> Text:
    loader = yaml.SafeLoader(content)
    lines: dict[Where, int] = {(): first}
    try:
        node = loader.get_single_node()
        _note(node, (), lines, file, first)
        return Text(file, loader.construct_document(node) if node else None, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # What is not closed is missed at the end, which may be lines below.
        line = first + min(mark.line if mark else 0, content.rstrip().count("\n"))
        said = " ".join(filter(None, (error.context, error.problem)))
        raise DeclarationError(f"{file}:{line}: this is not YAML: {said}") from error
    except yaml.YAMLError as error:
        raise DeclarationError(f"{file}:{first}: this is not YAML: {error}") from error
    finally:
        loader.dispose()


def _note(node: Any, where: Where, lines: dict[Where, int], file: Path, first: int) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*where, key.value)
            if place in lines:
                raise DeclarationError(f"{file}:{first + key.start_mark.line}: {key.value} is there twice; keep one")
            lines[place] = first + key.start_mark.line
            _note(value, place, lines, file, first)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            place = (*where, index)
            lines[place] = first + value.start_mark.line
            _note(value, place, lines, file, first)
