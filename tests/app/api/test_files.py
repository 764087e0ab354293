"""Training files over HTTP: with the official client, and what becomes of bad ones."""

import io
import json
import tempfile
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from app.api.services import EXTENSION
from app.seats import MAX_DOWNLOADS
from storage import uploads
from storage.training_file import MAX_UPLOAD_BYTES
from tests.app.api.people import Api, Person
from tests.app.api.test_errors import error_of
from tests.factories import SAMPLE_TEXTS

ClientOf = Callable[[str], openai.OpenAI]
DATA = "".join(json.dumps({"text": text}) + "\n" for text in SAMPLE_TEXTS).encode()


def send(api: Api, person: Person, data: bytes = DATA, **fields: Any) -> Any:
    """One upload without a socket. A field that is None is left out."""
    form = {"purpose": "fine-tune", **fields}
    files = None if "file" in fields else {"file": ("mine.jsonl", data)}
    sent = httpx.Request(
        "POST", "http://test", data={name: value for name, value in form.items() if value is not None}, files=files
    )
    return api.call(person, "POST", "/v1/files", data=sent.read(), content_type=sent.headers["Content-Type"])


def test_the_official_client_keeps_lists_reads_and_deletes_files(client_of: ClientOf, ann: Person) -> None:
    client = client_of(ann.key)
    kept = client.files.create(file=("diary.jsonl", DATA), purpose="fine-tune")
    assert (kept.object, kept.bytes, kept.filename, kept.purpose) == ("file", len(DATA), "diary.jsonl", "fine-tune")
    assert (kept.status, kept.expires_at) == ("processed", None)
    assert kept.id.startswith("file-")
    more = [client.files.create(file=io.BytesIO(DATA), purpose="fine-tune") for _ in range(3)]
    newest_first = [file.id for file in (*more[::-1], kept)]
    assert [file.id for file in client.files.list(limit=2)] == newest_first, "two pages"
    assert [file.id for file in client.files.list(order="asc")] == newest_first[::-1]
    assert client.files.list(purpose="batch").data == []
    assert client.files.retrieve(kept.id) == kept
    assert client.files.content(kept.id).content == DATA
    assert client.files.wait_for_processing(kept.id).status == "processed"
    gone = client.files.delete(kept.id)
    assert (gone.id, gone.object, gone.deleted) == (kept.id, "file", True)
    for again in (client.files.delete, client.files.retrieve, client.files.content):
        with pytest.raises(openai.NotFoundError) as refused:
            again(kept.id)
        assert refused.value.code == "file_not_found"


def test_files_that_are_still_being_read_hold_a_persons_seats(api: Api, ann: Person, ben: Person) -> None:
    file_id = send(api, ann).json["id"]
    others = send(api, ben).json["id"]
    open_ones = [api.call(ann, "GET", f"/v1/files/{file_id}/content") for _ in range(MAX_DOWNLOADS)]
    assert [answer.status_code for answer in open_ones] == [200] * MAX_DOWNLOADS
    error_of(api.call(ann, "GET", f"/v1/files/{file_id}/content"), 429)
    assert api.call(ben, "GET", f"/v1/files/{others}/content", buffered=True).data == DATA
    for answer in open_ones:
        assert answer.data == DATA
        answer.close()
    assert api.call(ann, "GET", f"/v1/files/{file_id}/content", buffered=True).data == DATA
    error_of(api.call(ann, "GET", "/v1/files/file-none/content"), 404)
    assert api.call(ann, "GET", f"/v1/files/{file_id}/content").status_code == 200, "what was not found holds none"


def test_somebody_elses_file_is_not_there(client_of: ClientOf, ann: Person, ben: Person) -> None:
    kept = client_of(ann.key).files.create(file=("diary.jsonl", DATA), purpose="fine-tune")
    stranger = client_of(ben.key)
    assert stranger.files.list().data == []
    for ask in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
        with pytest.raises(openai.NotFoundError) as refused:
            ask(kept.id)
        assert refused.value.code == "file_not_found"
    assert client_of(ann.key).files.content(kept.id).content == DATA


def test_a_bad_file_is_a_400_that_names_its_line_and_nothing_is_kept(
    client_of: ClientOf, ann: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    client = client_of(ann.key)
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("diary.jsonl", DATA + b'{"txt": "zanzibarquokka"}'), purpose="fine-tune")
    assert (refused.value.code, refused.value.param) == ("invalid_training_file", "file")
    assert "Line 6 has other keys" in refused.value.message
    assert client.files.list().data == []
    logged = "".join(capsys.readouterr())
    assert "zanzibarquokka" not in refused.value.message + logged
    assert "diary" not in logged


def test_what_is_not_an_upload_is_a_400(api: Api, ann: Person) -> None:
    assert error_of(send(api, ann, purpose="batch"), 400)["param"] == "purpose"
    assert error_of(send(api, ann, purpose=None), 400)["code"] == "missing_required_parameter"
    assert error_of(send(api, ann, file=None), 400)["param"] == "file"
    assert error_of(send(api, ann, file="words"), 400)["param"] == "file"
    assert error_of(send(api, ann, colour="red"), 400)["code"] == "unknown_parameter"
    error_of(api.call(ann, "POST", "/v1/files", json={"purpose": "fine-tune", "file": "words"}), 400)
    assert api.call(ann, "GET", "/v1/files").json["data"] == []


def test_a_file_may_be_larger_than_other_bodies_and_no_larger_than_it_says(api: Api, ann: Person) -> None:
    padded = DATA + b" " * (2 << 20)  # other bodies may have a megabyte in these tests
    assert send(api, ann, padded).json["bytes"] == len(padded)
    message = error_of(send(api, ann, DATA + b" " * MAX_UPLOAD_BYTES), 400)["message"]
    assert "may have 8,000,000" in message
    assert error_of(send(api, ann, b" " * (MAX_UPLOAD_BYTES + (1 << 20))), 413)["code"] == "request_too_large"
    error_of(api.call(ann, "POST", "/v1/voices", data=b" " * (2 << 20), content_type="application/json"), 413)


def test_what_is_uploaded_never_lies_in_a_temporary_file(
    api: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
        monkeypatch.setattr(f"werkzeug.formparser.{name}", refuse, raising=False)
    assert send(api, ann, DATA + b" " * (1 << 20)).status_code == 200


def test_too_many_files_are_a_429_that_is_not_to_be_retried(
    api: Api, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 0)
    answer = send(api, ann)
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "limit_reached")
    assert answer.headers["x-should-retry"] == "false"


def test_of_one_account_one_file_is_read_at_a_time_and_a_refused_one_gives_its_seat_back(
    api: Api, ann: Person, ben: Person
) -> None:
    seats = api.app.extensions[EXTENSION].uploads
    with seats.one(ann.user_id):
        assert error_of(send(api, ann), 429)["code"]
        assert send(api, ben).status_code == 200
    error_of(send(api, ann, b"no JSON"), 400)
    assert send(api, ann).status_code == 200
    assert seats.taken(ann.user_id) == 0
