"""What the pages say, in the reader's language: chosen from what their browser asks for among the catalogues that there
are, else English.

`gettext` and `ngettext` say a sentence now; `marked` notes one for the catalogue that is said later; `told` is for a
finished sentence that storage or a worker made. Placeholders are written %(name)s, and a percent sign is doubled. The
API and the log stay English, and so does all that is said outside a request.
"""

import hashlib
from pathlib import Path
from typing import Any, cast

from flask import Flask, Response, abort, current_app, g, has_request_context, request
from markupsafe import Markup

from app.web.catalogues import BUNDLED, ENGLISH, Language, read_languages

API = "/v1/"
YEAR_S = 365 * 24 * 3600


def current() -> Language:
    """The language of this request."""
    try:
        return cast(Language, g.language)  # asked for some hundred times a page
    except RuntimeError:  # no application here
        return ENGLISH
    except AttributeError:
        g.language = _asked_for()
        return cast(Language, g.language)


def _asked_for() -> Language:
    if not has_request_context() or request.path.startswith(API):
        return ENGLISH
    known: dict[str, Language] = current_app.extensions["languages"]
    return known[request.accept_languages.best_match(known, ENGLISH.code)]


def gettext(message: str, **values: object) -> str:
    """A sentence with these values."""
    said = current().gettext(message)
    return said % values if values else said.replace("%%", "%")


def word(said: str) -> str:
    """A word or sentence without values that is noted elsewhere; data that stands in its place stays as it is."""
    known = current().gettext(said) if said else said  # the empty message is a catalogue's header
    return said if known == said else known.replace("%%", "%")


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """A sentence for so many, which is %(num)s in it, as the language writes numbers."""
    return current().ngettext(one, many, count) % {"num": figures(f"{count:,}"), **values}


def marked(message: str) -> str:
    """A sentence for the catalogue, to be given to `gettext` when it is said."""
    return message


def counted(one: str, many: str) -> tuple[str, str]:
    """The same, for `ngettext`."""
    return one, many


def told(sentence: str) -> str:
    """A sentence that storage, tuning or app.intake made, which know nothing of languages."""
    return current().told(sentence)


def figures(plain: str) -> str:
    """A number as English has it, 1,840.5, with the marks of the language."""
    return plain.translate(current().marks)


def install(app: Flask, translations: str) -> None:
    """Read the catalogues, and give templates `_`, `ngettext`, the trans tag, `word`, `told` and `language`.
    translations: a folder with more of them; empty: none."""
    folders = (BUNDLED, Path(translations)) if translations else (BUNDLED,)
    app.extensions["languages"] = read_languages(folders)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    app.jinja_env.newstyle_gettext = True  # type: ignore[attr-defined]  # values go to the functions below by name
    app.jinja_env.globals.update(_=_on_page, gettext=_on_page, ngettext=_counted_on_page)
    app.add_template_filter(told)
    app.add_template_filter(word)  # of what is no literal: only a literal of ours is markup
    app.context_processor(lambda: {"language": current(), "words_address": _address})
    app.add_url_rule("/words/<code>.js", "words", _script)


def _on_page(message: str, **values: object) -> Markup:
    """A message is markup of ours; a value is escaped unless it is markup too."""
    said = current().gettext(message)
    if not values:
        return Markup(said.replace("%%", "%"))  # noqa: S704 - of our templates, or of a catalogue held to them
    return Markup(said) % values  # noqa: S704 - as above


def _counted_on_page(one: str, many: str, count: int, **values: object) -> Markup:
    said = Markup(current().ngettext(one, many, count))  # noqa: S704 - as above
    return said % {**values, "num": figures(f"{count:,}")}


def _address(language: Language) -> str:
    digest = hashlib.sha256(language.script.encode()).hexdigest()[:10]
    return f"/words/{language.code}.js?v={digest}"


def _script(code: str) -> Response:
    """The words of the pages' scripts in one language; under another hash once they change, so browsers keep them."""
    known: dict[str, Any] = current_app.extensions["languages"]
    if code not in known:
        abort(404)
    answer = Response(known[code].script, mimetype="text/javascript")
    answer.cache_control.max_age = YEAR_S
    answer.cache_control.public = answer.cache_control.immutable = True
    return answer
