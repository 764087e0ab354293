"""Links to choose a new password with."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from storage import api_keys, audit, identities, password_links, users, web_sessions
from storage.errors import InvalidAccount, NotFound
from storage.models import PasswordLink, User
from storage.password_links import HandedLink
from storage.store import Storage
from tests import factories

NEW = "another plum jam"


def make(storage: Storage, user: User, lifetime_s: float = 60.0) -> str:
    with storage.database.session() as session:
        return password_links.make_link(session, user.id, actor_id=None, lifetime_s=lifetime_s)


def choose(storage: Storage, token: str, password: str = NEW) -> User | None:
    with storage.database.session() as session:
        return password_links.choose_password(session, token, password, hasher=factories.FAST_HASHER)


def opens(storage: Storage, user: User, password: str) -> bool:
    with storage.database.session() as session:
        return users.verify_password(session, user.email, password, hasher=factories.FAST_HASHER) is not None


def test_a_link_changes_the_password_once_and_signs_everybody_out(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    with storage.database.session() as session:
        mine, theirs = web_sessions.start(session, user.id), web_sessions.start(session, other.id)
    token, second = make(storage, user), make(storage, user)
    kept = make(storage, other)
    with storage.database.reading() as session:
        holder = password_links.holder(session, token)
    assert holder is not None
    assert holder.id == user.id
    changed = choose(storage, token)
    assert changed is not None
    assert changed.id == user.id
    assert opens(storage, user, NEW)
    assert not opens(storage, user, factories.PASSWORD)
    assert web_sessions.recognise(storage.database, web_sessions.hashed(mine)) is None
    assert web_sessions.recognise(storage.database, web_sessions.hashed(theirs)) is not None
    assert [choose(storage, used, "yet another one") for used in (token, second)] == [None, None]
    assert opens(storage, user, NEW)
    assert choose(storage, kept) is not None


def test_only_the_hash_is_kept_and_the_trail_names_who_made_it(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        token = password_links.make_link(session, user.id, actor_id="user-chief", lifetime_s=60)
    with storage.database.reading() as session:
        assert session.scalars(select(PasswordLink.token_hash)).all() == [web_sessions.hashed(token)]
        (made,) = audit.list_events(session, action="user.password_link_made")
        assert (made.actor_id, made.subject_id, made.detail) == (
            "user-chief",
            user.id,
            {"link": web_sessions.hashed(token)[:12]},
        )


def test_a_link_that_is_too_old_changes_nothing_and_is_cleared_away(storage: Storage) -> None:
    user = factories.make_user(storage)
    token, fresh = make(storage, user, lifetime_s=-1), make(storage, user)
    assert choose(storage, token) is None
    assert opens(storage, user, factories.PASSWORD)
    with storage.database.session() as session:
        password_links.forget_expired(session)
        assert session.scalars(select(PasswordLink.token_hash)).all() == [web_sessions.hashed(fresh)]


def test_a_password_that_will_not_do_leaves_the_link_good(storage: Storage) -> None:
    user = factories.make_user(storage)
    token = make(storage, user)
    with pytest.raises(InvalidAccount):
        choose(storage, token, "short")
    assert choose(storage, token) is not None


@pytest.mark.parametrize("token", ["", "nonsense", "\udcff", "\x00"])
def test_nonsense_leads_nowhere(storage: Storage, token: str) -> None:
    user = factories.make_user(storage)
    make(storage, user)
    assert choose(storage, token) is None
    assert opens(storage, user, factories.PASSWORD)


def test_a_suspended_person_gets_no_link_and_uses_none(storage: Storage) -> None:
    user = factories.make_user(storage)
    token = make(storage, user)
    with storage.database.session() as session:
        session.execute(update(User).where(User.id == user.id).values(state="suspended"))
    assert choose(storage, token) is None
    with pytest.raises(NotFound):
        make(storage, user)


def test_another_change_of_password_ends_the_links(storage: Storage) -> None:
    user = factories.make_user(storage)
    token = make(storage, user)
    with storage.database.session() as session:
        users.change_password(session, user.id, NEW, hasher=factories.FAST_HASHER)
    assert choose(storage, token, "yet another one") is None


def test_of_two_who_use_it_at_once_one_chooses(storage: Storage) -> None:
    user = factories.make_user(storage)
    token = make(storage, user)
    chosen = ["the first of two", "the second of two"]
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda password: choose(storage, token, password) is not None, chosen))
    assert sorted(done) == [False, True]
    assert opens(storage, user, chosen[done.index(True)])


def test_what_may_be_somebody_elses_ends_with_the_old_password(storage: Storage) -> None:
    user, other = factories.make_user(storage), factories.make_user(storage)
    secrets = []
    with storage.database.session() as session:
        for person in (user, other):
            identities.connect(session, person.id, "https://id.example", f"subject of {person.id}")
            secrets.append(api_keys.create_key(session, person.id, "laptop")[1])
    assert choose(storage, make(storage, user)) is not None
    with storage.database.session() as session:
        assert [api_keys.authenticate(session, secret) is None for secret in secrets] == [True, False]
        known = [identities.find_issuer(session, person.id, "https://id.example") for person in (user, other)]
        assert [row is None for row in known] == [True, False]


def test_a_writers_link_leads_nowhere_once_they_have_a_role(storage: Storage) -> None:
    user = factories.make_user(storage)
    token = make(storage, user)
    with storage.database.session() as session:
        users.set_console_role(session, user.id, "owner")
    assert choose(storage, token) is None
    assert opens(storage, user, factories.PASSWORD)


def handed(storage: Storage, user: User) -> list[HandedLink]:
    with storage.database.reading() as session:
        return password_links.list_handed(session, user.id)


def test_a_person_can_tell_which_links_an_administrator_made_and_which_was_used(storage: Storage) -> None:
    chief, user, other = (factories.make_user(storage) for _ in range(3))
    with storage.database.session() as session:
        given = {"actor_id": chief.id, "lifetime_s": password_links.BY_HAND_S}
        first = password_links.make_link(session, user.id, **given)
        password_links.make_link(session, user.id, **given)
        password_links.make_link(session, other.id, **given)
    make(storage, user)  # by mail, which is nobody's but theirs
    assert [(link.maker, link.used_at) for link in handed(storage, user)] == [(chief.email, None)] * 2
    assert choose(storage, first) is not None
    unused, used = handed(storage, user)
    assert unused.used_at is None
    assert used.used_at is not None
    assert used.used_at >= used.at
    assert [link.used_at for link in handed(storage, other)] == [None]


def test_a_link_by_mail_that_was_used_is_not_taken_for_an_administrators(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        password_links.make_link(session, user.id, actor_id="user-gone", lifetime_s=password_links.BY_HAND_S)
    assert choose(storage, make(storage, user)) is not None
    (told,) = handed(storage, user)
    assert (told.maker, told.used_at) == (None, None)


def test_of_a_link_from_before_it_had_an_id_a_use_within_its_day_is_told(storage: Storage) -> None:
    user = factories.make_user(storage)
    with storage.database.session() as session:
        audit.record(session, password_links.MADE, actor_id="user-chief", subject_id=user.id)
        audit.record(session, password_links.USED, actor_id=user.id, subject_id=user.id, by="link")
    assert handed(storage, user)[0].used_at is not None
