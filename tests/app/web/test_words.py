"""The reader's language: how it is chosen, what is said in it, and what a catalogue may not do."""

import json
import logging
from pathlib import Path

import pytest
from flask import Flask, Response, render_template_string, url_for

from app.config import AppConfig
from app.errors import ConfigurationError
from app.web import catalogues, words
from app.web.catalogues import ENGLISH, PLACE, read_languages
from app.web.drafts import retold
from app.web.factory import create_app
from storage import voices
from storage.store import Storage
from tests import pseudo_language
from tests.app.web.browser import Browser, join

HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n{plural}"\n\n'
POLISH = "Plural-Forms: nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2);\\n"
GERMAN = {
    "Sign up": "Registrieren",
    "Version %(version)s": "Fassung %(version)s",
    "The whole report of version %(version)s": "Bericht der Fassung %(number)s",
    "Add": '"Dazu"',
    "Use it": "<b>Gebrauchen</b>",
    "Stop": "Zu 50 % fertig",
    "Close": "Zu <img src=x onerror=1 ",
}


def catalogue(folder: Path, language: str, messages: str, plural: str = "") -> Path:
    place = folder / language / PLACE
    place.parent.mkdir(parents=True)
    place.write_text(HEADER.format(plural=plural) + messages, encoding="utf-8")
    return folder


def pairs(said: dict[str, str]) -> str:
    lines = [f'msgid "{_quoted(id_)}"\nmsgstr "{_quoted(text)}"\n' for id_, text in said.items()]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')


def app_of(storage: Storage, translations: Path) -> Flask:
    return create_app(AppConfig(api_url="http://127.0.0.1:1", translations=str(translations)), storage)


@pytest.fixture
def german(storage: Storage, tmp_path: Path) -> Flask:
    return app_of(storage, catalogue(tmp_path, "de", pairs(GERMAN)))


@pytest.fixture
def pseudo(storage: Storage, tmp_path: Path) -> Flask:
    return app_of(storage, pseudo_language.write(tmp_path))


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de"),
        ("fr;q=0.9, de;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr", "en"),
        ("", "en"),
        ("*", "en"),
        ("nonsense;;q", "en"),
    ],
)
def test_a_page_comes_in_the_language_that_is_asked_for_and_there(german: Flask, asked: str, language: str) -> None:
    page = german.test_client().get("/", headers={"Accept-Language": asked}).text
    assert f'<html lang="{language}">' in page
    assert ("Registrieren" in page) is (language == "de")


def test_without_a_catalogue_everybody_reads_english(browser: Browser) -> None:
    page = browser.get("/", headers={"Accept-Language": "de"})
    assert '<html lang="en">' in page.text
    assert "/words/" not in page.text


def test_a_language_that_is_read_from_right_to_left_says_so(storage: Storage, tmp_path: Path) -> None:
    app = app_of(storage, catalogue(tmp_path, "he", pairs({"Sign up": "הרשמה"})))
    assert '<html lang="he" dir="rtl">' in app.test_client().get("/", headers={"Accept-Language": "he"}).text


def test_translations_that_would_break_a_page_are_left_out_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        language = read_languages([catalogue(tmp_path, "de", pairs(GERMAN))])["de"]
    assert language.gettext("Sign up") == "Registrieren"
    assert language.gettext("Version %(version)s") == "Fassung %(version)s"
    for broken in ("The whole report of version %(version)s", "Add", "Use it", "Stop", "Close"):
        assert language.gettext(broken) == broken
    assert len(caplog.messages) == 5


@pytest.mark.parametrize(
    "content",
    [
        "msgid unquoted",
        "\x00",
        'msgid "a"\nmsgid "b"\n',
        HEADER.format(plural="").replace("utf-8", "no-such-charset"),
        HEADER.format(plural="Plural-Forms: nplurals=2; plural=n%3;\\n"),
    ],
)
def test_what_is_no_catalogue_is_left_out(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "de" / PLACE
    place.parent.mkdir(parents=True)
    place.write_text(content)
    assert "de" not in read_languages([tmp_path])
    assert "was left out" in caplog.text
    assert set(read_languages([catalogue(tmp_path, "xx-nowhere", "")])) == {"en"}


def test_a_folder_of_ones_own_replaces_what_comes_along(tmp_path: Path) -> None:
    first = catalogue(tmp_path / "bundled", "pt_BR", pairs({"Sign up": "Criar conta"}))
    second = catalogue(tmp_path / "own", "pt_BR", pairs({"Sign up": "Inscrever-se"}))
    assert read_languages([first, second])["pt-BR"].gettext("Sign up") == "Inscrever-se"


def test_a_folder_that_is_not_there_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="IDIOLECT_TRANSLATIONS"):
        AppConfig.from_env({"IDIOLECT_TRANSLATIONS": "/nowhere"})


