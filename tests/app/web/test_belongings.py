"""Taking everything along, bringing writing back in, and leaving."""

import io
import random
import re
import zipfile

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.seats import Seats
from app.web.receipts import KINDS
from app.web.zip_stream import zipped
from storage import audit, samples, users
from storage.errors import KeyErased, NotFound
from storage.receipts import owned_tables
from storage.store import Storage
from tests.app.web.browser import Browser, Person, join
from tests.app.web.training import publish

MANIFEST = b'{"format": "idiolect-export", "version": 1, "made_at": "2026-03-03T09:15:00Z"}'
MANY = b'{"name": "Letters", "runs": [' + b"[]," * 300_000 + b"[]]}"
NOISE = random.Random(0).randbytes(10_000)  # so that the whole does not unpack to far more
CANARY = "zanzibarquokka walks along the harbour wall and counts the boats that come home late."


def taken_along(person: Person) -> tuple[TestResponse, dict[str, bytes]]:
    answer = person.browser.post("/account/export")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        return answer, {name: archive.read(name) for name in archive.namelist()}


def bring_in(person: Person, data: bytes, own: str = "1") -> TestResponse:
    form = {"own": own, "file": (io.BytesIO(data), "idiolect.zip")}
    return person.browser.post("/account/import", form, content_type="multipart/form-data")


def sample_count(person: Person) -> int:
    with person.storage.database.reading() as session:
        return samples.readiness(session, person.user.id, person.voice.id).num_samples


def test_everything_comes_along_in_one_archive_and_goes_back_in_elsewhere(ada: Person, bob: Person) -> None:
    ada.add(2, CANARY)
    publish(ada)
    answer, files = taken_along(ada)
    assert 'attachment; filename="idiolect-20' in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"manifest.json", "schema.json", "account.json"} < set(files)
    assert any(name.endswith("version-1.safetensors") for name in files)
    assert "zanzibarquokka" in b"".join(files.values()).decode(errors="replace")
    had = sample_count(ada)
    done = bring_in(bob, answer.data)
    assert done.status_code == 302
    assert f"{had} samples are here now." in bob.browser.get("/voices").text
    assert sample_count(bob) == had
    bring_in(bob, answer.data)
    assert f"0 samples are here now. {had} were there already." in bob.browser.get("/voices").text
    assert sample_count(bob) == had


def test_the_page_names_what_a_copy_leaves_out(ada: Person) -> None:
    page = ada.browser.get("/account/data").text
    assert "all that is kept of you" not in page
    for shown_there in ("/account/access", "/account/notices", "/account/limits", "/account/readings"):
        assert f'<a href="{shown_there}">' in page[page.index("Not in it") :], shown_there
        assert ada.browser.get(shown_there).status_code == 200


def test_that_a_copy_was_taken_is_recorded(ada: Person, storage: Storage) -> None:
    taken_along(ada)
    with storage.database.reading() as session:
        (event,) = audit.list_events(session, action="user.exported")
        assert (event.actor_id, event.detail) == (ada.user.id, {})


def test_one_copy_at_a_time_and_the_next_after_it(app: Flask, ada: Person) -> None:
    seats = app.extensions["exports"]
    assert isinstance(seats, Seats)
    with seats.one(ada.user.id):
        assert ada.browser.post("/account/export").status_code == 429
    taken_along(ada)
    assert seats.taken(ada.user.id) == 0


def test_a_copy_that_breaks_off_is_no_archive() -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield "manifest.json", b"{}"
        raise KeyErased

    sent = []
    with pytest.raises(KeyErased):
        sent.extend(zipped(broken()))
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(b"".join(sent)))


def made(files: dict[str, bytes]) -> bytes:
    return b"".join(zipped(files.items()))


