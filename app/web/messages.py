"""`python -m app.web.messages`, which is `make messages`: writes the catalogue of everything that the pages say, for
whoever translates it, from the sources.

Templates and the face's own code mark what they say. Storage, tuning and app.intake know nothing of languages: whatever
reads like a sentence there goes into the catalogue with places for its values, and `words.told` knows it again.
"""

import ast
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract, extract_javascript, extract_python
from babel.messages.pofile import write_po
from jinja2.ext import babel_extract

from app.web.catalogues import BUNDLED, PHRASE, SCRIPT, SENTENCE

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = BUNDLED / "messages.pot"
KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "ngettext": (1, 2),
    "marked": None,
    "counted": (1, 2),
    "pgettext": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}
TEMPLATE_OPTIONS = {"trimmed": "true", "newstyle_gettext": "true", "silent": "false"}
FACES = ("app/web", "app/admin")
# Whose sentences come to a page: in an answer, as what became of a file, or in the story of a training.
TELLERS = (
    "storage/*.py",
    "app/intake/*.py",
    "tuning/dataset.py",
    "tuning/evaluation.py",
    "tuning/run_in_hand.py",
    "app/api/errors.py",
    "app/api/spoken.py",
    "app/api/token_limits.py",
)
NOT_TOLD = ("storage/export_format.py", "storage/idempotency.py", "storage/schema.py")  # to programs and operators only
PHRASES = (  # what tellers put into their sentences, in words
    "title",
    "prompt",
    "cancel",
    "pause",
    "resume",
    "a feed (.xml) or a .zip of these",
    "the base model",
    "the shared starting point",
    "the version in use",
    "%(count)s from other people",
    "%(count)s with fewer than %(least_words)s words of your own",
    "%(count)s older than the newest %(max_samples)s, which is what a voice can hold",
)
_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")  # of str.format
_SENTENCE = re.compile(r"[A-Z%]\S* .*[.!?]|[A-Z][a-z]+\.", re.DOTALL)
_FOR_OPERATORS = {"ConfigurationError", "WrongMasterKey", "Field"}
_LOGS = {"log", "logger"}


def messages() -> Catalog:
    """All of them, as the sources have them now."""
    catalogue = Catalog(project="Idiolect", charset="utf-8")
    for path, method, options in sources():
        place = path.relative_to(ROOT).as_posix()
        for _, message, comments, context in extract(method, BytesIO(path.read_bytes()), KEYWORDS, (), options):
            catalogue.add(message, locations=[(place, 0)], auto_comments=comments, context=context)
    for phrase in PHRASES:
        catalogue.add(phrase, context=PHRASE)
    return catalogue


def sources() -> Iterator[tuple[Path, Any, dict[str, Any]]]:
    """Each file, how its messages are found, and that method's options."""
    for face in FACES:
        yield from ((path, babel_extract, TEMPLATE_OPTIONS) for path in sorted((ROOT / face).rglob("*.html")))
        yield from ((path, extract_python, {}) for path in sorted((ROOT / face).glob("*.py")))
        yield from ((path, _of_script, {}) for path in sorted((ROOT / face / "static").glob("*.js")))
    for pattern in TELLERS:
        for path in sorted(ROOT.glob(pattern)):
            if path.relative_to(ROOT).as_posix() not in NOT_TOLD:
                yield path, _of_teller, {}


def text() -> str:
    """The catalogue as the file has it: without lines and dates, which would change with everything."""
    file = BytesIO()
    write_po(file, messages(), omit_header=True, include_lineno=False, sort_by_file=False, width=0)
    return file.getvalue().decode().strip() + "\n"


Found = Iterator[tuple[int, str, Any, list[str]]]


def _of_script(file: IO[bytes], keywords: Any, tags: Any, options: Any) -> Found:
    """As babel finds them, in the context of scripts."""
    found: Iterator[Any] = extract_javascript(file, keywords, tags, options)  # its own types are not what it yields
    for line, function, message, comments in found:
        given = message if isinstance(message, tuple) else (message,)
        yield line, "npgettext" if function == "ngettext" else "pgettext", (SCRIPT, *given), comments


def _of_teller(file: IO[bytes], keywords: Any, tags: Any, options: Any) -> Found:
    """Every string that reads like a sentence, but those for the log and for whoever sets the platform up."""
    for line, sentence in _sentences(ast.parse(file.read())):
        yield line, "pgettext", (SENTENCE, sentence), []


def _sentences(node: ast.AST) -> Iterator[tuple[int, str]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Constant | ast.JoinedStr):
            said = _template(child)
            if _SENTENCE.fullmatch(said):
                yield child.lineno, said
        elif not _is_passed_over(child):
            yield from _sentences(child)


def _is_passed_over(node: ast.AST) -> bool:
    """A docstring, a line of the log, an error of configuration."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func).split(".")
    return called[-1] in _FOR_OPERATORS or called[0] in _LOGS


def _template(node: ast.Constant | ast.JoinedStr) -> str:
    """The text of a string, with a named place for each value: {len(parts):,} is %(parts)s, and {limit} %(limit)s."""
    if isinstance(node, ast.Constant):
        return _FIELD.sub(r"%(\1)s", node.value.replace("%", "%%")) if isinstance(node.value, str) else ""
    said, names = "", set()
    for piece in node.values:
        if isinstance(piece, ast.Constant):
            said += str(piece.value).replace("%", "%%")
        else:
            name = _name(piece)
            while name in names:
                name += "_"
            names.add(name)
            said += f"%({name})s"
    return said


def _name(value: ast.expr) -> str:
    """What it is called: by its last attribute, else by its last name."""
    called = {id(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)}
    nodes = [node for node in ast.walk(value) if id(node) not in called]
    attributes = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    names = [node.id for node in nodes if isinstance(node, ast.Name)]
    found = attributes[:1] or names[-1:] or ["value"]
    return found[0].strip("_").lower()


if __name__ == "__main__":
    CATALOGUE.parent.mkdir(exist_ok=True)
    CATALOGUE.write_text(text(), encoding="utf-8")
