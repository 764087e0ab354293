import io

import pytest

from storage import samples
from storage.samples import Sample
from tests.app.web.browser import TEXT, Person


def kept(person: Person) -> list[Sample]:
    with person.storage.database.session() as session:
        return list(samples.list_samples(session, person.storage.keys, person.user.id, person.voice.id))


def upload(person: Person, *files: tuple[str, bytes], text: str = ""):  # type: ignore[no-untyped-def]
    data = {"text": text, "files": [(io.BytesIO(content), name) for name, content in files]}
    return person.browser.post(f"{person.url}/samples", data, content_type="multipart/form-data")


def test_a_pasted_text_is_kept_with_its_title_and_date(ada: Person) -> None:
    form = {"text": TEXT * 3, "title": "On moving house", "written_on": "2026-05-02", "prompt": "Why did you move?"}
    done = ada.browser.post(f"{ada.url}/samples", form, follow_redirects=True)
    assert "Kept 1 sample, " in done.text
    assert "On moving house" in done.text
    (sample,) = kept(ada)
    assert (sample.title, sample.written_on, sample.prompt) == ("On moving house", "2026-05-02", "Why did you move?")
    page = ada.browser.get(f"{ada.url}/samples/{sample.id}").text
    assert TEXT.strip() in page
    assert "Why did you move?" in page


@pytest.mark.parametrize("text", ["", "   \n ", "Too short."])
def test_a_text_that_cannot_be_kept_is_explained_and_stays_in_the_form(ada: Person, text: str) -> None:
    page = ada.browser.post(f"{ada.url}/samples", {"text": text, "title": "My title"})
    assert page.status_code == 422
    assert 'id="text-problem"' in page.text
    assert text.strip() in page.text
    assert 'value="My title"' in page.text
    assert kept(ada) == []


