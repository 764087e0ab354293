"""`python -m tests.end_to_end.screenshots OUT_DIR`: every page at two widths and in both themes, with made-up people at
each state. For looking at; test_browser_pages walks through them too. The pages for writers are here, the others'
modules can also be run alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

from playwright.sync_api import Browser, FilePayload, Page

from app.config import AppConfig
from app.web.accounts import setup_token
from app.web.factory import create_app
from app.web.session import COOKIE
from storage import api_keys, password_links, trials, usage, users
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.serving import listening
from tests.app.web.training import FIGURES, STYLES, add_report, begin, end, publish
from tests.app.web.upstream import serve
from tests.end_to_end import console_screenshots, console_states, reference_screenshots, sample_screenshots
from tests.end_to_end.album import LOOKS, Album, Onlooker, empty_storage, take_pictures
from tests.factories import SAMPLE_TEXTS, register_base_model

TITLES = ("The ferry", "Wobbly tables", "A letter about the roof, which turned into something else", None, "The shop")
ON = "the roof leaks still, and I have put the blue bowl under it. Brennan came by to look up and to say a roof is "
ON += "a matter of opinion. We drank his tea. By evening the bowl was full and we were not."
NO_BETTER = {
    **FIGURES,
    "voice_bits_per_char": 2.58,
    "reason": (
        "On the newest part of your writing, which it had not seen, the trained voice was no closer to you than the "
        "base model, so it was not put to use. It had 5 pieces; more pieces help most, "
        "above all recent ones of the kind you want it to write."
    ),
}


def add_samples(person: Person) -> None:
    """Five pieces, one of them left out."""
    for number, (title, text) in enumerate(zip(TITLES, SAMPLE_TEXTS, strict=True)):
        form = {"text": text, "title": title or "", "written_on": f"2026-0{number + 2}-11"}
        person.browser.post(f"{person.url}/samples", form)
    with person.storage.database.session() as session:
        left_out = person.sample_ids(session)[1]
    person.browser.post(f"{person.url}/samples/{left_out}/include", {"included": "0"})
    person.browser.get("/voices")


def write_something(page: Page) -> None:
    """Stream both columns and wait for the end."""
    page.get_by_label("Your text").fill("Dear Anna, about the roof:")
    page.get_by_role("button", name="Go on").first.click()
    page.get_by_text("Done.").wait_for()


def unfold(page: Page) -> None:
    """The settings, which are folded on a phone."""
    folded = page.get_by_text("How it is written")
    if folded.is_visible():
        folded.click()


def rewrite_something(page: Page) -> None:
    """Two drafts of a passage, with what they would change, and one of them put in its place."""
    unfold(page)
    page.get_by_label("Drafts").select_option("2")
    page.get_by_label("Your text").fill("Dear Anna, the roof leaks and I have put a pot under it. We had our tea.")
    page.get_by_label("Your text").evaluate("area => { area.focus(); area.setSelectionRange(11, 73); }")
    page.get_by_role("button", name="Rewrite the selection").click()
    page.get_by_text("Done.").wait_for()
    page.get_by_role("button", name="Edit").nth(2).click()
    page.get_by_role("button", name="Put it in place").nth(1).click()


def choose_blindly(page: Page) -> None:
    """A blind trial, chosen."""
    unfold(page)
    page.get_by_label("Blind").check()
    write_something(page)
    page.get_by_role("button", name="The second").click()
    page.get_by_text("Noted.").wait_for()


def ask_blindly(page: Page) -> None:
    """A blind trial, to be chosen."""
    unfold(page)
    page.get_by_label("Blind").check()
    write_something(page)


def keep_what_was_accepted(page: Page) -> None:
    """A text that is hardly its writer's own."""
    write_something(page)
    page.get_by_role("button", name="Put into my text").last.click()
    page.get_by_role("button", name="Keep as a sample").click()
    page.get_by_text("Not kept").wait_for()