def packed(method: int) -> bytes:
    """A manifest packed by this method, and damaged in its middle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("manifest.json", MANIFEST)
    middle = len(MANIFEST) // 2 + 43  # behind the header and the name
    return file.getvalue()[:middle] + b"\xff" * 9 + file.getvalue()[middle + 9 :]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "Choose the .zip"),
        (b"not a zip", "damaged"),
        (made({"notes.txt": b"hello"}), "no export"),
        (made({"manifest.json": b"0" * 40_000_000}), "far more than an export does"),
        (packed(zipfile.ZIP_LZMA), "packed in an unusual way"),
        (packed(zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (made({"manifest.json": MANIFEST, "voices/a/voice.json": MANY, "noise": NOISE}), "voice.json: this is longer"),
        (made({"manifest.json": b'{"format": "idiolect-export", "version": 9}'}), "of a version"),
    ],
    ids=["empty", "no zip", "another zip", "a bomb", "lzma", "bzip2", "many values", "a later version"],
)
def test_what_is_no_export_is_explained_and_nothing_comes_in(ada: Person, data: bytes, says: str) -> None:
    page = bring_in(ada, data)
    assert page.status_code == 422
    assert says in page.text
    assert sample_count(ada) == 0


def test_one_bad_text_is_named_and_nothing_comes_in(ada: Person, bob: Person) -> None:
    ada.add(2)
    _, files = taken_along(ada)
    lines = next(name for name in files if name.endswith("samples.jsonl"))
    page = bring_in(bob, made(files | {lines: files[lines] + b'{"id": "x", "text": "Short.", "created_at": "now"}'}))
    assert page.status_code == 422
    assert "samples.jsonl, line 3: This is too short" in page.text
    assert sample_count(bob) == 0


def test_only_ones_own_writing_comes_in(ada: Person, bob: Person) -> None:
    ada.add(1)
    answer, _ = taken_along(ada)
    page = bring_in(bob, answer.data, own="")
    assert page.status_code == 422
    assert "your own writing" in page.text
    assert sample_count(bob) == 0


def test_the_form_needs_its_token_and_a_size_that_can_be_read(ada: Person) -> None:
    assert ada.browser.client.post("/account/import", data={"own": "1"}).status_code == 400
    large = {"data": bytes(33 * 1024 * 1024), "content_type": "multipart/form-data; boundary=x"}
    assert ada.browser.client.post("/account/import", **large).status_code == 413


def test_leaving_names_what_goes_and_asks_for_the_word(ada: Person) -> None:
    ada.add(2)
    page = ada.browser.get("/account/delete")
    assert "My voice" in page.text
    assert "2 samples" in page.text
    refused = ada.browser.post("/account/delete", {"word": "delet"})
    assert refused.status_code == 422
    assert "Nothing was deleted" in refused.text
    assert 'value="delet"' in refused.text
    assert ada.browser.get("/account").status_code == 200


def test_leaving_erases_everything_and_hands_a_receipt(ada: Person, storage: Storage) -> None:
    ada.add(1)
    receipt = ada.browser.post("/account/delete", {"word": "Delete "})
    assert receipt.status_code == 200
    assert ada.user.id in receipt.text
    assert ada.user.email in receipt.text
    assert "Sign in" in receipt.text
    assert ada.browser.get("/account").status_code == 302
    with storage.database.session() as session, pytest.raises(NotFound):
        users.get_user(session, ada.user.id)
    with pytest.raises(KeyErased):
        storage.keys.data_key(ada.user.id)


def test_a_receipt_is_looked_up_later_by_its_number_without_a_word_of_the_person(ada: Person, bob: Person) -> None:
    ada.add(2)
    page = ada.browser.post("/account/delete", {"word": "delete"}).text
    found = re.search(r'id="link">http://127\.0\.0\.1:8000(/receipts/receipt-\w+)<', page)
    assert found
    later = Browser.of(ada.browser.app).get(found.group(1))
    assert later.status_code == 200
    assert "1 voice, 2 samples, " in later.text
    assert "1 signed-in browser" in later.text
    assert "no row of this account" in later.text
    assert ada.user.email not in later.text
    assert "My voice" not in later.text
    ada.storage.keys.create(ada.user.id)
    assert "is here again" in Browser.of(ada.browser.app).get(found.group(1)).text
    assert bob.browser.get("/receipts/receipt-made-up").status_code == 404


def test_every_kind_of_row_has_a_name_on_the_receipt() -> None:
    assert {table.name for table in owned_tables()} == set(KINDS)


def test_the_last_administrator_stays_while_there_are_others(ada: Person, storage: Storage) -> None:
    root = join(ada.browser.app, storage, "root@example.org", role="admin")
    page = root.browser.post("/account/delete", {"word": "delete"})
    assert page.status_code == 409
    assert "only active owner" in page.text
    assert 'value="delete"' in page.text
    assert root.browser.get("/account").status_code == 200


def test_an_address_is_free_again_after_leaving(ada: Person) -> None:
    ada.browser.post("/account/delete", {"word": "delete"})
    again = join(ada.browser.app, ada.storage, ada.user.email)
    assert again.user.id != ada.user.id
