"""`python -m tests.end_to_end.sample_screenshots OUT_DIR`: how writing comes in. For looking at;
test_browser_pages walks through it too."""

from playwright.sync_api import Browser, FilePayload, Page

from app.config import AppConfig
from app.web.factory import create_app
from storage import base_models
from tests.app.intake.made_files import docx, letter, mailbox, zipped
from tests.app.web.browser import join
from tests.app.web.serving import listening
from tests.end_to_end.album import Album, Onlooker, empty_storage, take_pictures
from tests.factories import SAMPLE_TEXTS

REPLY = (
    f"{SAMPLE_TEXTS[1]}\n\nOn Tue, 3 Mar 2026, Bob Brennan wrote:\n> Will you come on Friday? We have cake.\n\n-- \nAda"
)
FRENCH = (
    "Je ne fais pas confiance à une cuisine sans table bancale. La nôtre a un sachet de graines sous un pied et elle a "
    "survécu à deux chiens et à un mariage. On apprend à poser sa tasse lentement."
)
NOVEL = "\n\n".join(f"Chapter {number}\n\n" + f"{SAMPLE_TEXTS[number % 5]}\n\n" * 12 for number in range(1, 7))


def files() -> list[FilePayload]:
    """Something of every sort, good and bad."""
    given = {
        "The ferry.docx": docx(SAMPLE_TEXTS[0]),
        "reply.eml": letter(REPLY, "Ada <ada@example.org>"),
        "from Bob.eml": letter(SAMPLE_TEXTS[3], "bob@example.org", subject="Three rules"),
        "ferry, second try.txt": (SAMPLE_TEXTS[0] + " And that was that.").encode(),
        "cuisine.txt": FRENCH.encode(),
        "old pieces.zip": zipped({"1998/the shop.txt": SAMPLE_TEXTS[4], "1998/photo.jpg": b"\xff\xd8"}),
        "novel.md": NOVEL.encode(),
        "Sent.mbox": mailbox(letter(SAMPLE_TEXTS[2]), letter("Yes.", "bob@example.org")),
        "scan.pdf": b"%PDF-1.4",
    }
    return [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in given.items()]


def choose(page: Page) -> None:
    """Files, not yet sent."""
    page.locator("#files").set_input_files(files())
    page.get_by_role("group", name="Found in your mailbox").wait_for()


def send(page: Page) -> None:
    """The same, sent."""
    choose(page)
    page.locator("#sample-form").get_by_role("button", name="Add").click()
    page.get_by_role("alert").wait_for()


def open_taken_out(page: Page) -> None:
    """What was taken out of a letter."""
    page.get_by_text("What was taken out, and how to put it back").click()


def open_ladder(page: Page) -> None:
    """What more text brings."""
    page.get_by_text("What more text has brought others").click()


def ask_nobody(page: Page) -> None:
    """A mailbox with no letter of the person's."""
    box = mailbox(letter(SAMPLE_TEXTS[2], "bob@example.org"), letter(SAMPLE_TEXTS[3], "eve@example.org"))
    page.locator("#files").set_input_files({"name": "All Mail.mbox", "mimeType": "application/mbox", "buffer": box})
    page.locator("#sample-form").get_by_role("button", name="Add").click()
    page.get_by_role("alert").wait_for()


def take_all(onlooker: Onlooker, browser: Browser) -> None:
    """Every state."""
    with empty_storage() as storage:
        with storage.database.session() as session:
            base_models.register(
                session, fingerprint="f" * 64, name="small", num_parameters=1, context_length=256,
                probe={"languages": ["en"]},
            )  # fmt: skip
        app = create_app(AppConfig(api_url="http://127.0.0.1:1", translations=onlooker.translations), storage)
        with listening(app) as url:
            album = Album(onlooker, browser, app, url)
            new = join(app, storage, "new@example.org")
            album.take("samples-mailbox", new.url, new, ask_nobody)
            album.take("samples-chosen", new.url, new, choose)
            ada = join(app, storage, "ada@example.org")
            album.take("samples-came-in", ada.url, ada, send)
            album.take("samples-waiting", ada.url, ada)
            with storage.database.session() as session:
                ids = ada.sample_ids(session)
            album.take("sample-taken-out", f"{ada.url}/samples/{ids[1]}", ada, open_taken_out)
            album.take("sample-edit", f"{ada.url}/samples/{ids[1]}/edit", ada)
            novel = next(
                page_id for page_id in ids if "Chapter" in ada.browser.get(f"{ada.url}/samples/{page_id}").text
            )
            album.take("sample-split", f"{ada.url}/samples/{novel}/split", ada)
            ada.browser.post(f"{ada.url}/samples/decide", {"seen": ids, "take": ids[:6]})
            album.take("samples-used", ada.url, ada, open_ladder)


if __name__ == "__main__":
    take_pictures(take_all)