def add_badly(page: Page) -> None:
    """A short paste beside two files that can't be read."""
    page.get_by_label("Paste something you wrote").fill("Too short.")
    files: list[FilePayload] = [
        {"name": "scan.txt", "mimeType": "text/plain", "buffer": bytes(range(256))},
        {"name": "empty.md", "mimeType": "text/markdown", "buffer": b""},
    ]
    page.locator("#files").set_input_files(files)
    page.locator("#sample-form").get_by_role("button", name="Add").click()


@contextmanager
def signed_out(page: Page) -> Iterator[None]:
    """For as long as the block lasts, on the page that is open."""
    held = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    page.context.clear_cookies(name=COOKIE)
    yield
    page.context.add_cookies([{"name": COOKIE, "value": held[COOKIE], "url": urljoin(page.url, "/")}])


def add_when_signed_out(page: Page) -> None:
    """A paste that comes after the session has ended."""
    page.get_by_label("Paste something you wrote").fill(SAMPLE_TEXTS[0])
    with signed_out(page):
        page.locator("#sample-form").get_by_role("button", name="Add").click()
        page.get_by_role("heading", name="You are signed out").wait_for()


def write_when_signed_out(page: Page) -> None:
    """Neither drafts nor keeping, and the text stays."""
    page.get_by_label("Your text").fill(SAMPLE_TEXTS[0])
    with signed_out(page):
        page.get_by_role("button", name="Go on").first.click()
        page.get_by_text("Nothing was written.").wait_for()
        page.get_by_role("button", name="Keep as a sample").click()
        page.locator("#keep-said").get_by_role("alert").wait_for()


def strangers(album: Album, storage: Storage) -> None:
    """What is seen signed out."""
    with album.app.test_request_context():
        link = f"/setup?token={setup_token()}"
    album.take("welcome", "/")
    album.take("sign-up", "/signup")
    album.take("sign-in-wrong", "/signin", act=sign_in_wrongly)
    album.take("setup", link)
    forgetful, gone = (join(album.app, storage, f"{name}@example.org") for name in ("forgetful", "gone"))
    with storage.database.session() as session:
        token = password_links.make_link(session, forgetful.user.id, actor_id=None, lifetime_s=password_links.BY_HAND_S)
    album.take("password-forgotten", "/password/forgotten")
    album.take("password-choose", f"/password/new?token={token}")
    album.take("guest", "/", act=visit)
    album.take("guest-keep", "/", act=keep)
    receipt = users.erase_user(storage, gone.user.id, None)
    assert receipt is not None
    album.take("receipt-looked-up", f"/receipts/{receipt.id}")


def visit(page: Page) -> None:
    """As a guest, as long as the browser is open."""
    come_in = page.get_by_role("button", name="try it with example pieces")
    if come_in.is_visible():
        come_in.click()


def keep(page: Page) -> None:
    """What a guest is asked for who wants to stay."""
    visit(page)
    page.get_by_role("link", name="Keep it").click()


def sign_in_wrongly(page: Page) -> None:
    """An address and a password that don't go together."""
    page.get_by_label("E-mail address").fill(f"{page.viewport_size['width']}@example.org" if page.viewport_size else "")
    page.get_by_label("Password").fill("not that one")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()


def writer_at_each_state(album: Album, storage: Storage) -> None:
    """The voice's page from empty to published."""

    def somebody(name: str, *, samples: bool = True) -> Person:
        person = join(album.app, storage, f"{name}@example.org")
        if samples:
            add_samples(person)
        return person

    album.take("voice-empty", (new := somebody("new", samples=False)).url, new)
    album.take("voice-refused", new.url, new, add_badly)
    album.take("signed-out", new.url, new, add_when_signed_out)
    album.take("voice-ready", (ready := somebody("ready")).url, ready)
    (waiting := somebody("waiting")).run()
    album.take("voice-queued", waiting.url, waiting)
    begin(training := somebody("training"), steps=9)
    album.take("voice-training", training.url, training)
    end(unlucky := somebody("unlucky"), begin(unlucky, steps=5), "succeeded", published=False, figures=NO_BETTER)
    album.take("voice-not-published", unlucky.url, unlucky)
    end(
        broken := somebody("broken"),
        begin(broken),
        "failed",
        error_code="gave_up",
        error_message=console_states.GAVE_UP,
    )
    album.take("voice-failed", broken.url, broken)
    ready.browser.post("/voices", {"name": "Letters"})
    album.take("write-untrained", f"{ready.url}/write", ready, unfold)


