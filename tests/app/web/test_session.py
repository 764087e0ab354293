"""Who is asking, on a page and in a stream."""

from sqlalchemy import text, update

from app.web.tuning import Watch
from storage import clock
from storage.models import WebSession
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Person
from tests.waiting import READS, transactions


def token_of(person: Person) -> str:
    cookie = person.browser.client.get_cookie("idiolect_session")
    assert cookie is not None
    return cookie.value


def test_no_page_waits_for_a_writer_to_know_its_reader(ada: Person, storage: Storage) -> None:
    with storage.database.session() as writer:
        writer.execute(text("UPDATE users SET state = state"))
        with transactions(storage.database) as begun:  # the writer goes on until the page is there
            assert ada.browser.get("/account").status_code == 200
    assert set(begun) == {READS}


def test_no_stream_waits_for_a_writer_to_know_its_reader(ada: Person, storage: Storage) -> None:
    watch = Watch(storage, ada.user.id, "run-x", token_of(ada), 0.1)
    with storage.database.session() as writer:
        writer.execute(text("UPDATE users SET state = state"))
        with transactions(storage.database) as begun:
            assert watch.is_allowed()
    assert begun == [READS]


def test_being_seen_is_written_by_a_page_whose_time_has_come(ada: Person, storage: Storage) -> None:
    long_ago = clock.now() - 3600
    with storage.database.session() as session:
        session.execute(update(WebSession).values(last_seen_at=long_ago))
    assert ada.browser.get("/account").status_code == 200
    with transactions(storage.database) as begun:
        assert ada.browser.get("/account").status_code == 200
    assert set(begun) == {READS}
    with storage.database.reading() as session:
        assert session.query(WebSession.last_seen_at).scalar() > long_ago


def test_the_cookie_lasts_as_long_as_a_session_may(ada: Person) -> None:
    answer = ada.browser.post("/signin", {"email": ada.user.email, "password": PASSWORD})
    (cookie,) = [line for line in answer.headers.getlist("Set-Cookie") if line.startswith("idiolect_session=")]
    assert "Max-Age=7776000;" in cookie
