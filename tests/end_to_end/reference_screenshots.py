"""`python -m tests.end_to_end.reference_screenshots OUT_DIR`: the API role's page to read and try the API, on a tiny
model. For looking at; test_browser_pages walks through it too."""

from contextlib import redirect_stdout
from io import StringIO

from playwright.sync_api import Browser, Page

from app.api.factory import create_app
from app.config import AppConfig
from app.generation.engine import Engine
from tests.app.api.people import join
from tests.app.api.server_thread import served
from tests.end_to_end.album import Album, Onlooker, empty_storage, take_pictures
from tests.tiny_model import make_tiny


def take_all(onlooker: Onlooker, browser: Browser) -> None:
    """The page as it opens, with an answer, and with a refusal."""
    base = make_tiny()
    engine = Engine(base, max_num_seqs=2, max_waiting=2)
    engine.start()
    with empty_storage() as storage:
        app = create_app(AppConfig(), storage, base, engine)
        key = join(storage).key

        def ask(page: Page) -> None:
            choose(page, "GET", "/v1/voices", key)
            page.locator("#output", has_text='"My voice"').wait_for()

        with served(app) as url, redirect_stdout(StringIO()):  # the request log
            album = Album(onlooker, browser, app, url)
            album.take("reference", "/v1/docs", act=lambda page: page.locator("nav button").first.wait_for())
            album.take("reference-request", "/v1/docs", act=lambda page: choose(page, "POST", "/v1/completions"))
            album.take("reference-answered", "/v1/docs", act=ask)
            album.take("reference-refused", "/v1/docs", act=refused)
    engine.close()


def choose(page: Page, method: str, path: str, key: str = "") -> None:
    """Choose an operation; with a key, send its request too."""
    page.locator(f"nav button[data-operation='{method} {path}']").click()
    if key:
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Send").click()


def refused(page: Page) -> None:
    """Send a request with a key that nobody has."""
    choose(page, "GET", "/v1/models", "idl-not-a-key")
    page.locator("#status", has_text="401").wait_for()


if __name__ == "__main__":
    take_pictures(take_all)