def old_hand(album: Album, storage: Storage) -> None:
    """Everything else, of somebody with two versions."""
    person = join(album.app, storage, "anna@example.org", role="admin")
    person.browser.post(f"{person.url}/rename", {"name": "Letters"})
    person.browser.get("/voices")
    add_samples(person)
    publish(person, reduction_pct=4.2, voice_bits_per_char=2.395)
    publish(person)
    add_usage(person)
    add_report(person, style=STYLES)
    choose_often(storage, person)
    with storage.database.session() as session:
        sample, run = person.sample_ids(session)[0], person.newest_run_id(session)
    album.take("voice-published", person.url, person)
    for name, act in (
        ("write", write_something),
        ("write-rewritten", rewrite_something),
        ("write-blind", ask_blindly),
        ("write-chosen", choose_blindly),
        ("write-not-kept", keep_what_was_accepted),
        ("write-signed-out", write_when_signed_out),
    ):
        album.take(name, f"{person.url}/write", person, act)
    for name, path in (
        ("version", f"{person.url}/versions/2"),
        ("version-before", f"{person.url}/versions/1"),
        ("run", f"/runs/{run}"),
        ("sample", f"{person.url}/samples/{sample}"),
        ("voice-settings", f"{person.url}/settings"),
        ("voices", "/voices"),
        ("account", "/account"),
        ("account-access", "/account/access"),
        ("account-notices", "/account/notices"),
        ("account-data", "/account/data"),
        ("account-delete", "/account/delete"),
        ("not-found", "/nowhere"),
    ):
        album.take(name, path, person)
    album.take("key", "/account", person, lambda page: page.get_by_role("button", name="Make a key").click())
    for number, look in enumerate(LOOKS):
        leaving = join(album.app, storage, f"leaving{number}@example.org")
        album.take("receipt", "/account/delete", leaving, leave, [look])


def add_usage(person: Person) -> None:
    """Two keys, and what they and the writing page were used for."""
    with person.storage.database.session() as session:
        laptop, _ = api_keys.create_key(session, person.user.id, "laptop")
        nightly, _ = api_keys.create_key(session, person.user.id, "nightly letters", ["generate"])
        places = {
            (nightly.id, person.voice.id): usage.Counts(1200, 48_000, 96_512),
            (laptop.id, person.voice.id): usage.Counts(7, 310, 840),
            (laptop.id, ""): usage.Counts(41),
            (usage.PAGES, "idiolect-base"): usage.Counts(3, 24, 360),
        }
        day = usage.today()
        usage.add(session, {usage.Place(person.user.id, day, *place): counts for place, counts in places.items()})


def choose_often(storage: Storage, person: Person) -> None:
    """Blind choices, most of them for the voice."""
    for number in range(12):
        with storage.database.session() as session:
            trial = trials.begin_trial(session, person.user.id, person.voice.id, against=1 if number > 9 else None)
            first = (number % 4 > 0) == trial.version_first
            trials.choose(session, person.user.id, trial.id, "first" if first else "second")


def leave(page: Page) -> None:
    """Delete the account."""
    page.get_by_label("to go on").fill("delete")
    page.get_by_role("button", name="Delete my account").click()


def take_all(onlooker: Onlooker, browser: Browser) -> None:
    """Every page for writers."""
    with serve() as upstream, empty_storage() as storage:
        upstream.pieces = (f" {ON}",)
        register_base_model(storage)
        app = create_app(AppConfig(api_url=upstream.url, translations=onlooker.translations), storage)
        with listening(app) as url:
            album = Album(onlooker, browser, app, url)
            strangers(album, storage)
            writer_at_each_state(album, storage)
            old_hand(album, storage)


if __name__ == "__main__":
    take_pictures(take_all, sample_screenshots.take_all, console_screenshots.take_all, reference_screenshots.take_all)