def test_the_same_text_twice_is_said_and_kept_once(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": TEXT * 2})
    page = ada.browser.post(f"{ada.url}/samples", {"text": TEXT * 2})
    assert page.status_code == 422
    assert len(kept(ada)) == 1


def test_a_wrong_date_is_explained(ada: Person) -> None:
    page = ada.browser.post(f"{ada.url}/samples", {"text": TEXT * 2, "written_on": "last spring"})
    assert page.status_code == 422
    assert 'value="last spring"' in page.text


def test_many_files_are_kept_under_their_names(ada: Person) -> None:
    done = upload(ada, ("jam.txt", TEXT.encode()), ("notes/spoons.md", (TEXT + "Spoons.").encode("utf-16")))
    assert done.status_code == 302, done.text
    assert [sample.title for sample in kept(ada)] == ["jam", "spoons"]


def test_each_bad_file_gets_its_own_sentence_and_the_others_are_kept(ada: Person) -> None:
    page = upload(
        ada,
        ("good.txt", TEXT.encode()),
        ("empty.txt", b""),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00"),
        ("binary.txt", bytes(range(256)) * 4),
        ("<b>.txt", b"Hi."),
    )
    assert page.status_code == 422
    assert "1 piece came in" in page.text
    assert "These were left out" in page.text
    for name in ("empty.txt", "picture.png", "binary.txt", "&lt;b&gt;.txt"):
        assert f"<li><b>{name}</b>: " in page.text, name
    assert [sample.title for sample in kept(ada)] == ["good"]


def test_a_good_paste_is_kept_beside_a_bad_file_and_not_offered_again(ada: Person) -> None:
    page = upload(ada, ("empty.txt", b""), text=TEXT)
    assert page.status_code == 422
    assert "This was left out" in page.text
    assert len(kept(ada)) == 1
    assert f">\n{TEXT}" not in page.text


def test_a_sample_is_left_out_and_taken_in_again(ada: Person) -> None:
    ada.add(3)
    first = kept(ada)[0]
    ada.browser.post(f"{ada.url}/samples/{first.id}/include", {"included": "0"})
    page = ada.browser.get(ada.url).text
    assert "left out" in page
    assert page.count('aria-pressed="false"') == 1
    ada.browser.post(f"{ada.url}/samples/{first.id}/include", {"included": "1"})
    assert 'aria-pressed="false"' not in ada.browser.get(ada.url).text


def test_a_deleted_sample_is_gone(ada: Person) -> None:
    ada.add(1)
    (sample,) = kept(ada)
    done = ada.browser.post(f"{ada.url}/samples/{sample.id}/delete", follow_redirects=True)
    assert "The sample is deleted" in done.text
    assert kept(ada) == []
    assert ada.browser.get(f"{ada.url}/samples/{sample.id}").status_code == 404


def test_readiness_is_said_in_words_and_the_button_comes_when_there_is_enough(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": TEXT})
    page = ada.browser.get(ada.url).text
    assert "more words" in page
    assert "Train this voice" not in page
    ada.add(4)
    assert "Train this voice" in ada.browser.get(ada.url).text


def test_the_bar_is_as_long_as_the_words_that_the_sentence_names(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": " ".join(f"word{number}" for number in range(2166))})
    page = ada.browser.get(ada.url).text
    assert "About 1,834 more words would make it 4,000" in page
    assert "the whole bar: 4,000 words" in page
    assert '<rect width="54.1" height="1"/>' in page  # 2,166 of 4,000
    assert "about 1,000 words, 5 pieces (as far as your 2,166 words reach)" in page


def test_many_samples_come_in_pages(ada: Person) -> None:
    ada.add(35, text="so many pieces of the same sort ")
    first = ada.browser.get(ada.url).text
    assert first.count("tick-sample") == 30
    assert "Page 1 of 2" in first
    assert "Piece 34." in first
    assert "Piece 0." in ada.browser.get(f"{ada.url}?page=2").text
    assert ada.browser.get(f"{ada.url}?page=99").text.count("tick-sample") == 5
    assert ada.browser.get(f"{ada.url}?page=x").status_code == 200


def test_too_much_at_once_is_explained(ada: Person) -> None:
    headers = {"X-CSRFToken": ada.browser.token(), "Content-Type": "multipart/form-data; boundary=b"}
    page = ada.browser.client.post(f"{ada.url}/samples", data=b"--b" + b"word " * 1_000_000, headers=headers)
    assert page.status_code == 413
    assert "4 MiB" in page.text


def test_samples_keep_their_line_breaks_and_run_no_markup(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": f"<img src=x onerror=alert(1)>\n\n{TEXT}"})
    (sample,) = kept(ada)
    page = ada.browser.get(f"{ada.url}/samples/{sample.id}").text
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;\n\nOn moving" in page


def make_prompt(person: Person, sample: Sample, prompt: str) -> None:
    """As a worker does."""
    with person.storage.database.session() as session:
        assert samples.set_made_prompt(session, person.storage.keys, person.user.id, sample.id, prompt)


def test_a_request_stands_under_its_sample_and_a_made_one_is_marked(ada: Person) -> None:
    ada.browser.post(f"{ada.url}/samples", {"text": TEXT * 3, "prompt": "Why did you move?"})
    ada.add(1)
    given, plain = kept(ada)
    make_prompt(ada, plain, "Write about <spoons>.")
    listed = ada.browser.get(ada.url).text
    assert "Why did you move?" in listed
    assert "Write about &lt;spoons&gt;." in listed
    assert listed.count("request written by the model") == 1
    assert "request written by the model" not in ada.browser.get(f"{ada.url}/samples/{given.id}").text
    page = ada.browser.get(f"{ada.url}/samples/{plain.id}").text
    assert "request written by the model; change it if it is off" in page
    assert ">\nWrite about &lt;spoons&gt;.</textarea>" in page


def test_a_made_request_is_changed_and_is_then_the_persons_own(ada: Person) -> None:
    ada.add(1)
    make_prompt(ada, kept(ada)[0], "Write about spoons.")
    url = f"{ada.url}/samples/{kept(ada)[0].id}"
    done = ada.browser.post(f"{url}/prompt", {"prompt": " What did you find? "}, follow_redirects=True)
    assert "The next training goes by it" in done.text
    assert "What did you find?" in done.text
    assert "written by the model" not in done.text
    assert [(sample.prompt, sample.prompt_made) for sample in kept(ada)] == [("What did you find?", False)]


def test_a_request_is_cleared(ada: Person) -> None:
    ada.add(1)
    make_prompt(ada, kept(ada)[0], "Write about spoons.")
    done = ada.browser.post(f"{ada.url}/samples/{kept(ada)[0].id}/prompt", {"prompt": "  "}, follow_redirects=True)
    assert "The request is cleared" in done.text
    assert "It answered" not in done.text
    assert [(sample.prompt, sample.prompt_made) for sample in kept(ada)] == [(None, False)]


def test_a_request_that_is_too_long_is_explained_and_stays_in_the_form(ada: Person) -> None:
    ada.add(1)
    page = ada.browser.post(f"{ada.url}/samples/{kept(ada)[0].id}/prompt", {"prompt": "Why? " * 1000})
    assert page.status_code == 422
    assert 'id="prompt-problem"' in page.text
    assert "Why? Why?" in page.text
    assert kept(ada)[0].prompt is None


def test_a_request_is_changed_only_with_a_token_and_only_ones_own(ada: Person, bob: Person) -> None:
    ada.add(1)
    path = f"{ada.url}/samples/{kept(ada)[0].id}/prompt"
    assert ada.browser.client.post(path, data={"prompt": "Forged?"}).status_code == 400
    assert bob.browser.post(path, {"prompt": "Taken?"}).status_code == 404
    assert bob.browser.post(path.replace(ada.url, bob.url), {"prompt": "Taken?"}).status_code == 404
    assert ada.browser.post(f"{ada.url}/samples/sample-none/prompt", {"prompt": "Mine?"}).status_code == 404
    assert kept(ada)[0].prompt is None
