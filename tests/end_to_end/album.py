"""Pages at each of their states: what shows them, and who looks. The states are made by the modules of pictures beside
this one; a Camera photographs them, and a test examines them."""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

import pytest
from celery import Celery
from flask import Flask
from playwright.sync_api import Browser, Page, ViewportSize
from werkzeug.exceptions import HTTPException

from storage import schema
from storage.config import MASTER_KEY_BYTES, StorageConfig
from storage.store import Storage
from tests.app.web.browser import Person
from tests.end_to_end.browsing import DESKTOP, PATIENCE_MS, PHONE, complaints_of, launched, let_in, overflow
from tuning import celery_app

NO_CACHE = "redis://127.0.0.1:1"
Scheme = Literal["light", "dark"]
Look = tuple[ViewportSize, Scheme]
LOOKS: tuple[Look, ...] = ((DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark"))


@dataclass(frozen=True)
class Sight:
    """One state of a page, open in a browser in one look."""

    state: str
    scheme: Scheme
    width: int
    page: Page
    complaints: Sequence[str]
    """What the page complained about so far."""

    @property
    def name(self) -> str:
        """What it is called among all sights."""
        return f"{self.state}-{self.width}-{self.scheme}"


class Onlooker(Protocol):
    """Who looks at pages: in which looks, in which language, and from which folder of catalogues."""

    @property
    def looks(self) -> Sequence[Look]: ...

    @property
    def language(self) -> str: ...

    @property
    def translations(self) -> str: ...

    def passed(self, endpoint: str) -> None:
        """On the way there, a page of this endpoint was opened."""

    def see(self, sight: Sight) -> None:
        """Here is one."""


@dataclass(frozen=True)
class Album:
    """Shows an onlooker the pages of one running app."""

    onlooker: Onlooker
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
        """One page in every look, after `act`, which is done once for each width."""
        wanted = [look for look in looks if look in self.onlooker.looks]
        with self._signed_in(person) as page:
            complaints = complaints_of(page)
            for width, of_this_width in groupby(wanted, key=lambda look: look[0]["width"]):
                sizes, schemes = zip(*of_this_width, strict=True)
                page.set_viewport_size(sizes[0])
                page.emulate_media(color_scheme=schemes[0])
                page.goto(path)
                self._pass(path)
                if act:
                    act(page)
                    page.wait_for_load_state()  # what was clicked may lead on
                    self._pass(page.url)
                for scheme in schemes:
                    page.emulate_media(color_scheme=scheme)
                    self.onlooker.see(Sight(name, scheme, width, page, complaints))

    @contextmanager
    def _signed_in(self, person: Person | None) -> Iterator[Page]:
        context = self.browser.new_context(base_url=self.url, reduced_motion="reduce", locale=self.onlooker.language)
        page = context.new_page()
        if person:
            let_in(page, person, self.url)
        page.set_default_timeout(PATIENCE_MS)
        yield page
        context.close()

    def _pass(self, address: str) -> None:
        try:
            endpoint, _ = self.app.url_map.bind("").match(urlsplit(address).path, method="GET")
        except HTTPException:  # no page, or the answer to a form
            return
        self.onlooker.passed(endpoint)


@dataclass(frozen=True)
class Camera:
    """Puts a picture of each sight into a folder."""

    folder: Path
    looks: Sequence[Look] = LOOKS
    language: str = "en-US"
    translations: str = ""

    def passed(self, endpoint: str) -> None:
        """Nothing to take there."""

    def see(self, sight: Sight) -> None:
        """Take it, once it has settled."""
        sight.page.wait_for_timeout(150)
        sight.page.screenshot(path=self.folder / f"{sight.name}.png", full_page=True)
        if overflow(sight.page) > 0:
            print(f"{sight.name} is {overflow(sight.page)} pixels too wide", file=sys.stderr)
        for complaint in sight.complaints:
            print(f"{sight.name} complains: {complaint}", file=sys.stderr)


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


def take_pictures(*rooms: Callable[[Onlooker, Browser], None]) -> None:
    """What each of these scripts does: the pictures of its rooms, into the folder named on its command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        for take_all in rooms:
            take_all(Camera(folder), browser)


def walk_through(onlooker: Onlooker, rooms: Sequence[Callable[[Onlooker, Browser], None]]) -> None:
    """Show an onlooker everything in these rooms. The console's queue is its own, and forgotten afterwards."""
    fresh = Celery("idiolect", set_as_current=False)
    fresh.add_defaults(celery_app._settings)
    with pytest.MonkeyPatch.context() as kept, launched() as browser:
        kept.setattr(celery_app, "celery_app", fresh)
        kept.setenv("IDIOLECT_BROKER_URL", "")
        for take_all in rooms:
            take_all(onlooker, browser)
    fresh.close()
