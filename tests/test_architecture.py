"""The doors between the rooms, and the manners of every module, proved on the sources themselves.

Each rule is a function from a module to its breaches, and is first shown a small bad module that it must catch.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.source_tree import ROOT, Module, is_module, loaded_by, own_modules

MODULES = own_modules()
MAX_LINES = 400
TORCH = ("torch", "transformers", "tokenizers", "safetensors")
WEB = ("flask", "werkzeug", "apiflask", "flask_wtf", "flask_limiter", "gunicorn")
DATA = ("sqlalchemy", "redis", "celery", "alembic")
PICKLES = ("pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib")
TORCHLESS_ROOMS = ("app.web", "app.admin", "app.embedded", "app.demo", "app.auth", "app.config", "app.errors")
TORCHLESS_ROOMS += ("app.seats", "app.callers", "app.connections", "app.intake", "app.memory_request", "app.pieces")
TORCHLESS_TUNING = ("tuning.celery_app", "tuning.config", "tuning.errors")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
# The Celery child alone loads torch when its first task runs, so that the parent stays small and may fork.
LAZY_IMPORTS = {"tuning.tasks": ("tuning.tuning_job",)}
READS_ENVIRONMENT = ("storage.config", "tuning.config", "app.config", "app.embedded.config")
# What is timed starts itself again with this process's variables and others beside them.
PASSES_ENVIRONMENT_ON = ("benchmarks.worker_process",)
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}

Breaches = Iterator[str]


def storage_knows_neither_room_nor_torch_nor_flask(module: Module) -> Breaches:
    if module.within("storage"):
        yield from _imported(module, "app", "tuning", "celery", *TORCH, *WEB)


def tuning_knows_neither_app_nor_flask(module: Module) -> Breaches:
    if module.within("tuning"):
        yield from _imported(module, "app", *WEB)


def rooms_without_torch_take_only_the_queue_from_tuning(module: Module) -> Breaches:
    if module.within(*TORCHLESS_ROOMS):
        yield from _imported(module, "tuning", but=TORCHLESS_TUNING)
        yield from _imported(module, *TORCH)


def only_the_api_imports_generation(module: Module) -> Breaches:
    if not module.within("app.api", "app.generation", "benchmarks"):
        yield from _imported(module, "app.generation")


def benchmarks_are_nobodys_business(module: Module) -> Breaches:
    if not module.within("benchmarks"):
        yield from _imported(module, "benchmarks", "peft")


def pretraining_knows_no_room_and_no_room_knows_it(module: Module) -> Breaches:
    if module.within("pretraining"):
        yield from _imported(module, "app", "tuning", "storage", "benchmarks", *WEB, *DATA)
    else:
        yield from _imported(module, "pretraining")


def only_the_api_imports_the_api(module: Module) -> Breaches:
    if not module.within("app.api"):
        yield from _imported(module, "app.api")


def the_demo_is_nobodys_business(module: Module) -> Breaches:
    if not module.within("app.demo"):
        yield from _imported(module, "app.demo")


def pieces_know_no_platform(module: Module) -> Breaches:
    if module.within("app.pieces"):
        yield from _imported(module, "app", "storage", *WEB, *DATA, but=("app.pieces", "app.errors"))


def generation_takes_only_prefix_and_base_model(module: Module) -> Breaches:
    if module.within("app.generation"):
        yield from _imported(
            module, "app", "tuning", "storage", but=("app.generation", "tuning.prefix", "tuning.base_model")
        )
        yield from _imported(module, *WEB, *DATA)


def only_configuration_reads_the_environment(module: Module) -> Breaches:
    if module.within(*READS_ENVIRONMENT, *PASSES_ENVIRONMENT_ON):
        return
    for node in ast.walk(module.tree):
        named = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        taken = (
            {alias.name for alias in node.names} if isinstance(node, ast.ImportFrom) and node.module == "os" else set()
        )
        if named in ENVIRONMENT or taken & {name.removeprefix("os.") for name in ENVIRONMENT}:
            yield f"line {node.lineno}: reads the environment; take it from a Config"  # type: ignore[attr-defined]


def imports_stand_at_the_top(module: Module) -> Breaches:
    allowed = LAZY_IMPORTS.get(module.name, ())
    for wanted in module.imports:
        if wanted.lazy and not wanted.within(*allowed):
            yield f"line {wanted.line}: imports {wanted.target} inside a function"


def nothing_is_pickled(module: Module) -> Breaches:
    yield from _imported(module, *PICKLES)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and node.value in ("pickle", "application/x-python-serialize"):
            yield f"line {node.lineno}: names pickle as a serializer"
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load" and not _only_weights(node):
            yield f"line {node.lineno}: torch.load without weights_only=True"


def modules_are_short(module: Module) -> Breaches:
    lines = len(module.source.splitlines())
    if lines > MAX_LINES:
        yield f"has {lines} lines, more than {MAX_LINES}"


def modules_say_what_they_own(module: Module) -> Breaches:
    if module.source.strip() and not ast.get_docstring(module.tree):
        yield "has no docstring"


def modules_are_named_by_nouns(module: Module) -> Breaches:
    if module.name.rpartition(".")[2] in VAGUE_NAMES:
        yield "has a name that says nothing about its domain"


def errors_are_not_swallowed(module: Module) -> Breaches:
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        silent = all(isinstance(line, ast.Pass | ast.Continue) or _is_ellipsis(line) for line in node.body)
        if node.type is None or (broad and silent):
            yield f"line {node.lineno}: swallows every error"


def config_fields_are_documented(module: Module) -> Breaches:
    if module.name.rpartition(".")[2] != "config":
        return
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
            documented = ast.get_docstring(node) or ""
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and not re.search(rf"^{_name(field)}: ", documented, re.MULTILINE):
                    yield f"line {field.lineno}: {_name(field)} is not in the docstring of {node.name}"


def _name(field: ast.AnnAssign) -> str:
    return ast.unparse(field.target)


def _is_ellipsis(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and line.value.value is ...


def _only_weights(call: ast.Call) -> bool:
    return any(given.arg == "weights_only" and ast.unparse(given.value) == "True" for given in call.keywords)


def _imported(module: Module, *packages: str, but: tuple[str, ...] = ()) -> Breaches:
    for wanted in module.imports:
        if wanted.within(*packages) and not wanted.within(*but):
            yield f"line {wanted.line}: imports {wanted.target}"


@dataclass(frozen=True)
class BadSample:
    """A module that breaks one rule."""

    rule: Callable[[Module], Breaches]
    name: str
    source: str


BAD_SAMPLES = (
    BadSample(
        storage_knows_neither_room_nor_torch_nor_flask, "storage.users", "from tuning.config import TuningConfig"
    ),
    BadSample(storage_knows_neither_room_nor_torch_nor_flask, "storage.users", "import app.errors"),
    BadSample(storage_knows_neither_room_nor_torch_nor_flask, "storage.users", "from flask import g"),
    BadSample(storage_knows_neither_room_nor_torch_nor_flask, "storage.users", "def load():\n    import torch.nn"),
    BadSample(tuning_knows_neither_app_nor_flask, "tuning.tasks", "from app.config import AppConfig"),
    BadSample(tuning_knows_neither_app_nor_flask, "tuning.tasks", "import flask"),
    BadSample(rooms_without_torch_take_only_the_queue_from_tuning, "app.web.voices", "from tuning import trainer"),
    BadSample(
        rooms_without_torch_take_only_the_queue_from_tuning, "app.admin.users", "from tuning.prefix import Prefix"
    ),
    BadSample(rooms_without_torch_take_only_the_queue_from_tuning, "app.embedded.roles", "import torch"),
    BadSample(rooms_without_torch_take_only_the_queue_from_tuning, "app.demo.report", "import tuning"),
    BadSample(only_the_api_imports_generation, "app.web.writing", "from app.generation import engine"),
    BadSample(benchmarks_are_nobodys_business, "tuning.evaluation", "from benchmarks import peers"),
    BadSample(benchmarks_are_nobodys_business, "tuning.prefix", "import peft"),
    BadSample(pretraining_knows_no_room_and_no_room_knows_it, "tuning.evaluation", "from pretraining import corpus"),
    BadSample(pretraining_knows_no_room_and_no_room_knows_it, "app.web.voices", "import pretraining"),
    BadSample(pretraining_knows_no_room_and_no_room_knows_it, "storage.users", "from pretraining.state import STATE"),
    BadSample(pretraining_knows_no_room_and_no_room_knows_it, "pretraining.card", "from tuning.prefix import Prefix"),
    BadSample(only_the_api_imports_generation, "tuning.evaluation", "from app.generation.sampling import sample"),
    BadSample(only_the_api_imports_the_api, "app.web.gateway", "from app.api.factory import create_app"),
    BadSample(the_demo_is_nobodys_business, "app.web.guests", "from app.demo.terminal import say"),
    BadSample(pieces_know_no_platform, "app.pieces.reading", "from storage import samples"),
    BadSample(pieces_know_no_platform, "app.pieces.reading", "from app.demo.errors import DemoFailed"),
    BadSample(generation_takes_only_prefix_and_base_model, "app.generation.engine", "from tuning.config import DTYPES"),
    BadSample(generation_takes_only_prefix_and_base_model, "app.generation.engine", "from storage import prefixes"),
    BadSample(generation_takes_only_prefix_and_base_model, "app.generation.engine", "from .. import errors"),
    BadSample(generation_takes_only_prefix_and_base_model, "app.generation.engine", "import redis"),
    BadSample(only_configuration_reads_the_environment, "app.web.factory", "import os\nx = os.environ['HOME']"),
    BadSample(only_configuration_reads_the_environment, "tuning.tasks", "from os import getenv\nx = getenv('HOME')"),
    BadSample(imports_stand_at_the_top, "app.web.voices", "def view():\n    from storage import voices"),
    BadSample(imports_stand_at_the_top, "tuning.tasks", "def tune():\n    from tuning import trainer"),
    BadSample(imports_stand_at_the_top, "app.web.voices", "import importlib\nx = importlib.import_module('storage')"),
    BadSample(nothing_is_pickled, "tuning.checkpoint", "import pickle"),
    BadSample(nothing_is_pickled, "tuning.checkpoint", "import torch\nx = torch.load(f, weights_only=False)"),
    BadSample(nothing_is_pickled, "tuning.celery_app", "app.conf.accept_content = ['json', 'pickle']"),
    BadSample(modules_are_short, "app.api.completions", "x = 1\n" * (MAX_LINES + 1)),
    BadSample(modules_say_what_they_own, "app.api.completions", "x = 1"),
    BadSample(modules_are_named_by_nouns, "app.api.utils", '"""Odds and ends."""'),
    BadSample(errors_are_not_swallowed, "app.api.completions", "try:\n    x()\nexcept Exception:\n    pass"),
    BadSample(errors_are_not_swallowed, "app.api.completions", "try:\n    x()\nexcept:\n    raise"),
    BadSample(config_fields_are_documented, "app.config", 'class AppConfig:\n    """One."""\n    port: int = 1'),
)
RULES = tuple(dict.fromkeys(sample.rule for sample in BAD_SAMPLES))


@pytest.mark.parametrize("sample", BAD_SAMPLES, ids=lambda sample: f"{sample.rule.__name__}: {sample.name}")
def test_rule_is_able_to_fail(sample: BadSample) -> None:
    assert list(sample.rule(Module(sample.name, sample.source)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds_everywhere(rule: Callable[[Module], Breaches]) -> None:
    breaches = [f"{module.name}: {breach}" for module in MODULES.values() for breach in rule(module)]
    assert not breaches, "\n".join(breaches)


def test_relative_imports_and_submodules_are_told_apart() -> None:
    module = Module(
        "app.web.voices", "from ..config import AppConfig\nfrom storage import errors\nfrom storage import x"
    )
    assert [wanted.target for wanted in module.imports] == ["app.config", "storage.errors", "storage"]


def test_what_a_module_loads_is_followed_through_other_modules() -> None:
    modules = {
        "app.web": Module("app.web", "import storage.x\ndef f():\n    import later"),
        "storage.x": Module("storage.x", "import torch"),
    }
    assert loaded_by("app.web", modules) == {"storage.x": "app.web", "torch": "storage.x"}


@pytest.mark.parametrize("room", TORCHLESS_ROOMS)
def test_no_room_without_torch_loads_it_by_a_detour(room: str) -> None:
    for name in [name for name, module in MODULES.items() if module.within(room)]:
        for loaded, asking in loaded_by(name, MODULES).items():
            assert loaded.partition(".")[0] not in TORCH, f"{name} loads {loaded} by way of {asking}"


# what is imported -> what must not have been loaded by it
IMPORTS = {
    "app.web.factory": ("torch", "transformers", "app.generation", "app.api"),
    "app.admin.blueprint": ("torch", "transformers", "app.generation", "app.api"),
    "app.embedded": ("torch", "transformers", "app.generation", "app.api"),
    "app.demo": ("torch", "transformers", "app.generation", "app.api"),
    "tuning.celery_app": ("torch", "transformers", "flask", "app"),
    "tuning.sweeper": ("torch", "transformers", "flask", "app"),
    "tuning.tasks": ("torch", "transformers", "flask", "app"),
    "tuning.trainer": ("flask", "app"),
    "storage.store": ("torch", "transformers", "flask", "celery", "app", "tuning"),
    "app.generation.engine": ("flask", "sqlalchemy", "redis", "celery", "storage.database"),
}
LOOK = (
    "import importlib, sys\nimportlib.import_module(sys.argv[1])\nprint([n for n in sys.argv[2:] if n in sys.modules])"
)


@pytest.mark.parametrize(("name", "unwanted"), IMPORTS.items(), ids=IMPORTS.keys())
def test_importing_a_room_really_leaves_the_others_unloaded(name: str, unwanted: tuple[str, ...]) -> None:
    assert is_module(name)
    assert _loaded(name, *unwanted) == "[]"


def test_the_look_at_loaded_modules_is_able_to_fail() -> None:
    assert _loaded("storage.models", "sqlalchemy") == "['sqlalchemy']"


def _loaded(name: str, *unwanted: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, name, *unwanted], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _variables(text: str) -> set[str]:
    return set(re.findall(r"\bIDIOLECT_[A-Z_]+[A-Z]\b", text))


def test_every_variable_is_listed_in_the_documentation_and_none_is_invented() -> None:
    read = {name for module in MODULES.values() for name in _variables(module.source)}
    listed = _variables((ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"))
    assert "IDIOLECT_MASTER_KEY" in read
    assert listed == read, f"only in the code: {read - listed}; only in the documentation: {listed - read}"


def test_pages_carry_no_inline_script_or_style() -> None:
    inline = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
    assert inline.search('<button onclick="go()">')
    assert inline.search("<script>go()</script>")
    assert not inline.search('<script src="/static/a.js" defer></script>')
    for page in (ROOT / "app").rglob("*.html"):
        found = inline.search(page.read_text(encoding="utf-8"))
        assert not found, f"{page.relative_to(ROOT)}: {found.group() if found else ''}"


def test_no_file_names_what_lies_outside_the_repository() -> None:
    outside = "/".join(("..", "shared"))
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: there is no list of files to look through")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.suffix not in (".safetensors", ".woff2", ".png") and path.is_file():
            assert outside not in path.read_text(encoding="utf-8", errors="ignore"), f"{name} names {outside}"
