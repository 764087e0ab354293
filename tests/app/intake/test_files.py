"""Every kind of file gives its text, and every bad one a sentence; one bad thing costs nothing else."""

import json
import struct
import tracemalloc
import zipfile
from collections.abc import Collection
from contextlib import suppress
from io import BytesIO
from unittest.mock import ANY

import pytest

from app.intake import archive, feed, pdf, word_document
from app.intake.errors import Unreadable
from app.intake.files import BROKEN, read_file
from app.intake.findings import Finding, Noted, Piece, Refused, Senders, from_line, to_line
from storage.remarks import kept_text
from storage.text_intake import MAX_CHARS
from tests.app.intake.made_files import docx, letter, mailbox, rss, zipped
from tests.app.intake.made_files import pdf as made_pdf
from tests.factories import SAMPLE_TEXTS

TEXT = SAMPLE_TEXTS[0]
ADA = frozenset({"ada@example.org"})


def read(name: str, data: bytes, addresses: Collection[str] = ADA) -> list[Finding]:
    return [found for found in read_file(name, data, addresses) if not isinstance(found, str)]


def texts(name: str, data: bytes, addresses: Collection[str] = ADA) -> list[str]:
    return [kept_text(found.parts) for found in read(name, data, addresses) if isinstance(found, Piece)]


def refusal(name: str, data: bytes) -> str:
    (found,) = read(name, data)
    assert isinstance(found, Refused)
    assert found.source == name
    return found.sentence


def test_plain_text_keeps_its_name_as_title() -> None:
    (found,) = read("The ferry.txt", TEXT.encode("cp1252"))
    assert isinstance(found, Piece)
    assert (found.title, kept_text(found.parts), found.source) == ("The ferry", TEXT, "The ferry.txt")


def test_markdown_loses_its_front_matter_and_its_block_quotes() -> None:
    text = f"---\ntitle: Ferry\n---\n\n{TEXT}\n\n> Somebody else's fine words.\n\nThe end of it."
    assert texts("ferry.md", text.encode()) == [f"{TEXT}\n\nThe end of it."]


def test_a_word_document_gives_paragraphs_breaks_and_tabs() -> None:
    run = "<w:p><w:r><w:t xml:space='preserve'>One </w:t><w:tab/><w:t>two</w:t><w:br/><w:t>three</w:t></w:r></w:p>"
    assert texts("a.docx", docx(TEXT, "", run)) == [f"{TEXT}\n\nOne \ttwo\nthree"]


def test_of_a_word_document_what_was_inserted_counts_and_what_was_deleted_does_not() -> None:
    changed = (
        "<w:p><w:ins><w:r><w:t>New words. </w:t></w:r></w:ins><w:del><w:r><w:delText>Old words.</w:delText></w:r>"
        "</w:del><w:r><w:instrText>PAGE</w:instrText></w:r>"
        "<w:hyperlink><w:r><w:t>A link.</w:t></w:r></w:hyperlink></w:p>"
    )
    assert texts("a.docx", docx(TEXT, changed)) == [f"{TEXT}\nNew words. A link."]


def test_a_pdf_gives_whole_paragraphs_without_what_stands_on_every_page() -> None:
    prose = [
        "The ferry was late again, and nobody minded. We stood along the",
        "rail with our collars up and watched the gulls argue over a fa-",
        "mous crust.",
        "Old Brennan said the sea keeps its own hours.",
    ]
    pages = [["My memoirs, page " + str(number), *prose, str(number)] for number in range(1, 5)]
    (text,) = texts("memoirs.pdf", made_pdf(*pages))
    assert text.startswith(
        "The ferry was late again, and nobody minded. We stood along the rail with our collars up and watched the "
        "gulls argue over a famous crust.\nOld Brennan said"
    )
    assert "memoirs" not in text
    assert "\n4" not in text


def test_training_lines_keep_what_they_answer() -> None:
    lines = [{"text": TEXT}, {"prompt": "Why?", "completion": SAMPLE_TEXTS[1]}]
    found = read("letters.jsonl", "\n".join(map(json.dumps, lines)).encode())
    assert [(piece.title, piece.prompt) for piece in found if isinstance(piece, Piece)] == [
        ("letters 1", None),
        ("letters 2", "Why?"),
    ]


