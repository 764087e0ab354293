"""How much room people take, on both databases."""

import json

from storage import checkpoints, space, uploads
from storage.models import User
from storage.space import Space
from storage.store import Storage
from tests import factories

CHARS = sum(map(len, factories.SAMPLE_TEXTS))


def somebody(storage: Storage) -> User:
    return factories.make_user(storage)


def test_everything_a_person_keeps_is_counted_under_its_own_name(storage: Storage) -> None:
    user, other = somebody(storage), somebody(storage)
    voice = factories.first_voice(storage, user)
    factories.publish(storage, user, voice, b"p" * 300)
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    data = json.dumps({"text": factories.SAMPLE_TEXTS[0]}).encode()
    with storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 1, b"c" * 1000)
        uploads.add_upload(session, storage.keys, user_id=user.id, data=data, filename="a.jsonl")
    with storage.database.reading() as session:
        mine, theirs = space.by_person(session, by="total", descending=True, page=1, size=10)
        everybody = space.of_everybody(session)
    assert theirs == Space(other.id, other.email, 0, 0, 0, 0, 0)
    assert (mine.user_id, mine.samples, mine.files) == (user.id, CHARS, len(data))
    assert mine.prefixes == 300
    assert 1000 < mine.checkpoints < 1100
    assert mine.total == mine.samples + mine.files + mine.prefixes + mine.checkpoints == everybody.total


def test_people_come_in_the_order_asked_for_page_by_page(storage: Storage) -> None:
    people = [somebody(storage) for _ in range(3)]
    for number, user in enumerate(people, start=1):
        factories.add_samples(storage, user, factories.first_voice(storage, user), factories.SAMPLE_TEXTS[:number])
    with storage.database.reading() as session:
        pages = [space.by_person(session, by="samples", descending=True, page=page, size=2) for page in (1, 2)]
        upwards = space.by_person(session, by="samples", descending=False, page=1, size=9)
    assert [found.user_id for page in pages for found in page] == [user.id for user in reversed(people)]
    assert [found.user_id for found in upwards] == [user.id for user in people]


def test_an_empty_platform_takes_none(storage: Storage) -> None:
    with storage.database.reading() as session:
        assert space.of_everybody(session) == Space("", "", 0, 0, 0, 0, 0)
        assert space.by_person(session, by="total", descending=True, page=1, size=9) == []
