"""What becomes of pasted text and uploaded files, good and bad."""

import os
import unicodedata

import pytest

from storage import text_intake
from storage.errors import InvalidSample
from tests.factories import SAMPLE_TEXTS

FRENCH = "Où est passé l'été ? Il était là hier, près de la fenêtre, et déjà l'on s'en plaignait à voix haute. " * 4
RUSSIAN = "Вчера весь день шёл дождь, и мы сидели у окна, пили чай и говорили о старом саде за рекой. " * 4
POLISH = "Wczoraj padało przez cały dzień, więc siedzieliśmy przy oknie i mówiliśmy o ogrodzie za rzeką; źle mu. " * 4
JAPANESE = "昨日は一日中雨が降っていたので、窓辺でお茶を飲みながら古い庭の話をした。" * 4


def test_text_is_kept_as_it_was_written() -> None:
    for text in (*SAMPLE_TEXTS, "Zwei  Leerzeichen\n\n\tund ein Einzug – “so”, 👩‍🚀 bleibt es."):
        assert text_intake.clean_text(text) == text


def test_newlines_composition_and_control_characters_are_made_plain() -> None:
    written = "\ufeff  Cafe\u0301 am Abend\r\nmit\x00 dir\r und\x1b mir, lange\x7f genug \n"
    assert text_intake.clean_text(written) == "Café am Abend\nmit dir\n und mir, lange genug"
    assert unicodedata.is_normalized("NFC", text_intake.clean_text("e\u0301" * 20))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "There is no text here yet"),
        (" \n\t\r\n ", "There is no text here yet"),
        ("Too short.", "write at least 10 more characters"),
        ("x" * 19, "write at least 1 more character[.]"),
        ("x" * 200_001, "200,001 characters long, and one sample may have 200,000"),
        ("x" * 1_000_000, "Split it into parts"),
        ("\x00\x01\x02\x03\x04\x05 binary \x06\x07\x08" * 9, "not text but the inside of a file"),
        ("%PDF-1.7 and then a lot of what follows in such files", "not text but the inside of a file"),
        ("\ud800\udfff" * 40, "not text but the inside of a file"),
    ],
)
def test_each_bad_text_gets_a_sentence_that_says_what_to_do(text: str, sentence: str) -> None:
    with pytest.raises(InvalidSample, match=sentence):
        text_intake.clean_text(text)


def test_the_longest_and_the_shortest_text_are_kept() -> None:
    for length in (text_intake.MIN_CHARS, text_intake.MAX_CHARS):
        assert len(text_intake.clean_text("x" * length)) == length


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_files_in_the_usual_encodings_are_read(encoding: str) -> None:
    assert text_intake.decode_upload(FRENCH.encode(encoding), "été.txt") == FRENCH


@pytest.mark.parametrize(("text", "encoding"), [(POLISH, "cp1250"), (POLISH, "iso-8859-2"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (JAPANESE, "shift_jis"), (JAPANESE, "utf-16-le")])  # fmt: skip  # noqa: E501
def test_files_of_other_writing_systems_are_read_or_refused_but_never_garbled(text: str, encoding: str) -> None:
    try:
        assert text_intake.decode_upload(text.encode(encoding), "x.txt") == text
    except InvalidSample as refused:
        assert "plain text" in str(refused) or "UTF-8" in str(refused)  # noqa: PT017


@pytest.mark.parametrize(
    ("data", "name", "sentence"),
    [
        (b"", "a.txt", "This file is empty"),
        (b" \n ", "a.txt", "This file is empty"),
        (b"PK\x03\x04" + bytes(200), "a.txt", "not text but the inside of a file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a.md", "not text but the inside of a file"),
        (b"%PDF-1.7\nsome words", "a.txt", "not text but the inside of a file"),
        (b"good words", "a.docx", "Save it as .txt or .md"),
        (b"good words", "a", "Save it as .txt or .md"),
        (b"\xff\xfea", "a.txt", "save it again as UTF-8"),
        (b"x" * 900_000, "a.txt", "Split it into parts"),
    ],
)
def test_each_bad_file_gets_a_sentence_that_says_what_to_do(data: bytes, name: str, sentence: str) -> None:
    with pytest.raises(InvalidSample, match=sentence):
        text_intake.decode_upload(data, name)


def test_random_bytes_never_pass_as_writing() -> None:
    for _ in range(20):
        with pytest.raises(InvalidSample):
            text_intake.clean_text(text_intake.decode_upload(os.urandom(2000), "noise.txt"))


@pytest.mark.parametrize("name", ["a.txt", "A.TXT", "b.md", "c.markdown", "letters.2024.text"])
def test_plain_text_files_are_taken(name: str) -> None:
    assert text_intake.decode_upload(b"good words", name) == "good words"


def test_titles_prompts_and_dates_are_tidied_or_refused() -> None:
    assert text_intake.clean_line("  A\x00 title ", "title", 20) == "A title"
    assert text_intake.clean_line("  ", "title", 20) is None
    assert text_intake.clean_line(None, "title", 20) is None
    with pytest.raises(InvalidSample, match="The title has 21 characters and may have 20"):
        text_intake.clean_line("x" * 21, "title", 20)
    assert text_intake.clean_date(" 2024-05-31 ") == "2024-05-31"
    assert text_intake.clean_date("") is None
    for wrong in ("31.5.2024", "2024-13-01", "yesterday"):
        with pytest.raises(InvalidSample, match="like 2024-05-31"):
            text_intake.clean_date(wrong)
