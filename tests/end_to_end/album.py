"""What every module of pictures shares: the album that takes them, and a platform of its own to be pictured."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flask import Flask
from playwright.sync_api import Browser, Page, ViewportSize

from storage import schema
from storage.config import MASTER_KEY_BYTES, StorageConfig
from storage.store import Storage
from tests.app.web.browser import Person
from tests.end_to_end.browsing import DESKTOP, PHONE, launched, overflow

NO_CACHE = "redis://127.0.0.1:1"
Look = tuple[ViewportSize, Literal["light", "dark"]]
LOOKS: tuple[Look, ...] = ((DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark"))


@dataclass(frozen=True)
class Album:
    """Where the pictures go, and the browser that takes them."""

    folder: Path
    browser: Browser
    app: Flask
    url: str

    def take(
        self,
        name: str,
        path: str,
        person: Person | None = None,
        act: Callable[[Page], None] | None = None,
        looks: Sequence[Look] = LOOKS,
    ) -> None:
        """One page in every look, after `act`."""
        for size, scheme in looks:
            context = self.browser.new_context(viewport=size, color_scheme=scheme, base_url=self.url)
            cookie = person.browser.client.get_cookie("idiolect_session") if person else None
            if cookie:
                context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": self.url}])
            page = context.new_page()
            page.goto(path)
            if act:
                act(page)
            page.wait_for_timeout(150)
            page.screenshot(path=self.folder / f"{name}-{size['width']}-{scheme}.png", full_page=True)
            if overflow(page) > 0:
                print(f"{name} is {overflow(page)} pixels wider than {size['width']}", file=sys.stderr)
            context.close()


@contextmanager
def empty_storage(cache_url: str = NO_CACHE) -> Iterator[Storage]:
    """Migrated and open, with nobody in it, until the block ends."""
    with tempfile.TemporaryDirectory() as data:
        databases = (f"sqlite:///{data}/data.db", f"sqlite:///{data}/keys.db")
        config = StorageConfig(*databases, cache_url, bytes(MASTER_KEY_BYTES))
        schema.upgrade(config)
        storage = Storage.open(config)
        yield storage
        storage.close()


def take_pictures(*rooms: Callable[[Path, Browser], None]) -> None:
    """What each of these scripts does: the pictures of its rooms, into the folder named on its command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        for take_all in rooms:
            take_all(folder, browser)