def test_of_a_letter_only_its_own_words_are_in() -> None:
    text = f"{TEXT}\n\nOn Tue, 3 Mar 2026, Bob wrote:\n> Will you come?\n\n-- \nAda"
    (found,) = read("reply.eml", letter(text))
    assert isinstance(found, Piece)
    assert (found.title, found.written_on, found.sender) == ("The roof", "2026-03-03", None)
    assert kept_text(found.parts) == TEXT
    assert [part.kind for part in found.parts if part.out] == ["attribution", "quote", "signature"]


def test_a_letter_from_somebody_else_says_so() -> None:
    (found,) = read("theirs.eml", letter(TEXT, "Bob <BOB@example.org>"))
    assert isinstance(found, Piece)
    assert found.sender == "bob@example.org"


def test_a_letter_in_html_is_read_with_its_quotation_marked() -> None:
    html = (
        f"<style>p {{}}</style><p>{TEXT}</p><p>Yours,<br>Ada</p>"
        '<div class="gmail_quote"><div>On Tue, 3 Mar 2026, Bob wrote:<br></div>'
        "<blockquote>Will you come?</blockquote></div>"
    )
    assert texts("reply.eml", letter("", html=html)) == [f"{TEXT}\n\nYours,\nAda"]


def test_a_letter_s_lines_are_made_whole() -> None:
    wrapped = (
        "The ferry was late again, and nobody minded. We stood along the rail\n"
        "with our collars up and watched the gulls argue over a crust. Old\n"
        "Brennan said the sea keeps its own hours.\n\nYours,\nAda"
    )
    (text,) = texts("a.eml", letter(wrapped))
    assert text == " ".join(wrapped.partition("\n\n")[0].split("\n")) + "\n\nYours,\nAda"


def test_of_a_mailbox_only_the_person_s_letters_are_taken_and_the_rest_is_counted() -> None:
    data = mailbox(
        letter(SAMPLE_TEXTS[1], date="Wed, 04 Mar 2026 09:15:00 +0100"),
        letter("I wrote this, said Bob, " * 10, "bob@example.org"),
        letter("Thanks!"),
        letter(f"{SAMPLE_TEXTS[0]}\n\nFrom here the sea is grey.", "=?utf-8?q?Ad=C3=A0?= <ADA@example.org>"),
    )
    found = read("Sent.mbox", data)
    assert [piece.written_on for piece in found if isinstance(piece, Piece)] == ["2026-03-03", "2026-03-04"]
    assert texts("Sent.mbox", data) == [f"{SAMPLE_TEXTS[0]}\n\nFrom here the sea is grey.", SAMPLE_TEXTS[1]]
    assert found[-1] == Noted(
        "Sent.mbox", "Messages left out: 1 from other people, 1 with fewer than 20 words of your own."
    )


def test_a_mailbox_without_an_ending_is_known_by_its_beginning() -> None:
    assert texts("Sent", mailbox(letter(TEXT))) == [TEXT]


def test_a_mailbox_in_which_the_person_never_wrote_offers_who_did() -> None:
    data = mailbox(letter(TEXT, "bob@example.org"), letter(TEXT, "bob@example.org"), letter(TEXT, "eve@example.org"))
    assert read("x.mbox", data) == [Senders("x.mbox", (("bob@example.org", 2), ("eve@example.org", 1)))]


def test_of_a_mailbox_the_newest_are_taken_as_far_as_a_voice_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.intake.mail.MAX_SAMPLES", 2)
    letters = [letter(f"{TEXT} {day}", date=f"Tue, {day:02} Mar 2026 09:15:00 +0100") for day in (3, 5, 4)]
    found = read("x.mbox", mailbox(*letters))
    assert [piece.written_on for piece in found if isinstance(piece, Piece)] == ["2026-03-04", "2026-03-05"]
    assert isinstance(found[-1], Noted)
    assert "1 older than the newest 2" in found[-1].sentence