def test_the_forms_of_the_plural_are_the_languages(storage: Storage, tmp_path: Path) -> None:
    said = 'msgid "%(num)s word"\nmsgid_plural "%(num)s words"\n'
    said += "".join(f'msgstr[{form}] "%(num)s {word}"\n' for form, word in enumerate(("słowo", "słowa", "słów")))
    app = app_of(storage, catalogue(tmp_path, "pl", said, POLISH))
    with app.test_request_context(headers={"Accept-Language": "pl"}):
        counts = [words.ngettext("%(num)s word", "%(num)s words", count) for count in (1, 3, 5, 1022)]
    assert counts == ["1 słowo", "3 słowa", "5 słów", "1\N{NO-BREAK SPACE}022 słowa"]


def test_numbers_and_days_are_in_the_manner_of_the_language(german: Flask) -> None:
    template = "{{ 1840.5 | amount }} {{ 9.04 | percent }} {{ '2026-05-02' | day }}"
    with german.test_request_context(headers={"Accept-Language": "de"}):
        shown = render_template_string(template)
    assert shown == '1.840,5 9,0\N{NO-BREAK SPACE}% <time datetime="2026-05-02">2 Mai 2026</time>'


def test_values_are_escaped_and_messages_are_markup(german: Flask) -> None:
    template = '{{ _("Version %(version)s", version=name) }} {% trans name=name %}<b>{{ name }}</b>{% endtrans %}'
    with german.test_request_context(headers={"Accept-Language": "de"}):
        shown = render_template_string(template + "{{ name | word }}", name="<i>")
    assert shown == "Fassung &lt;i&gt; <b>&lt;i&gt;</b>&lt;i&gt;"


@pytest.mark.parametrize("data", ["50 %", "%(nobody)s", "100%%", ""])
def test_data_that_stands_for_a_word_stays_as_it_is(german: Flask, data: str) -> None:
    with german.test_request_context(headers={"Accept-Language": "de"}):
        assert words.word(data) == data
        assert words.word("Sign up") == "Registrieren"


def test_finished_sentences_are_known_again_by_their_template(tmp_path: Path) -> None:
    language = read_languages([pseudo_language.write(tmp_path)])[pseudo_language.CODE]
    told = {
        "Cancelled.": "⟦Cancelled.⟧",
        "You already have a voice named “50 %”: choose another name.": (
            "⟦You already have a voice named “⟧50 %⟦”: choose another name.⟧"
        ),
        "The title has 1,234 characters and may have 200: shorten it.": (
            "⟦The ⟧⟦title⟧⟦ has ⟧1,234⟦ characters and may have ⟧200⟦: shorten it.⟧"
        ),
        "Messages left out: 3 from other people, 1 with fewer than 8 words of your own.": (
            "⟦Messages left out: ⟧3⟦ from other people⟧, 1⟦ with fewer than ⟧8⟦ words of your own⟧⟦.⟧"
        ),
        "Files of the kind “.cancel” can't be read here. What can: .txt, a feed (.xml) or a .zip of these.": (
            "⟦Files of the kind “⟧.cancel⟦” can't be read here. What can: ⟧.txt, ⟦a feed (.xml) or a .zip of these⟧⟦.⟧"
        ),
        "Nobody said this before.": "Nobody said this before.",
        "You already have a voice named “pause, cancel”: choose another name.": (
            "⟦You already have a voice named “⟧pause, cancel⟦”: choose another name.⟧"
        ),
    }
    assert {sentence: language.told(sentence) for sentence in told} == told
    assert all(ENGLISH.told(sentence) == sentence for sentence in told)


