"""The languages that the pages can be read in: catalogues of gettext, read from .po files when the app begins.

A folder holds one for each language, as `<language>/LC_MESSAGES/messages.po`. English is the language of the source and
needs none. A translation that would break a page (another placeholder, other markup, too few forms) is not taken, and a
line of the log says so: English stands in its place. Knows no request.
"""

import gettext
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import get_decimal_symbol, get_group_symbol

BUNDLED = Path(__file__).parent / "translations"
PLACE = Path("LC_MESSAGES") / "messages.po"
# Contexts: what storage and workers say, words that they put into it, and what the pages' scripts say.
SENTENCE, PHRASE, SCRIPT = "sentence", "phrase", "script"
MOST_TOLD_CHARS = 1_000  # of a finished sentence; what is longer holds somebody's data
MOST_FORMS_TRIED = 200  # counts, to prove which form of the plural goes with each
PLACEHOLDER = re.compile(r"%\(([A-Za-z_]\w*)\)s")
_TAG = re.compile(r"<[^>]*>")
_BETWEEN = re.compile(r"(?<=[.!?]) ")  # two sentences
_SENTENCE = re.compile(r"[A-Z].*[.!?]", re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{2}")
_FIGURE = re.compile(r"[\d.,]*\d")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Language:
    """One language. catalogue: None for English, whose words are those of the source."""

    locale: Locale
    catalogue: Catalog | None = None
    _words: gettext.NullTranslations = field(default_factory=gettext.NullTranslations, repr=False)

    @classmethod
    def of(cls, catalogue: Catalog, locale: Locale) -> "Language":
        """With its words compiled."""
        compiled = BytesIO()
        write_mo(compiled, catalogue)
        compiled.seek(0)
        return cls(locale, catalogue, gettext.GNUTranslations(compiled))

    @property
    def code(self) -> str:
        """As HTML and HTTP have it: 'pt-BR'."""
        return str(self.locale).replace("_", "-")

    @property
    def direction(self) -> str:
        """'ltr' or 'rtl'."""
        return self.locale.text_direction

    @cached_property
    def marks(self) -> Mapping[int, str]:
        """For str.translate: the marks in a number, from those of English to its own."""
        return {ord(","): get_group_symbol(self.locale), ord("."): get_decimal_symbol(self.locale)}

    def gettext(self, message: str) -> str:
        """A message in this language; as it is where it has none."""
        return self._words.gettext(message)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The form for so many."""
        return self._words.ngettext(one, many, count)

    def told(self, sentence: str) -> str:
        """A finished sentence of storage or a worker, or several, each found by the template that it was made from; as
        it is where there is none."""
        if len(sentence) > MOST_TOLD_CHARS:
            return sentence
        if (said := self._sentences.said(sentence, self._value)) is not None:
            return said
        pieces = _BETWEEN.split(sentence)
        return " ".join(self.told(piece) for piece in pieces) if len(pieces) > 1 else sentence

    def _value(self, value: str) -> str:
        """What stands in a sentence: a number, another sentence, phrases of ours, or data, which stays as it is."""
        if _FIGURE.fullmatch(value):
            return value.translate(self.marks)
        if _SENTENCE.fullmatch(value):
            return self.told(value)
        pieces = value.split(", ")
        return ", ".join(self._phrases.said(piece, self._value) or piece for piece in pieces)

    @cached_property
    def _sentences(self) -> "_Told":
        return _Told(self.catalogue, SENTENCE)

    @cached_property
    def _phrases(self) -> "_Told":
        return _Told(self.catalogue, PHRASE)

    @cached_property
    def script(self) -> str:
        """What words.js has to know: a script that says the words of all scripts. Empty for English."""
        if self.catalogue is None:
            return ""
        said: dict[str, Any] = {
            message.id if isinstance(message.id, str) else message.id[0]: message.string
            for message in self.catalogue
            if message.context == SCRIPT
        }
        # gettext has proved this expression when it read the catalogue; in C it means what it means here.
        chosen = f"(n) => Number({self.catalogue.plural_expr})"
        return f"window.translated = {{ said: {json.dumps(said)}, form: {chosen} }};\n"


class _Told:
    """What is known of one context: finished text by the template that it was made from."""

    def __init__(self, catalogue: Catalog | None, context: str) -> None:
        known = [(str(one.id), str(one.string)) for one in catalogue or () if one.context == context]
        self._whole = {id_ % {}: said % {} for id_, said in known if not PLACEHOLDER.search(id_)}
        made = [(id_, said) for id_, said in known if PLACEHOLDER.search(id_)]
        made.sort(key=lambda pair: len(PLACEHOLDER.sub("", pair[0])), reverse=True)  # the most words of their own first
        self._patterns = [(pattern, said) for id_, said in made if (pattern := _pattern(id_))]

    def said(self, text: str, value: Callable[[str], str]) -> str | None:
        """In the language, with each value through `value` but those in quotation marks, which are somebody's; None
        where it is not known."""
        if (known := self._whole.get(text)) is not None:
            return known
        for pattern, template in self._patterns:
            if found := pattern.fullmatch(text):
                quoted = {name for name in found.groupdict() if text[: found.start(name)].endswith("“")}
                values = found.groupdict().items()
                return template % {name: held if name in quoted else value(held) for name, held in values}
        return None


ENGLISH = Language(Locale("en"))


def read_languages(folders: Iterable[Path]) -> dict[str, Language]:
    """Code -> language, English first. A later folder's catalogue replaces an earlier one's of the same language."""
    found = {ENGLISH.code: ENGLISH}
    for folder in folders:
        for path in sorted(folder.glob(f"*/{PLACE}")):
            language = _read(path, path.relative_to(folder).parts[0])
            if language is not None:
                found[language.code] = language
    return found


def _read(path: Path, name: str) -> Language | None:
    try:
        locale = Locale.parse(name, sep="-" if "-" in name else "_")
        with path.open("rb") as file:
            catalogue = read_po(file, locale=locale, abort_invalid=True)
        _prove_plurals(catalogue)
        return Language.of(_sound(catalogue, path), locale)
    except (UnknownLocaleError, PoFileError, LookupError, ValueError) as wrong:  # LookupError: of a charset
        logger.warning("%s is no catalogue that can be read, and was left out: %s", path, wrong)
        return None


def _prove_plurals(catalogue: Catalog) -> None:
    """Raises ValueError where the rule of the plural chooses a form that there is none of."""
    form = gettext.c2py(catalogue.plural_expr)
    if not all(form(count) < catalogue.num_plurals for count in range(MOST_FORMS_TRIED)):
        raise ValueError(f"its rule of the plural chooses among more forms than {catalogue.num_plurals}")


def _sound(catalogue: Catalog, path: Path) -> Catalog:
    """Only the messages that are translated and can't break a page."""
    kept = Catalog(locale=catalogue.locale)
    kept.mime_headers = catalogue.mime_headers
    for message in catalogue:
        forms = _forms(message.string)
        if not message.id or message.fuzzy or not any(forms):
            continue
        if mistake := _mistake(message, forms, catalogue.num_plurals):
            logger.warning("%s, line %s: not taken, %s", path, message.lineno, mistake)
            continue
        kept.add(message.id, message.string, context=message.context)
    return kept


def _mistake(message: Message, forms: tuple[str, ...], num_plurals: int) -> str:
    """What is wrong with a translation; empty where nothing is."""
    originals = _forms(message.id)
    if len(forms) != (num_plurals if len(originals) > 1 else 1) or not all(forms):
        return "it needs other forms of the plural"
    values = dict.fromkeys(PLACEHOLDER.findall(" ".join(originals)), "")
    for form in forms:
        try:
            form % values
        except (KeyError, TypeError, ValueError):
            return "a placeholder in it has no value, or a % stands alone"
        if sorted(_TAG.findall(form)) not in [sorted(_TAG.findall(original)) for original in originals]:
            return "its markup is not that of the original"
        if re.search(r"[<>]", _TAG.sub("", form)):
            return "a < or > stands alone in it"
        if '"' in _TAG.sub("", form):
            return 'a straight " in it would end an attribute; use the quotation marks of the language'
    return ""


def _forms(said: Any) -> tuple[str, ...]:
    return (said,) if isinstance(said, str) else tuple(said)


def _pattern(template: str) -> re.Pattern[str] | None:
    """What a finished text of this template looks like. A value ends where the words after it first stand, and the last
    one goes to the end, so that no text takes long to try. None for a template without words of its own, which would
    look like anything, and where two values touch."""
    first, *rest = PLACEHOLDER.split(template)  # words, name, words … words
    places = list(zip(rest[::2], rest[1::2], strict=True))
    if not _WORD.search(first + "".join(rest[1::2])) or not all(words for _, words in places[:-1]):
        return None
    made, names = re.escape(first % {}), set()
    for number, (name, words) in enumerate(places):
        after = re.escape(words % {})
        if name in names:
            made += f"(?P={name}){after}"
        elif number == len(places) - 1:
            made += f"(?P<{name}>.+){after}"
        else:
            made += f"(?>(?P<{name}>.+?){after})"
        names.add(name)
    return re.compile(made, re.DOTALL)
