"""The project's own Python sources, read as syntax trees: what each module imports and says. Imports none of them."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("app", "tuning", "storage", "benchmarks", "pretraining")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name. `lazy`: inside a function, so it runs when the function does."""

    target: str
    line: int
    lazy: bool

    def within(self, *packages: str) -> bool:
        """Is it one of these packages or modules, or inside one?"""
        return any(self.target == package or self.target.startswith(package + ".") for package in packages)


@dataclass(frozen=True)
class Module:
    """One source file under the name by which others import it."""

    name: str
    source: str

    def within(self, *packages: str) -> bool:
        """Is it one of these packages or modules, or inside one?"""
        return Import(self.name, 0, lazy=False).within(*packages)

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._imports(self.tree, lazy=False))

    def _imports(self, node: ast.AST, *, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                yield from (Import(target, child.lineno, lazy) for target in self._targets(child))
            elif target := _dynamic_target(child):
                yield Import(target, child.lineno, lazy=True)
            yield from self._imports(child, lazy=lazy or isinstance(child, FUNCTIONS))

    def _targets(self, node: ast.ImportFrom) -> Iterator[str]:
        package = node.module or ""
        if node.level:
            above = self.name.rsplit(".", node.level)[0]
            package = f"{above}.{package}".rstrip(".")
        for alias in node.names:
            yield f"{package}.{alias.name}" if is_module(f"{package}.{alias.name}") else package


def _dynamic_target(node: ast.AST) -> str:
    """The module that `importlib.import_module("…")` or `__import__("…")` names, else ""."""
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return ""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return str(node.args[0].value) if called in ("import_module", "__import__") else ""


def is_module(name: str) -> bool:
    """Is there a file or a package of ours by this full name?"""
    path = ROOT.joinpath(*name.split("."))
    return name.partition(".")[0] in PACKAGES and (path.with_suffix(".py").is_file() or path.is_dir())


def own_modules() -> dict[str, Module]:
    """Every module of these packages, by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path.read_text(encoding="utf-8"))
    return found


def loaded_by(name: str, modules: dict[str, Module]) -> dict[str, str]:
    """What importing `name` loads, own modules and others, each with the own module that asked for it."""
    seen: dict[str, str] = {}
    waiting = [name]
    while waiting:
        asking = waiting.pop()
        for wanted in modules[asking].imports:
            if wanted.lazy or wanted.target in seen:
                continue
            seen[wanted.target] = asking
            if wanted.target in modules:
                waiting.append(wanted.target)
    return seen
