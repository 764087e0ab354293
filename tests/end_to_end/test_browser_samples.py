"""How writing comes in, in a real browser: dropped and chosen files, a mailbox that is asked whose it is, and looking
through what came in, by keyboard, on a phone and without JavaScript."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from storage import samples
from storage.sample_rows import Sample
from tests.app.intake.made_files import docx, letter, mailbox
from tests.app.web.browser import Person
from tests.end_to_end.browsing import NARROWEST, let_in, needs_browser, overflow, tab
from tests.factories import SAMPLE_TEXTS

pytestmark = [pytest.mark.browser, needs_browser]
REPLY = f"{SAMPLE_TEXTS[1]}\n\nOn Tue, 3 Mar 2026, Bob wrote:\n> Will you come?\n"
DROP = """([texts]) => {
  const given = new DataTransfer();
  for (const [name, text] of texts) given.items.add(new File([text], name));
  const form = document.getElementById("sample-form");
  form.dispatchEvent(new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def page(url: str, ada: Person, chromium: Browser) -> Iterator[Page]:
    """A page of a browser in which Ada is signed in."""
    with tab(chromium, base_url=url) as page:
        let_in(page, ada, url)
        yield page


def kept(person: Person) -> list[Sample]:
    with person.storage.database.reading() as session:
        return samples.list_samples(session, person.storage.keys, person.user.id, person.voice.id)


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def test_files_are_dropped_in_lots_and_looked_through_by_keyboard(page: Page, ada: Person) -> None:
    page.goto(ada.url)
    page.evaluate(DROP, [[["ferry.txt", SAMPLE_TEXTS[0]]]])
    page.evaluate(DROP, [[["reply.md", REPLY], ["roof.txt", SAMPLE_TEXTS[2]]]])
    expect(page.locator("#chosen")).to_have_text("Ready to add: ferry.txt, reply.md, roof.txt")
    page.get_by_role("button", name="Add", exact=True).press("Enter")

    expect(page.get_by_role("heading", name="Look through what came in")).to_be_visible()
    expect(page.get_by_text("Taken out as not your own words")).to_be_visible()
    page.get_by_role("checkbox", name="Use “roof”").press("Space")
    page.get_by_role("button", name="Use what is ticked").press("Enter")
    expect(page.get_by_role("status").filter(has_text="2 pieces are used for training")).to_be_visible()
    assert [sample.included for sample in kept(ada)] == [True, True, False]
    assert kept(ada)[1].text == SAMPLE_TEXTS[1]


def test_a_mailbox_is_asked_whose_it_is_before_it_is_sent(page: Page, ada: Person) -> None:
    box = mailbox(
        letter(SAMPLE_TEXTS[0], "Ada <ada@work.example>"),
        letter(SAMPLE_TEXTS[1], "Bob <bob@example.org>"),
        letter(SAMPLE_TEXTS[2], "ada@example.org"),
    )
    page.goto(ada.url)
    page.get_by_label("Files (").set_input_files(file("Sent.mbox", box))
    found = page.get_by_role("group", name="Found in your mailbox")
    expect(found.get_by_role("checkbox", name="ada@example.org (1 message)")).to_be_checked()
    expect(found.get_by_role("checkbox", name="bob@example.org (1 message)")).not_to_be_checked()
    found.get_by_role("checkbox", name="ada@work.example").check()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Messages left out: 1 from other people.")).to_be_visible()
    assert [sample.text for sample in kept(ada)] == [SAMPLE_TEXTS[0], SAMPLE_TEXTS[2]]


def test_what_was_taken_out_is_put_back_and_the_text_edited(page: Page, ada: Person) -> None:
    page.goto(ada.url)
    page.get_by_label("Paste something you wrote").fill(REPLY)
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("link", name="I do not trust a kitchen").click()
    page.get_by_text("What was taken out, and how to put it back").click()
    page.get_by_role("button", name="Put back").last.click()
    expect(page.get_by_role("article")).to_contain_text("> Will you come?")
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Text").fill(SAMPLE_TEXTS[3])
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("article")).to_contain_text("Three rules for walking")
    assert [sample.text for sample in kept(ada)] == [SAMPLE_TEXTS[3]]


def test_without_javascript_everything_works_too(url: str, ada: Person, chromium: Browser) -> None:
    with tab(chromium, base_url=url, java_script_enabled=False) as page:
        let_in(page, ada, url)
        page.goto(ada.url)
        page.get_by_label("Paste something you wrote").fill(SAMPLE_TEXTS[4])
        page.get_by_text("Your e-mail addresses, for letters").click()
        page.get_by_label("Your e-mail addresses", exact=True).fill("ada@work.example")
        box = mailbox(letter(SAMPLE_TEXTS[0], "ada@work.example"))
        given = [file("Sent.mbox", box), file("b.docx", docx(SAMPLE_TEXTS[1])), file("bad.png", b"x")]
        page.get_by_label("Files (").set_input_files(given)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="Kept 1 sample")).to_contain_text("2 pieces came in")
        expect(page.get_by_role("alert")).to_contain_text("bad.png")
        page.get_by_role("button", name="Use what is ticked").click()
        expect(page.get_by_role("button", name="Train this voice")).to_be_visible()
        assert all(sample.included for sample in kept(ada))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_about_samples_is_wider_than_a_phone(page: Page, ada: Person, scheme: str) -> None:
    page.set_viewport_size({"width": NARROWEST, "height": 740})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(ada.url)
    name = "Unübersetzbarkeitsbescheinigungsverfahrensordnungsletters" * 2 + ".md"
    page.get_by_label("Files (").set_input_files([file(name, REPLY.encode()), file("x" * 80 + ".png", b"x")])
    assert overflow(page) <= 0
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert overflow(page) <= 0
    sample = kept(ada)[0].id
    for path in ("", f"/{sample}", f"/{sample}/edit", f"/{sample}/split"):
        page.goto(f"{ada.url}/samples{path}")
        assert overflow(page) <= 0, path
