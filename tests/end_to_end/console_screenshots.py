"""`python -m tests.end_to_end.console_screenshots OUT_DIR`: every page of the administrators' console, with made-up
people and runs at each state, a queue and a cache that answer and then do not. For looking at; test_browser_pages
walks through them too."""

import os
from functools import partial

from playwright.sync_api import Browser, Page

from app.config import AppConfig
from app.web.factory import create_app
from storage import maintenance, tuning_runs, users
from storage.store import Storage
from tests.app.web.browser import Person, join
from tests.app.web.serving import listening
from tests.end_to_end import console_states
from tests.end_to_end.album import LOOKS, Album, Onlooker, empty_storage, take_pictures
from tests.servers import Valkey, running_valkey

PAGES = (
    ("overview", ""),
    ("runs", "runs"),
    ("failures", "failures"),
    ("workers", "workers"),
    ("keys", "keys"),
    ("cache", "cache"),
    ("usage", "usage"),
    ("base-models", "base-models"),
    ("users", "users"),
    ("storage", "storage"),
    ("audit", "audit"),
)


def suspend(page: Page) -> None:
    """Suspend whoever's page this is, after letting them back in where they were shut out already."""
    if (back := page.get_by_role("button", name="Let back in")).is_visible():
        back.click()
    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("button", name="Let back in").wait_for()


def erase(page: Page, typed: str) -> None:
    """Ask for an erasure."""
    page.get_by_label("to go on").fill(typed)
    page.get_by_role("button", name="Erase for good").click()


def first_day(album: Album, chief: Person) -> None:
    """Where nobody has done anything yet."""
    for name, path in PAGES[:8]:
        album.take(f"console-{name}-empty", f"/admin/{path}", chief)


def busy_day(album: Album, storage: Storage, chief: Person) -> Person:
    """Everything at once; somebody whose page can be acted on."""
    console_states.platform_set_up(storage)
    anna, published = console_states.old_hand(album.app, storage)
    console_states.read_prefixes(anna)
    runs = console_states.runs_at_each_state(album.app, storage) | {"published": published}
    with storage.database.session() as session:
        guest = users.set_state(session, join(album.app, storage, "guest@example.org").user.id, "suspended")
    for name, path in PAGES:
        album.take(f"console-{name}", f"/admin/{path}", chief)
    for state, run_id in runs.items():
        album.take(f"console-run-{state}", f"/admin/runs/{run_id}", chief)
    album.take("console-user", f"/admin/users/{anna.user.id}", chief)
    album.take("console-user-new", f"/admin/users/{guest.id}", chief)
    album.take("console-quotas", f"/admin/users/{anna.user.id}/quotas", chief)
    album.take("console-reading", f"/admin/users/{anna.user.id}/reading", chief)
    album.take("console-user-self", f"/admin/users/{chief.user.id}", chief)
    album.take("console-users-none", "/admin/users?q=nobody", chief)
    album.take("console-runs-filtered", "/admin/runs?state=failed", chief)
    album.take("console-runs-none", "/admin/runs?state=paused", chief)
    album.take("console-audit-filtered", "/admin/audit?action=run.failed", chief)
    with storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=None, run_id=runs["running"], actor_id=chief.user.id)
    album.take("console-run-cancelling", f"/admin/runs/{runs['running']}", chief)
    return anna


def read(page: Page) -> None:
    """Open the first sample."""
    page.get_by_label("Why you have to read it").fill("She asked why two of her trainings found nothing in this one")
    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Write it down and read").click()


def make_link(page: Page) -> None:
    """Make a link into the account whose page this is."""
    page.get_by_role("button", name="Make a password link").click()
    page.locator("#link").wait_for()


def maintain(album: Album, storage: Storage, chief: Person, anna: Person) -> None:
    """While maintenance is on, in the console and for whoever waits."""
    with storage.database.session() as session:
        maintenance.begin(session, "A new disk goes in, until about noon", chief.user.id)
    album.take("console-maintenance", "/admin/workers", chief)
    album.take("console-overview-maintenance", "/admin/", chief)
    album.take("voice-maintenance", anna.url, anna)
    with storage.database.session() as session:
        maintenance.end(session, chief.user.id)


def roles(album: Album, storage: Storage, chief: Person, anna: Person) -> None:
    """What an auditor sees, and what is refused."""
    auditor = join(album.app, storage, "auditor@example.org")
    with storage.database.session() as session:
        users.set_console_role(session, auditor.user.id, "auditor")
    album.take("console-user-of-auditor", f"/admin/users/{anna.user.id}", auditor)
    album.take("console-refused", f"/admin/users/{anna.user.id}/reading", auditor)
    album.take("console-user-auditor", f"/admin/users/{auditor.user.id}", chief)


def deeds(album: Album, storage: Storage, chief: Person, anna: Person) -> None:
    """Suspending and erasing, with what the page says before and after."""
    page_of = f"/admin/users/{anna.user.id}"
    album.take("console-read", f"{page_of}/reading", chief, read, LOOKS[:1] + LOOKS[3:])
    album.take("account-read", "/account", anna)
    album.take("account-readings", "/account/readings", anna)
    album.take("console-password-link", page_of, chief, make_link, LOOKS[:1] + LOOKS[3:])
    album.take("account-linked", "/account", anna)
    album.take("account-readings-linked", "/account/readings", anna)
    album.take("account-limits", "/account/limits", anna)
    maintain(album, storage, chief, anna)
    roles(album, storage, chief, anna)
    album.take("console-suspended", page_of, chief, suspend)
    album.take("console-erase-refused", page_of, chief, partial(erase, typed="ana@example.org"))
    for number, look in enumerate(LOOKS):
        leaving = join(album.app, storage, f"leaving{number}@example.org").user
        album.take("console-erased", f"/admin/users/{leaving.id}", chief, partial(erase, typed=leaving.email), [look])


def take_all(onlooker: Onlooker, browser: Browser) -> None:
    """Every page of the console."""
    with running_valkey() as servers, empty_storage(servers.cache_url) as storage:
        os.environ["IDIOLECT_BROKER_URL"] = servers.broker_url  # read at the queue's first use
        app = create_app(AppConfig(api_url="http://127.0.0.1:1", translations=onlooker.translations), storage)
        with console_states.ago(24 * 13):
            chief = join(app, storage, "chief@example.org", role="admin")
        with listening(app) as url:
            album = Album(onlooker, browser, app, url)
            first_day(album, chief)
            deeds(album, storage, chief, busy_day(album, storage, chief))
            nothing_answers(album, servers, chief)


def nothing_answers(album: Album, servers: Valkey, chief: Person) -> None:
    """The same once broker and cache have ended."""
    servers.broker.stop()
    servers.cache.stop()
    for name in ("overview", "workers", "cache"):
        album.take(f"console-{name}-silent", f"/admin/{dict(PAGES)[name]}", chief)


if __name__ == "__main__":
    take_pictures(take_all)
