"""YAML that knows its lines: what is read, where each of it stands, and what stands for ``${name}``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError

#: Keys and indices that lead to a value.
Where = tuple[str | int, ...]

_NAME = re.compile(r"\$\{(\w+)\}")
#: A line at which another entry of the top begins.
_ENTRY = re.compile(r"^[^\s#}\]-]", flags=re.MULTILINE)
_TEXT = "tag:yaml.org,2002:str"


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
        DeclarationError: there is no such file, it is not YAML, or a number in it is not as it is written.
    """
    content = _content(file)
    lines: dict[Where, int] = {(): 1}
    with _told(file, content, 1):
        return Text(file, _value(yaml.compose(content, yaml.SafeLoader), lines, file, 1), lines)


def read_entries(file: Path) -> list[Text]:
    """Read a file whose top is a mapping, each entry by itself and named as it is written, be it ``4711`` or ``no``.

    What is wrong with one is no other's: a `DeclarationError` is in the place of its value, or of all of it where not
    even a name can be read.

    Raises:
        DeclarationError: there is no such file.
    """
    content = _content(file)
    starts = [match.start() for match in _ENTRY.finditer(content)]
    if starts and content[starts[0]] == "{":
        # As JSON is: its lines need not be its entries.
        del starts[1:]
    found = []
    for start, end in zip(starts, [*starts[1:], len(content)], strict=True):
        found += _entries(file, content[start:end], content.count("\n", 0, start) + 1)
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


def names(value: Any, where: Where = ()) -> Iterator[tuple[Where, str]]:
    """Each ``${name}`` in a value, and what leads to it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from names(one, (*where, str(key)))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from names(one, (*where, index))
    elif isinstance(value, str):
        yield from ((where, name) for name in _NAME.findall(value))


def _content(file: Path) -> str:
    try:
        # A byte that is not UTF-8 becomes a character that YAML refuses, where it stands.
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise DeclarationError(f"{file}:1: cannot be read: {error.strerror}; it must lie there") from error


def _entries(file: Path, content: str, first: int) -> list[Text]:
    """The entries of a part of a file: one, or as many as there are in braces."""
    try:
        with _told(file, content, first):
            node = yaml.compose(content, yaml.SafeLoader)
    except DeclarationError as error:
        return [Text(file, error, {(): first})]
    if not isinstance(node, yaml.MappingNode):
        return [Text(file, None, {(): first})]
    return [_entry(file, content, node, pair, first) for pair in node.value]


def _entry(file: Path, content: str, top: yaml.MappingNode, pair: tuple[Any, Any], first: int) -> Text:
    key, _ = pair
    line = first + key.start_mark.line
    lines: dict[Where, int] = {(): line}
    named = isinstance(key, yaml.ScalarNode)
    if named:
        key.tag = _TEXT
    try:
        with _told(file, content, first):
            return Text(file, _value(yaml.MappingNode(top.tag, [pair], top.start_mark), lines, file, first), lines)
    except DeclarationError as error:
        return Text(file, {key.value: error}, {(): line, (key.value,): line}) if named else Text(file, error, lines)


@contextlib.contextmanager
def _told(file: Path, content: str, first: int) -> Iterator[None]:
    """Have PyYAML's errors say file and line.

    Raises:
        DeclarationError: in their place.
    """
    try:
        yield
    except ReaderError as error:
        line = first + content.count("\n", 0, error.position)
        raise DeclarationError(
            f"{file}:{line}: this is not YAML: the character #x{error.character:02x} is none that can be printed, "
            "or not UTF-8; take it out"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # What is not closed is missed at the end, which may be lines below.
        line = first + min(mark.line if mark else 0, content.rstrip().count("\n"))
        said = " ".join(filter(None, (error.context, error.problem)))
        raise DeclarationError(f"{file}:{line}: this is not YAML: {said}") from error
    except yaml.YAMLError as error:
        raise DeclarationError(f"{file}:{first}: this is not YAML: {error}") from error
    except RecursionError as error:
        raise DeclarationError(f"{file}:{first}: this is nested too deeply, or in itself; write it out") from error


def _value(node: Any, lines: dict[Where, int], file: Path, first: int) -> Any:
    """The value of a node, whose lines are noted."""
    _note(node, (), lines, file, first)
    return SafeConstructor().construct_document(node) if node else None


def _note(node: Any, where: Where, lines: dict[Where, int], file: Path, first: int) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = first + key.start_mark.line
            if not isinstance(key, yaml.ScalarNode):
                raise DeclarationError(
                    f"{file}:{line}: what is before a colon is no name; write a template, {{{{ }}}}, in quotes"
                )
            _check(key, file, line)
            place = (*where, key.value)
            if place in lines:
                raise DeclarationError(f"{file}:{line}: {key.value} is there twice; keep one")
            lines[place] = line
            _note(value, place, lines, file, first)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            place = (*where, index)
            lines[place] = first + value.start_mark.line
            _note(value, place, lines, file, first)
    elif node:
        _check(node, file, first + node.start_mark.line)


def _check(scalar: yaml.ScalarNode, file: Path, line: int) -> None:
    read = scalar.value
    try:
        value = SafeConstructor().construct_object(scalar)
        # What str() writes with an exponent, 1e-06, YAML does not read back: there is no better way to write it.
        if type(value) in (int, float) and "e" not in str(value):
            read = str(value)
    except (yaml.YAMLError, RecursionError):
        pass  # Said when the whole is made; a merge key, `<<`, is well there.
    except Exception as error:
        # 2026-02-30 has the form of a date: what Python says of it is no error of PyYAML's.
        raise DeclarationError(
            f"{file}:{line}: {scalar.value} cannot be read: {error}; correct it, or write it in quotes"
        ) from error
    if read != scalar.value:
        # 1.10, 01234 and 12:30 are 1.1, 668 and 750: what was a version, a postcode or a time is none any more.
        raise DeclarationError(
            f"{file}:{line}: {scalar.value} is the number {read} in YAML; write it in quotes, "
            f"or as {read} where a number is meant"
        )
