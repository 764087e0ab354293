"""How writing comes in through the form: files of every kind, what is said of them, and the page that asks first."""

import io
import json
import re
from contextlib import ExitStack
from threading import Thread

import pytest
from werkzeug.test import TestResponse

from app.web import voice_page
from storage import base_models, samples
from storage.sample_rows import Sample
from tests.app.intake.made_files import docx, letter, mailbox, pdf, rss, zipped
from tests.app.web.browser import Person
from tests.factories import SAMPLE_TEXTS

TEXT = SAMPLE_TEXTS[0]
REPLY = f"{TEXT}\n\nOn Tue, 3 Mar 2026, Bob wrote:\n> Will you come?\n"
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
CHECKED = re.compile(r'name="take" value="(sample-[^"]+)"[^>]* checked')


def kept(person: Person) -> list[Sample]:
    with person.storage.database.session() as session:
        return list(samples.list_samples(session, person.storage.keys, person.user.id, person.voice.id))


def upload(person: Person, *files: tuple[str, bytes], **form: object) -> TestResponse:
    data = {**form, "files": [(io.BytesIO(content), name) for name, content in files]}
    return person.browser.post(f"{person.url}/samples", data, content_type="multipart/form-data")


def review(person: Person) -> str:
    return person.browser.get(f"{person.url}/samples").text


def test_files_of_every_kind_wait_to_be_looked_through_and_are_used_when_ticked(ada: Person) -> None:
    done = upload(
        ada,
        ("a.txt", SAMPLE_TEXTS[0].encode()),
        ("b.docx", docx(SAMPLE_TEXTS[1])),
        ("c.pdf", pdf(["A page of a PDF says this much.", "And no more than this."])),
        ("d.eml", letter(SAMPLE_TEXTS[2])),
        ("e.xml", rss(("Post", "Tue, 03 Mar 2026 09:15:00 GMT", f"<p>{SAMPLE_TEXTS[3]}</p>"))),
        ("f.zip", zipped({"g.md": SAMPLE_TEXTS[4]})),
        ("h.jsonl", json.dumps({"prompt": "Why?", "completion": "Because the sea is grey today."}).encode()),
        addresses="ada@example.org",
    )
    assert done.status_code == 302
    assert done.location == f"{ada.url}/samples"
    page = review(ada)
    assert "7 pieces wait for you" in page
    assert "f.zip › g.md" in page
    assert all(sample.waiting and not sample.included for sample in kept(ada))
    assert "7 pieces wait for you" in ada.browser.get(ada.url).text
    assert "Train this voice" not in ada.browser.get(ada.url).text

    seen = [sample.id for sample in kept(ada)]
    assert CHECKED.findall(page) == seen
    done = ada.browser.post(f"{ada.url}/samples/decide", {"seen": seen, "take": seen[:5]}, follow_redirects=True)
    assert "5 pieces are used for training from now on. 2 are kept and left out." in done.text
    assert [sample.included for sample in kept(ada)] == [True] * 5 + [False] * 2
    assert "Train this voice" in done.text


def test_the_address_of_an_upload_can_be_reloaded(ada: Person) -> None:
    reloaded = ada.browser.get(f"{ada.url}/samples")
    assert (reloaded.status_code, reloaded.location) == (302, ada.url)
    upload(ada, ("bad.png", b"x"), ("a.txt", TEXT.encode()))
    assert ada.browser.get(f"{ada.url}/samples").status_code == 200


def test_good_news_and_bad_news_stand_in_boxes_of_their_own(ada: Person) -> None:
    page = upload(ada, ("a.txt", TEXT.encode()), ("bad.png", b"x"))
    assert page.status_code == 422
    boxes = re.findall(r'<div class="notice([^"]*)" role="(\w+)">(.*?)</div>', page.text, re.DOTALL)
    assert [(kind, role) for kind, role, _ in boxes] == [("", "status"), (" notice-error", "alert")]
    assert "1 piece came in" in boxes[0][2]
    assert "bad.png" not in boxes[0][2]
    assert "bad.png" in boxes[1][2]
    assert "came in" not in boxes[1][2]