def test_a_feed_gives_posts_with_dates_and_marks_other_authors() -> None:
    mine = rss(
        ("A ferry &amp; a gull", "Tue, 03 Mar 2026 09:15:00 GMT", f"<p>{TEXT}</p><blockquote>Quoted.</blockquote>"),
        ("Tables", "Mon, 02 Mar 2026 09:15:00 GMT", f"<p>{SAMPLE_TEXTS[1]}</p>"),
        author="Ada",
    )
    theirs = rss(("Guest", "Wed, 04 Mar 2026 09:15:00 GMT", f"<p>{SAMPLE_TEXTS[2]}</p>"), author="Bob")
    both = mine.replace(b"</channel>", theirs.partition(b"</title>")[2].partition(b"</channel>")[0] + b"</channel>")
    found = [piece for piece in read("feed.xml", both) if isinstance(piece, Piece)]
    assert [(piece.title, piece.written_on, piece.sender) for piece in found] == [
        ("Tables", "2026-03-02", None),
        ("A ferry & a gull", "2026-03-03", None),
        ("Guest", "2026-03-04", "Bob"),
    ]
    assert kept_text(found[1].parts) == TEXT


def test_an_atom_feed_is_read_too() -> None:
    atom = (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>B</title><entry><title>Ferry</title>'
        f'<updated>2026-03-03T09:15:00Z</updated><content type="text">{TEXT}</content></entry></feed>'
    )
    assert texts("feed.atom", atom.encode()) == [TEXT]


@pytest.mark.parametrize("data", [b"/etc/passwd", b"http://127.0.0.1:1/feed.xml", b"file:///etc/passwd"])
def test_a_feed_that_is_only_a_name_opens_and_fetches_nothing(data: bytes) -> None:
    assert refusal("feed.xml", data) == feed.NOT_A_FEED


def test_an_archive_gives_each_file_and_a_sentence_for_each_bad_one() -> None:
    data = zipped(
        {
            "letters/a.txt": TEXT,
            "letters/b.docx": docx(SAMPLE_TEXTS[1]),
            "letters/c.docx": b"rubbish",
            "inner.zip": zipped({"d.txt": SAMPLE_TEXTS[2]}),
            "picture.png": b"\x89PNG",
            "empty.txt": b"",
            "__MACOSX/a.txt": b"clutter",
            ".DS_Store": b"clutter",
        }
    )
    assert texts("all.zip", data) == [TEXT, SAMPLE_TEXTS[1]]
    refused = {found.source: found.sentence for found in read("all.zip", data) if isinstance(found, Refused)}
    assert set(refused) == {f"all.zip › {name}" for name in ("letters/c.docx", "inner.zip", "picture.png", "empty.txt")}
    assert refused["all.zip › inner.zip"] == archive.NESTED
    assert refused["all.zip › letters/c.docx"] == word_document.NOT_WORD


def test_an_archive_is_gone_on_with_where_it_was_left() -> None:
    data = zipped({f"{number}.txt": text for number, text in enumerate(SAMPLE_TEXTS[:3])})
    found = list(read_file("all.zip", data, ADA, skip=2))
    assert found[0] == "all.zip › 2.txt"
    assert len(found) == 2


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({"bomb.txt": b"0" * 5_000_000})
    assert "unpacks to far more" in refusal("all.zip", data)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 2)
    assert "3 files" in refusal("all.zip", zipped({f"{number}.txt": TEXT for number in range(3)}))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_to_more_than_it_says_is_not_unpacked(method: int) -> None:
    whole = zipped({"a.txt": b"0" * 30_000_000}, method)
    small = whole.replace((30_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    tracemalloc.start()
    try:
        assert list(archive.entries(small)) == [("a.txt", ANY)]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    (refused,) = read("all.zip", small)
    assert refused == Refused("all.zip › a.txt", archive.UNUSUAL)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_unreadable_and_nothing_else(method: int) -> None:
    whole = zipped({"a.txt": TEXT}, method)
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([255 - whole[at]]) + whole[at + 1 :]):
            with suppress(Unreadable):
                list(archive.entries(damaged))


def test_only_what_is_wanted_of_an_archive_is_unpacked() -> None:
    data = zipped({"a.txt": TEXT, "b.bin": b"x"})
    assert list(archive.entries(data, lambda name: name == "a.txt")) == [("a.txt", TEXT.encode())]


def test_a_long_table_of_contents_is_refused_before_it_is_read() -> None:
    entry = archive.ENTRY + bytes(24) + b"\x01" + bytes(17) + b"a"

    def listing(number: int) -> bytes:
        return entry * number + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, number * len(entry), 0, 0)

    assert zipfile.ZipFile(BytesIO(listing(2))).namelist() == ["a", "a"]
    many = listing(archive.MOST_LISTED + 1)
    tracemalloc.start()
    try:
        assert "40,001 files" in refusal("all.zip", many)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_document_that_swells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_document, "MOST_XML_BYTES", 1_000_000)
    assert "too large" in refusal("a.docx", docx("word " * 300_000))


