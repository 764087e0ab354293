"""The catalogue is the sources', and no template says a word that is not in it."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment

from app.web import messages
from app.web.catalogues import SENTENCE

TEMPLATES = sorted(path for face in messages.FACES for path in (messages.ROOT / face).rglob("*.html"))
SHOWN = ("title", "placeholder", "aria-label", "alt", "data-label", "data-title")
CODE = ("code", "pre", "script", "style")
NAMES = re.compile(r"\b(?:Idiolect|HTTP|CSV)\b")  # the same in every language
WORD = re.compile(r"[^\W\d_]{2}")
environment = Environment(extensions=["jinja2.ext.i18n"])


class Words(HTMLParser):
    """Collects what is shown of a template of which the marked messages and the expressions were taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in CODE
        self.found += [value for name, value in attrs if name in SHOWN and value]

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in CODE

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.found.append(data)


def unmarked(template: str) -> list[str]:
    """The words of a template that nobody marked: in its HTML, and strings that an expression puts out there."""
    html, inside = "", ""
    for kind, tokens in statements(template):
        if kind == "data":
            html += "" if inside else tokens[0]
        elif kind == "variable":
            html += " ".join(literals(tokens)) or " "
        elif tokens[0] in ("trans", "call", "endtrans", "endcall"):  # what a call hands over is code
            inside = "" if tokens[0].startswith("end") else tokens[0]
        else:
            html += " "
    words = Words()
    words.feed(html)
    words.close()
    return [text.strip() for text in words.found if WORD.search(NAMES.sub("", text))]


def statements(template: str) -> Iterator[tuple[str, list[str]]]:
    """The pieces of a template: what kind, and its tokens."""
    tokens: list[str] = []
    for _, kind, value in environment.lex(template):
        if kind == "data":
            yield "data", [value]
        elif kind in ("variable_begin", "block_begin"):
            tokens = []
        elif kind in ("variable_end", "block_end"):
            yield kind.removesuffix("_end"), tokens
        elif kind != "whitespace" and not kind.startswith("comment"):
            tokens.append(value)


def literals(tokens: list[str]) -> list[str]:
    """Strings that an expression may put out as they are: at its beginning, after else, or, and ~; not what a call
    gets."""
    if tokens[-2:] == ["|", "word"]:
        return []
    found, before, in_call = [], "", 0
    for token in tokens:
        in_call += (token == "(" and (in_call > 0 or before.isidentifier())) - (token == ")" and in_call > 0)
        if not in_call and token[:1] in "\"'" and before in ("", "else", "or", "~"):
            found.append(token.strip("\"'"))
        before = token
    return found


def test_the_catalogue_is_up_to_date() -> None:
    assert messages.CATALOGUE.read_text(encoding="utf-8") == messages.text(), "run `make messages`"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_word_of_a_template_is_marked(path: Path) -> None:
    assert unmarked(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "template",
    [
        "<p>Add samples</p>",
        '<a title="Add {{ name }}"></a>',
        '{{ "Stop" if live else _("Go on") }}',
        '{{ _("Stop") if live else "Go on" }}',
        '{{ name or "somebody" }}',
        '{{ "version " ~ number }}',
        "{% trans %}Add{% endtrans %} samples",
    ],
)
def test_an_unmarked_word_is_found(template: str) -> None:
    assert unmarked(template)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_only_what_a_template_says_itself_is_markup(path: Path) -> None:
    """`_` makes markup of its message, so it must get no data: that takes the filter `word`."""
    called = re.findall(r"\b(?:_|ngettext)\(\s*(.)", path.read_text(encoding="utf-8"))
    assert set(called) <= {'"', "'"}


def test_sentences_of_storage_and_workers_are_in_it_with_places_for_their_values() -> None:
    told = {message.id for message in messages.messages() if message.context == SENTENCE}
    assert "There is already an account with this address: sign in, or use another address." in told
    assert "You already have a voice named “%(tidy)s”: choose another name." in told
    assert "Waiting for a worker, with %(sample_ids)s samples." in told
    assert "Your account may have %(limit)s voices and has %(has)s." in told
    assert not any("IDIOLECT_" in str(sentence) for sentence in told)