def test_a_name_can_stand_twice_in_a_sentence_and_much_data_is_not_searched(tmp_path: Path) -> None:
    said = 'msgctxt "sentence"\nmsgid "%(one)s is %(one)s."\nmsgstr "%(one)s bleibt %(one)s."\n'
    language = read_languages([catalogue(tmp_path, "de", said)])["de"]
    assert language.told("A rose is A rose.") == "A rose bleibt A rose."
    assert language.told("A rose is a tulip.") == "A rose is a tulip."
    assert language.told(long := f"{'a' * 1_000} is {'a' * 1_000}.") == long


def test_no_text_takes_long_to_know_again(tmp_path: Path) -> None:
    language = read_languages([pseudo_language.write(tmp_path)])[pseudo_language.CODE]
    patterns = [pattern.pattern for pattern, _ in (*language._sentences._patterns, *language._phrases._patterns)]
    assert len(patterns) > 50
    for pattern in patterns:  # only the last value may give back what it took, so the length of a text counts once
        assert pattern.count(".+?") == pattern.count("(?>")
        assert pattern.count(".+)") <= 1
    assert catalogues._pattern("%(where)s: %(place)s: %(what)s.") is None, "it would look like anything"
    assert catalogues._pattern("%(one)s%(other)s pieces.") is None, "nobody knows where one ends"


def test_what_storage_refuses_is_said_in_the_readers_language(pseudo: Flask, storage: Storage) -> None:
    person = join(pseudo, storage, "ada@example.org")
    with storage.database.session() as session:
        voices.create_voice(session, person.user.id, "Letters")
    page = person.browser.post("/voices", {"name": "Letters"}, headers={"Accept-Language": pseudo_language.CODE})
    assert "⟦You already have a voice named “⟧Letters⟦”: choose another name.⟧" in page.text


def test_the_api_stays_english_and_the_pages_script_does_not(pseudo: Flask, storage: Storage) -> None:
    asked = {"headers": {"Accept-Language": pseudo_language.CODE}}
    api = pseudo.test_client().get("/v1/models", **asked)
    assert "The API is not answering just now." in api.text
    assert "⟦" not in api.text
    person = join(pseudo, storage, "ada@example.org")
    refused = person.browser.post("/write/stream", {"column": "none"}, **asked)
    assert refused.json == {
        **refused.json,
        "error": {**refused.json["error"], "message": "⟦Ask for the column mine, other, first or second.⟧"},
    }


def test_what_the_api_refuses_a_page_is_said_in_the_readers_language(pseudo: Flask) -> None:
    sentence = "Too many requests are being generated right now; try again in a moment."
    with pseudo.test_request_context("/write/stream", headers={"Accept-Language": pseudo_language.CODE}):
        refused = retold(Response(json.dumps({"error": {"message": sentence}}), status=503), blind=False)
        broken = retold(Response(f'data: {{"error": {{"message": "{sentence}"}}}}\n\n'), blind=False)
    assert json.loads(refused.get_data()) == {"error": {"message": f"⟦{sentence}⟧"}}
    assert json.loads(broken.get_data()[len("data: ") :]) == {"error": f"⟦{sentence}⟧"}  # its request is over


def test_scripts_get_their_words_by_an_address_that_changes_with_them(pseudo: Flask) -> None:
    with pseudo.test_request_context():
        language = pseudo.extensions["languages"][pseudo_language.CODE]
        address = words._address(language)
        assert url_for("words", code=pseudo_language.CODE) in address
    script = pseudo.test_client().get(address)
    assert script.mimetype == "text/javascript"
    assert "immutable" in script.headers["Cache-Control"]
    assert '"Copied": "\\u27e6Copied\\u27e7"' in script.text
    assert "form: (n) => Number((n != 1))" in script.text
    assert pseudo.test_client().get("/words/xx.js").status_code == 404


def test_a_typed_word_counts_in_both_languages(pseudo: Flask, storage: Storage) -> None:
    for typed in ("delete", "⟦delete⟧"):
        person = join(pseudo, storage, f"{len(typed)}@example.org")
        asked = {"headers": {"Accept-Language": pseudo_language.CODE}}
        assert "Nothing was deleted" in person.browser.post("/account/delete", {"word": "löschen"}, **asked).text
        assert "Your account is deleted" in person.browser.post("/account/delete", {"word": typed}, **asked).text