def test_entities_do_not_explode() -> None:
    bomb = (
        '<!DOCTYPE w [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
        f'<w:document xmlns:w="{"http://schemas.openxmlformats.org/wordprocessingml/2006/main"}"><w:body><w:p><w:r><w:t>&b;'
        "</w:t></w:r></w:p></w:body></w:document>"
    )
    assert refusal("a.docx", zipped({"word/document.xml": bomb})) == word_document.NOT_WORD


def test_a_pdf_with_too_many_pages_or_none_with_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "only pictures" in refusal("scan.pdf", made_pdf([], []))
    monkeypatch.setattr(pdf, "MOST_PAGES", 1)
    assert "2 pages" in refusal("long.pdf", made_pdf([TEXT[:60]], [TEXT[:60]]))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("empty.txt", b" \n", "empty"),
        ("short.txt", b"Hi.", "too short"),
        ("scan.txt", bytes(range(256)), "not text"),
        ("old.doc", b"\xd0\xcf\x11\xe0", "kind “.doc”"),
        ("old.docx", b"\xd0\xcf\x11\xe0", "old or a locked Word file"),
        ("none", b"words", "without an ending"),
        ("a.docx", zipped({"x": b"y"}), "not a Word document"),
        ("a.docx", zipped({"word/document.xml": b"<unclosed>"}), "not a Word document"),
        ("a.pdf", b"%PDF-1.7 nothing", "not a PDF"),
        ("a.zip", b"PK\x03\x04", "damaged"),
        ("a.zip", zipped({}), "no file in this"),
        ("a.xml", b"<html>", "no post"),
        ("a.xml", rss(("Empty", "Tue, 03 Mar 2026 09:15:00 GMT", "<img>")), "no post"),
        ("a.jsonl", b'{"text": 5}', "Line 1"),
        ("a.mbox", b"nothing here", "no message"),
        ("a.eml", letter("> all\n> of it quoted"), "nothing in this letter"),
    ],
)
def test_a_bad_file_says_what_to_do(name: str, data: bytes, says: str) -> None:
    assert says in refusal(name, data)


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.eml", "a.mbox", "a.xml", "a.jsonl", "a.zip", "a.md"])
def test_damaged_files_never_raise(name: str) -> None:
    whole = {
        "a.pdf": made_pdf(["Some words on a page."] * 4),
        "a.docx": docx(TEXT),
        "a.eml": letter(TEXT),
        "a.mbox": mailbox(letter(TEXT)),
        "a.xml": rss(("A", "Tue, 03 Mar 2026 09:15:00 GMT", TEXT)),
        "a.jsonl": json.dumps({"text": TEXT}).encode(),
        "a.zip": zipped({"a.txt": TEXT}),
        "a.md": TEXT.encode(),
    }[name]
    for at in range(0, len(whole), max(1, len(whole) // 60)):
        read(name, whole[:at] + bytes([255 - whole[at]]) + whole[at + 1 :])
        read(name, whole[:at])


def test_a_parser_that_breaks_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(_: bytes) -> str:
        raise MemoryError

    monkeypatch.setattr(pdf, "text_of", burst)
    assert refusal("a.pdf", b"%PDF") == BROKEN


def test_a_text_that_is_too_long_comes_in_parts_that_lose_nothing() -> None:
    paragraphs = [f"Paragraph {number} says what it has to say." for number in range(12_000)]
    found = [piece for piece in read("novel.txt", "\n\n".join(paragraphs).encode()) if isinstance(piece, Piece)]
    parts = [kept_text(piece.parts) for piece in found]
    assert all(len(part) <= MAX_CHARS for part in parts)
    assert "\n\n".join(parts).split("\n\n") == paragraphs
    assert found[0].title == f"novel (1 of {len(found)})"


def test_a_finding_survives_the_way_between_two_processes() -> None:
    found = [
        *read("reply.eml", letter(f"{TEXT}\n\n> quoted\n")),
        Refused("a", "b"),
        Noted("a", "“b”"),
        Senders("a", (("b@c", 2),)),
    ]
    assert [from_line(to_line(each)) for each in found] == found
