"""The modules of a release, under a package of its own: two releases share no module, whatever these are called.

An author writes ``from support.report import tables``, by the module's place in the folder of all DAGs, and two
releases have it with different content. `sys.modules` has one module a name. So the code of a release is compiled
with its own imports led to its package:
``from report__1_3_0__4f1c….support.report import tables``. That holds for imports in
functions too, which run long after the file was parsed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Package:
    """The package ``name`` of a release, whose ``files`` are below the folder ``root``."""

    name: str
    root: Path
    files: Collection[str]

    def run(self, path: str) -> ModuleType:
        """Run the file at ``path`` as a module, with all modules of the package anew.

        Raises:
            Exception: what the module raises.
        """
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]
        _finder.packages[self.name] = self
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        return importlib.import_module(f"{self.name}.{path.removesuffix('.py').replace('/', '.')}")

    @property
    def own(self) -> set[str]:
        """What the imports of its own modules begin with."""
        return own(self.files)


def own(files: Iterable[str]) -> set[str]:
    """What imports of modules among ``files`` begin with."""
    return {path.partition("/")[0].removesuffix(".py") for path in files if path.endswith(".py")}


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self) -> None:
        self.packages: dict[str, Package] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        name, _, rest = fullname.partition(".")
        package = self.packages.get(name)
        if package is None:
            return None
        at = rest.replace(".", "/")
        folder = package.root / at
        for file, places in ((f"{at}/__init__.py".lstrip("/"), [str(folder)]), (f"{at}.py", None)):
            if file in package.files:
                loader = _Loader(fullname, str(package.root / file), package)
                return importlib.util.spec_from_file_location(
                    fullname, loader.path, loader=loader, submodule_search_locations=places
                )
        if not at or any(one.startswith(f"{at}/") for one in package.files):
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [str(folder)]
            return spec
        return None


#: Of this process.
_finder = _Finder()


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, fullname: str, path: str, package: Package) -> None:
        super().__init__(fullname, path)
        self._package = package

    def path_stats(self, path: str) -> Any:
        # What is compiled is not what the file says, so nothing is cached beside it.
        raise OSError

    def source_to_code(self, data: Any, path: Any, **options: Any) -> CodeType:  # type: ignore[override]
        tree = _Led(self._package.name, self._package.own).visit(ast.parse(data, path))
        return super().source_to_code(ast.fix_missing_locations(tree), path, **options)


class _Led(ast.NodeTransformer):
    """Leads imports of a release's own modules to its package."""

    def __init__(self, package: str, names: Collection[str]) -> None:
        self._package, self._names = package, names

    def _is_own(self, name: str | None) -> bool:
        return bool(name) and name.partition(".")[0] in self._names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if not node.level and self._is_own(node.module):
            node.module = f"{self._package}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.AST]:
        led: list[ast.AST] = []
        for one in node.names:
            name = f"{self._package}.{one.name}"
            if not self._is_own(one.name):
                led.append(ast.Import(names=[one]))
            elif one.asname:
                led.append(ast.Import(names=[ast.alias(name, one.asname)]))
            else:
                # "import a.b" imports a.b, and names a.
                top = ast.alias(one.name.partition(".")[0])
                led += [ast.Import(names=[ast.alias(name)]), ast.ImportFrom(self._package, [top], 0)]
        return [ast.copy_location(one, node) for one in led]