def test_an_ordinary_paste_is_used_at_once_and_one_with_a_quotation_is_shown_first(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": SAMPLE_TEXTS[1]})
    assert [sample.included for sample in kept(ada)] == [True]
    done = ada.browser.post(f"{ada.url}/samples", {"text": REPLY, "title": "A reply"}, follow_redirects=True)
    assert "Taken out as not your own words: who is quoted (7 words), quoted lines (3 words)" in done.text
    assert kept(ada)[1].text == TEXT
    assert kept(ada)[1].waiting


def test_what_was_taken_out_is_shown_and_put_back(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": REPLY})
    (sample,) = kept(ada)
    page = ada.browser.get(f"{ada.url}/samples/{sample.id}").text
    assert "&gt; Will you come?" in page
    assert page.count("Put back") == 2
    done = ada.browser.post(f"{ada.url}/samples/{sample.id}/parts", {"part": "2", "out": "0"}, follow_redirects=True)
    assert "Take out again" in done.text
    assert kept(ada)[0].text == f"{TEXT}\n\n> Will you come?"
    assert ada.browser.post(f"{ada.url}/samples/{kept(ada)[0].id}/parts", {"part": "7"}).status_code == 404


def test_a_piece_that_repeats_another_names_it_and_is_not_ticked(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": TEXT, "title": "The ferry"})
    upload(ada, ("again.txt", (TEXT + " Nothing more.").encode()))
    page = review(ada)
    first, second = kept(ada)
    assert re.search(rf"of it stands in another piece too: <a [^>]*{first.id}\">The ferry</a>", page)
    assert CHECKED.findall(page) == []
    ada.browser.post(f"{ada.url}/samples/{first.id}/delete")
    assert "another piece too" not in review(ada)
    assert second.waiting


def test_a_piece_that_the_base_model_does_not_read_is_told(ada: Person) -> None:
    with ada.storage.database.session() as session:
        base_models.register(
            session, fingerprint="f" * 64, name="small", num_parameters=1, context_length=256,
            probe={"languages": ["en"]},
        )  # fmt: skip
    text = "Ich traue keiner Küche ohne wackligen Tisch. Unserer hat ein Tütchen Samen unter einem Bein. "
    text += "Er ist alt, und das ist gut."
    ada.browser.post(f"{ada.url}/samples", {"text": text})
    assert "Looks to be in German. The base model reads English" in review(ada)


def test_of_a_mailbox_only_ones_own_letters_come_in_and_the_rest_is_counted(ada: Person) -> None:
    data = mailbox(letter(TEXT, "Ada <ada@work.example>"), letter(SAMPLE_TEXTS[1], "bob@example.org"))
    page = upload(ada, ("Sent.mbox", data), addresses="Ada@Work.example, ada@example.org")
    assert page.status_code == 200
    assert "Messages left out: 1 from other people." in page.text
    assert [sample.text for sample in kept(ada)] == [TEXT]


def test_a_mailbox_of_nobody_known_says_who_is_in_it_and_keeps_nothing(ada: Person) -> None:
    page = upload(ada, ("Sent.mbox", mailbox(letter(TEXT, "<i>@work.example"), letter(TEXT, "bob@example.org"))))
    assert page.status_code == 422
    assert "bob@example.org (1 message)" in page.text
    assert "add the mailbox once more" in page.text
    assert kept(ada) == []


def test_a_text_there_is_already_is_not_kept_twice(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": TEXT})
    upload(ada, ("a.txt", TEXT.encode()), ("b.txt", SAMPLE_TEXTS[1].encode()), ("c.txt", SAMPLE_TEXTS[1].encode()))
    assert "2 pieces were there already." in review(ada)
    assert [sample.text for sample in kept(ada)] == [TEXT, SAMPLE_TEXTS[1]]


def test_what_has_no_room_is_said_and_the_rest_is_kept(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MAX_SAMPLES", 2)
    page = upload(ada, *((f"{number}.txt", text.encode()) for number, text in enumerate(SAMPLE_TEXTS)))
    assert page.status_code == 422
    assert "There was no room for 3 pieces" in page.text
    assert len(kept(ada)) == 2


def test_a_paste_too_long_for_one_piece_comes_in_parts(ada: Person) -> None:
    text = "\n\n".join(f"Paragraph {number} of a novel, which is long." for number in range(6000))
    ada.browser.post(f"{ada.url}/samples", {"text": text})
    assert [sample.title for sample in kept(ada)] == ["Part (1 of 2)", "Part (2 of 2)"]
    assert all(sample.waiting for sample in kept(ada))


def test_a_long_piece_is_split_where_its_owner_says(ada: Person) -> None:
    upload(ada, ("novel.txt", "\n\n".join(f"Chapter {n}\n\n" + f"Words of {n}. " * 300 for n in range(1, 5)).encode()))
    (sample,) = kept(ada)
    assert "It is long: split it" in review(ada)
    page = ada.browser.get(f"{ada.url}/samples/{sample.id}/split").text
    assert page.count("\n=====\n") == 3
    path = f"{ada.url}/samples/{sample.id}/split"
    wrong = ada.browser.post(path, {"text": "Only one part.\r\n\r\n=====\r\n"})
    assert wrong.status_code == 422
    assert "at least two parts" in wrong.text
    done = ada.browser.post(path, {"text": f"{TEXT}\r\n=====\r\n{SAMPLE_TEXTS[1]}"}, follow_redirects=True)
    assert "Split into 2 pieces." in done.text
    assert [each.text for each in kept(ada)] == [TEXT, SAMPLE_TEXTS[1]]


def test_a_sample_is_edited_and_a_bad_edit_stays_in_the_form(ada: Person) -> None:
    ada.add(1)
    path = f"{ada.url}/samples/{kept(ada)[0].id}/edit"
    assert "Piece 0." in ada.browser.get(path).text
    wrong = ada.browser.post(path, {"text": "Short.", "title": "Spoons", "written_on": ""})
    assert wrong.status_code == 422
    assert 'value="Spoons"' in wrong.text
    assert kept(ada)[0].title is None
    done = ada.browser.post(
        path, {"text": f"{TEXT}\r\nMore.", "title": "Spoons", "written_on": "2026-01-02"}, follow_redirects=True
    )
    assert "Kept." in done.text
    (sample,) = kept(ada)
    assert (sample.text, sample.title, sample.written_on) == (f"{TEXT}\nMore.", "Spoons", "2026-01-02")
    assert ada.browser.get(path).status_code == 404, "it is another sample now"


def test_all_that_waits_is_deleted_at_once(ada: Person) -> None:
    ada.add(1)
    upload(ada, ("a.txt", TEXT.encode()), ("b.txt", SAMPLE_TEXTS[1].encode()))
    done = ada.browser.post(f"{ada.url}/samples/discard", follow_redirects=True)
    assert "2 pieces are deleted" in done.text
    assert len(kept(ada)) == 1


def test_many_pieces_are_looked_through_page_by_page(ada: Person) -> None:
    upload(ada, ("all.zip", zipped({f"{n}.txt": f"This is a piece with the number {n:03}." for n in range(55)})))
    first = review(ada)
    assert first.count('name="seen"') == 50
    assert "Page 1 of 2" in first
    assert first.count(">Use what is ticked</button>") == 2, "above the pieces too"
    assert ada.browser.get(f"{ada.url}/samples?page=2").text.count('name="seen"') == 5
    seen = re.findall(r'name="seen" value="([^"]+)"', first)
    rest = ada.browser.post(f"{ada.url}/samples/decide", {"seen": seen, "take": seen}, follow_redirects=True)
    assert "5 pieces wait for you" in rest.text


def test_another_person_s_pieces_are_as_good_as_none(ada: Person, bob: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": REPLY})
    (sample,) = kept(ada)
    own = f"{ada.url}/samples/{sample.id}"
    for path in (f"{ada.url}/samples", own, f"{own}/edit", f"{own}/split"):
        assert bob.browser.get(path).status_code == 404, path
        assert bob.browser.get(path.replace(ada.url, bob.url)).status_code in (302, 404), path
    changes = {
        "edit": {"text": SAMPLE_TEXTS[1]},
        "split": {"text": f"{SAMPLE_TEXTS[1]}\n=====\n{SAMPLE_TEXTS[2]}"},
        "parts": {"part": "1", "out": "0"},
    }
    for name, form in changes.items():
        assert bob.browser.post(f"{own}/{name}", form).status_code == 404, name
        assert bob.browser.post(f"{own}/{name}".replace(ada.url, bob.url), form).status_code == 404, name
    for url in (ada.url, bob.url):
        bob.browser.post(f"{url}/samples/decide", {"seen": sample.id, "take": sample.id})
        bob.browser.post(f"{url}/samples/discard")
    assert upload(bob, ("a.txt", TEXT.encode())).status_code == 302
    assert bob.browser.post(f"{ada.url}/samples", {"text": SAMPLE_TEXTS[3]}).status_code == 404
    assert kept(ada) == [sample]


def test_one_person_reads_files_once_at_a_time_and_keeps_what_was_typed(ada: Person, bob: Person) -> None:
    seats = ada.browser.app.extensions["intake"]
    with seats.one(ada.user.id):
        busy = upload(ada, ("a.txt", TEXT.encode()), text="My typed words.")
        assert busy.status_code == 429
        assert "Retry-After" in busy.headers
        assert "My typed words." in busy.text
        assert ada.browser.post(f"{ada.url}/samples", {"text": TEXT}).status_code == 302, "a paste needs no seat"
        assert upload(bob, ("a.txt", TEXT.encode())).status_code == 302
    assert upload(ada, ("b.txt", SAMPLE_TEXTS[1].encode())).status_code == 302


def test_a_large_form_is_not_read_before_there_is_a_seat(ada: Person) -> None:
    token = ada.browser.token()
    with ExitStack() as held:
        for person in ("one", "another"):
            held.enter_context(ada.browser.app.extensions["intake"].one(person))
        unread = _Unread(5_000_000)
        answer = ada.browser.client.post(
            f"{ada.url}/samples",
            input_stream=unread,
            headers={"X-CSRFToken": token, "Content-Type": "multipart/form-data; boundary=b"},
            environ_overrides={"CONTENT_LENGTH": str(unread.size)},
        )
    assert answer.status_code == 429
    assert unread.reads == 0


class _Unread(io.RawIOBase):
    """A body that counts how often it was asked for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.reads = size, 0

    def seek(self, *_: int) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        return b""


def test_a_form_beyond_the_limit_says_what_it_is(ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_page, "MOST_UPLOAD_BYTES", 1024 * 1024)
    headers = {"X-CSRFToken": ada.browser.token(), "Content-Type": "multipart/form-data; boundary=b"}
    page = ada.browser.client.post(f"{ada.url}/samples", data=PART + b"word " * 300_000, headers=headers)
    assert page.status_code == 413
    assert "One request may hold 1 MiB" in page.text


def test_the_form_s_token_is_asked_for_whatever_its_size(ada: Person) -> None:
    for size in (10, 6_000_000):
        body = PART + b"x" * size + b"\r\n--b--\r\n"
        answer = ada.browser.client.post(
            f"{ada.url}/samples", data=body, content_type="multipart/form-data; boundary=b"
        )
        assert answer.status_code == 400
    assert kept(ada) == []


def test_the_same_files_sent_twice_at_once_are_kept_once(ada: Person) -> None:
    answers: list[int] = []
    token = ada.browser.token()

    def send(text: str) -> None:
        client = ada.browser.app.test_client()
        client.set_cookie("idiolect_session", cookie.value)
        client.set_cookie("idiolect_form", form_cookie.value)
        answers.append(client.post(f"{ada.url}/samples", data={"csrf_token": token, "text": text}).status_code)

    cookie = ada.browser.client.get_cookie("idiolect_session")
    form_cookie = ada.browser.client.get_cookie("idiolect_form")
    assert cookie
    assert form_cookie
    threads = [Thread(target=send, args=(TEXT,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 302 in answers
    assert set(answers) <= {302, 409, 422}
    assert len(kept(ada)) == 1
