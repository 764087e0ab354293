"""Publishing once, and loading from the cache or the database, never from the wrong place."""

import math
import threading
from dataclasses import replace

import pytest
from sqlalchemy import event, text

from storage import checkpoints, prefixes, run_claims, tuning_runs, users, voices
from storage.errors import Conflict, IntegrityError, KeyErased, LostLease, NoPublishedVersion, NotFound, RunCancelled
from storage.models import TuningRun, User, Voice
from storage.redis_cache import RedisCache
from storage.run_claims import Claim
from storage.store import Storage
from tests import factories
from tests.factories import FINGERPRINT
from tests.servers import Valkey


@pytest.fixture
def user(storage: Storage) -> User:
    return factories.make_user(storage)


@pytest.fixture
def voice(storage: Storage, user: User) -> Voice:
    return factories.first_voice(storage, user)


def publish(storage: Storage, held: Claim, data: bytes = b"prefix bytes") -> None:
    prefixes.publish_prefix(
        storage, held, data=data, base_fingerprint=FINGERPRINT, num_virtual_tokens=16, figures={"reduction_pct": 4.5}
    )


def read(storage: Storage, run_id: str) -> TuningRun:
    with storage.database.session() as session:
        return tuning_runs.get_run(session, None, run_id)


def cached_names(valkey: Valkey) -> list[str]:
    with valkey.cache.client() as client:
        return sorted(name.decode() for name in client.scan_iter("prefix:*"))


def without_cache(storage: Storage) -> Storage:
    """The same storage where nobody answers at the cache's address."""
    return replace(storage, cache=RedisCache("unix:///tmp/idiolect-nobody-is-here.sock"))


def test_publishing_writes_everything_together(storage: Storage, user: User, voice: Voice, valkey: Valkey) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    with storage.database.session() as session:
        checkpoints.save_checkpoint(session, storage.keys, held, 1, b"state")
    publish(storage, held)
    run = read(storage, held.run_id)
    assert (run.state, run.published, run.figures) == ("succeeded", True, {"reduction_pct": 4.5})
    with storage.database.session() as session:
        (version,) = voices.list_versions(session, user.id, voice.id)
        assert voices.get_voice(session, user.id, voice.id).active_version == 1
        assert tuning_runs.list_events(session, user.id, run.id)[-1].message == "Published."
        assert session.scalar(text("SELECT count(*) FROM tuning_checkpoints")) == 0
    assert (version.version, version.run_id, version.num_virtual_tokens) == (1, run.id, 16)
    assert cached_names(valkey) == [f"prefix:{user.id}:{voice.id}:1:{FINGERPRINT}"]


def test_figures_that_are_no_numbers_are_kept_as_unknown_with_the_run_and_the_version(
    storage: Storage, user: User, voice: Voice
) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    figures = {"train_seconds": 2.5, "reduction_pct": math.nan, "voice_bits_per_char": math.inf}
    prefixes.publish_prefix(
        storage, held, data=b"data", base_fingerprint=FINGERPRINT, num_virtual_tokens=16, figures=figures
    )
    with storage.database.session() as session:
        version = voices.get_version(session, user.id, voice.id, 1)
    known = {"train_seconds": 2.5, "reduction_pct": None, "voice_bits_per_char": None}
    assert (read(storage, held.run_id).figures, version.figures) == (known, known)


def test_versions_count_up_within_a_voice(storage: Storage, user: User, voice: Voice) -> None:
    other = factories.make_voice(storage, user)
    numbers = [factories.publish(storage, user, where).version for where in (voice, voice, other, voice)]
    assert numbers == [1, 2, 1, 3]


def test_a_run_publishes_once(storage: Storage, user: User, voice: Voice) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    publish(storage, held, b"first")
    with pytest.raises(LostLease):
        publish(storage, held, b"second")
    with storage.database.session() as session:
        assert len(voices.list_versions(session, user.id, voice.id)) == 1
    assert prefixes.load_prefix(storage, user.id, voice.id).data == b"first"


def test_threads_that_publish_the_same_run_at_once_publish_once(storage: Storage, user: User, voice: Voice) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    barrier, outcomes = threading.Barrier(4), []

    def go() -> None:
        barrier.wait()
        try:
            publish(storage, held)
            outcomes.append("published")
        except LostLease:
            outcomes.append("lost")

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost", "lost", "lost", "published"]


def test_a_worker_that_lost_its_lease_publishes_nothing(storage: Storage, user: User, voice: Voice) -> None:
    run = factories.make_run(storage, user, voice)
    stale = factories.start_run(storage, run, lease_s=-1)
    fresh = factories.start_run(storage, run)
    with pytest.raises(LostLease):
        publish(storage, stale, b"stale")
    publish(storage, fresh, b"fresh")
    assert prefixes.load_prefix(storage, user.id, voice.id).data == b"fresh"


def test_a_cancel_before_the_publication_wins(storage: Storage, user: User, voice: Voice, valkey: Valkey) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    with storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=user.id, run_id=held.run_id, actor_id=user.id)
    with pytest.raises(RunCancelled):
        publish(storage, held)
    run = read(storage, held.run_id)
    assert (run.state, run.published) == ("cancelled", False)
    with pytest.raises(NoPublishedVersion):
        prefixes.load_prefix(storage, user.id, voice.id)
    assert cached_names(valkey) == []


def test_a_cancel_after_the_publication_is_told_so(storage: Storage, user: User, voice: Voice) -> None:
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    publish(storage, held)
    with pytest.raises(Conflict, match="succeeded"), storage.database.session() as session:
        tuning_runs.cancel_run(session, user_id=user.id, run_id=held.run_id, actor_id=user.id)
    assert read(storage, held.run_id).cancel_requested is False


def test_of_a_cancel_and_a_publication_at_the_same_moment_one_wins(storage: Storage, user: User, voice: Voice) -> None:
    factories.add_samples(storage, user, voice)
    for _ in range(6):
        held = factories.start_run(storage, factories.make_run(storage, user, voice))
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def attempt(name: str, held: Claim = held, barrier: threading.Barrier = barrier, outcomes: list[str] = outcomes) -> None:  # fmt: skip  # noqa: E501
            barrier.wait()
            try:
                if name == "publish":
                    publish(storage, held)
                else:
                    with storage.database.session() as session:
                        tuning_runs.cancel_run(session, user_id=user.id, run_id=held.run_id, actor_id=user.id)
                outcomes.append(name)
            except Conflict:
                return

        threads = [threading.Thread(target=attempt, args=(name,)) for name in ("publish", "cancel")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run = read(storage, held.run_id)
        assert outcomes == ["publish"] if run.state == "succeeded" else outcomes == ["cancel"]
        assert run.published is (run.state == "succeeded")


def test_the_second_request_reads_the_cache_and_so_does_another_process(
    storage: Storage, user: User, voice: Voice
) -> None:
    factories.publish(storage, user, voice, b"mine")
    prefixes.wipe_cached(storage, user.id)
    other_process = Storage.open(storage.config)
    bytes_read: list[str] = []

    def note(*given: object) -> None:
        bytes_read.append(str(given[2]))

    for opened in (storage, other_process):
        event.listen(opened.database.engine, "before_cursor_execute", note)
    loads = [prefixes.load_prefix(where, user.id, voice.id) for where in (storage, storage, other_process)]
    event.remove(storage.database.engine, "before_cursor_execute", note)
    other_process.close()
    assert [load.source for load in loads] == ["database", "cache", "cache"]
    assert [load.data for load in loads] == [b"mine"] * 3
    assert {(load.user_id, load.voice_id, load.version, load.base_fingerprint) for load in loads} == {
        (user.id, voice.id, 1, FINGERPRINT)
    }
    assert sum("prefix_versions.sealed" in statement for statement in bytes_read) == 1
    figures = storage.cache.figures()
    assert (figures.hits, figures.misses, figures.entries) == (2, 1, 1)


def test_a_rolled_back_version_is_what_the_next_request_gets(storage: Storage, user: User, voice: Voice) -> None:
    for data in (b"one", b"two"):
        factories.publish(storage, user, voice, data)
    seen = []
    for version in (2, 1, 2):
        with storage.database.session() as session:
            voices.use_version(session, user.id, voice.id, version)
        seen.append(prefixes.load_prefix(storage, user.id, voice.id).data)
    assert seen == [b"two", b"one", b"two"]


def test_a_voice_without_a_version_is_told_from_one_that_is_not_there(
    storage: Storage, user: User, voice: Voice
) -> None:
    with pytest.raises(NoPublishedVersion, match="train it"):
        prefixes.load_prefix(storage, user.id, voice.id)
    factories.publish(storage, user, voice)
    with storage.database.session() as session:
        voices.use_version(session, user.id, voice.id, None)
    with pytest.raises(NoPublishedVersion):
        prefixes.load_prefix(storage, user.id, voice.id)
    for user_id, voice_id in ((factories.make_user(storage).id, voice.id), (user.id, "voice-unknown")):
        with pytest.raises(NotFound):
            prefixes.load_prefix(storage, user_id, voice_id)


def test_swapped_entries_of_two_people_fail_closed_to_the_database(
    storage: Storage, user: User, voice: Voice, valkey: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    other = factories.make_user(storage)
    theirs = factories.first_voice(storage, other)
    factories.publish(storage, user, voice, b"mine")
    factories.publish(storage, other, theirs, b"theirs")
    names = cached_names(valkey)
    with valkey.cache.client() as client:
        first, second = client.mget(names)
        client.mset({names[0]: second, names[1]: first})
    for owner, where, data in ((user, voice, b"mine"), (other, theirs, b"theirs")):
        loaded = prefixes.load_prefix(storage, owner.id, where.id)
        assert (loaded.data, loaded.source) == (data, "database")
        assert prefixes.load_prefix(storage, owner.id, where.id).source == "cache"
    assert sum("did not open" in record.message for record in caplog.records) == 2
    with valkey.cache.client() as client:
        assert client.mget(names) == [first, second]  # the right bytes are back in their places


@pytest.mark.parametrize("value", [b"", b"poison", b"\x01" + bytes(60)])
def test_a_poisoned_entry_is_removed_and_the_database_serves(
    storage: Storage, user: User, voice: Voice, valkey: Valkey, value: bytes
) -> None:
    factories.publish(storage, user, voice, b"mine")
    (name,) = cached_names(valkey)
    with valkey.cache.client() as client:
        client.set(name, value)
        loaded = prefixes.load_prefix(storage, user.id, voice.id)
        assert (loaded.data, loaded.source) == (b"mine", "database")
        assert client.get(name) != value


def test_an_older_versions_bytes_under_the_newer_name_do_not_open(
    storage: Storage, user: User, voice: Voice, valkey: Valkey
) -> None:
    for data in (b"one", b"two"):
        factories.publish(storage, user, voice, data)
    with valkey.cache.client() as client:
        old, new = cached_names(valkey)
        client.set(new, client.get(old) or b"")
    loaded = prefixes.load_prefix(storage, user.id, voice.id)
    assert (loaded.data, loaded.source) == (b"two", "database")


def test_bad_bytes_in_the_database_are_refused(storage: Storage, user: User, voice: Voice) -> None:
    other = factories.make_user(storage)
    factories.publish(storage, user, voice, b"mine")
    factories.publish(storage, other, factories.first_voice(storage, other), b"theirs")
    with storage.database.session() as session:
        session.execute(
            text("UPDATE prefix_versions SET sealed = (SELECT sealed FROM prefix_versions WHERE user_id = :other)"),
            {"other": other.id},
        )
    prefixes.wipe_cached(storage, user.id)
    with pytest.raises(IntegrityError):
        prefixes.load_prefix(storage, user.id, voice.id)


def test_without_the_cache_the_database_serves_and_publishing_goes_on(
    storage: Storage, user: User, voice: Voice, caplog: pytest.LogCaptureFixture
) -> None:
    alone = without_cache(storage)
    factories.publish(alone, user, voice, b"mine")
    for _ in range(3):
        loaded = prefixes.load_prefix(alone, user.id, voice.id)
        assert (loaded.data, loaded.source) == (b"mine", "database")
    prefixes.wipe_cached(alone, user.id)
    assert user.id not in caplog.text
    assert prefixes.load_prefix(storage, user.id, voice.id).source == "database"
    assert prefixes.load_prefix(storage, user.id, voice.id).source == "cache"


def test_what_is_cached_and_stored_is_sealed(storage: Storage, user: User, voice: Voice, valkey: Valkey) -> None:
    factories.publish(storage, user, voice, b"zanzibarquokka" * 100)
    with valkey.cache.client() as client, storage.database.session() as session:
        cached = client.get(cached_names(valkey)[0])
        stored = session.scalar(text("SELECT sealed FROM prefix_versions"))
    assert cached == bytes(stored)
    assert b"quokka" not in bytes(stored)


def test_wiping_is_as_narrow_as_asked(storage: Storage, user: User, voice: Voice, valkey: Valkey) -> None:
    second, other = factories.make_voice(storage, user), factories.make_user(storage)
    theirs = factories.first_voice(storage, other)
    for owner, where in ((user, voice), (user, second), (other, theirs)):
        factories.publish(storage, owner, where)
    prefixes.wipe_cached(storage, user.id, voice.id)
    assert len(cached_names(valkey)) == 2
    prefixes.wipe_cached(storage, user.id)
    assert [name.split(":")[1] for name in cached_names(valkey)] == [other.id]


def test_with_the_key_erased_neither_cache_nor_database_gives_anything(
    storage: Storage, user: User, voice: Voice
) -> None:
    factories.publish(storage, user, voice)
    held = factories.start_run(storage, factories.make_run(storage, user, voice))
    storage.keys.erase(user.id)
    with pytest.raises(KeyErased):
        prefixes.load_prefix(storage, user.id, voice.id)
    with pytest.raises(KeyErased):
        publish(storage, held)
    with storage.database.session() as session:
        run_claims.heartbeat(session, held, 60)
    with pytest.raises(KeyErased):
        prefixes.locate(storage, user.id, voice.id)  # whoever holds it opened is refused too


def test_an_address_is_of_the_version_in_use_and_reads_it_wherever_it_lies(
    storage: Storage, user: User, voice: Voice
) -> None:
    factories.publish(storage, user, voice, b"one")
    first = prefixes.locate(storage, user.id, voice.id)
    factories.publish(storage, user, voice, b"two")
    second = prefixes.locate(storage, user.id, voice.id)
    assert (first.version, second.version) == (1, 2)
    assert prefixes.locate(storage, user.id, voice.id, 1) == first
    assert [prefixes.read(storage, address).data for address in (first, second)] == [b"one", b"two"]
    voices.delete_voice(storage, user.id, voice.id)
    with pytest.raises(NotFound):
        prefixes.read(storage, second)  # deleted between the two


def test_of_many_addresses_those_in_use_are_found(
    storage: Storage, user: User, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.prefixes._BATCH", 2)
    suspended, erased = factories.make_user(storage), factories.make_user(storage)
    second, third, off = (factories.make_voice(storage, user, name) for name in ("Letters", "Notes", "Off"))
    for owner, where in ((user, voice), (user, second), (user, third), (user, off)):
        factories.publish(storage, owner, where)
    for owner in (suspended, erased):
        factories.publish(storage, owner, factories.first_voice(storage, owner))
    in_use = {prefixes.locate(storage, user.id, where.id) for where in (second, third)}
    out_of_use = {
        prefixes.locate(storage, owner.id, where.id)
        for owner, where in (
            (user, voice),
            (user, off),
            (suspended, factories.first_voice(storage, suspended)),
            (erased, factories.first_voice(storage, erased)),
        )
    }
    assert prefixes.in_use(storage, in_use | out_of_use) == in_use | out_of_use
    factories.publish(storage, user, voice)
    with storage.database.session() as session:
        voices.use_version(session, user.id, off.id, None)
        users.set_state(session, suspended.id, "suspended")
    users.erase_user(storage, erased.id, actor_id=None)
    elsewhere = {replace(address, user_id=suspended.id) for address in in_use}
    assert prefixes.in_use(storage, in_use | out_of_use | elsewhere) == in_use
    assert prefixes.in_use(storage, []) == set()


def test_warming_brings_what_the_voices_speak_with_and_nothing_else(
    storage: Storage, user: User, voice: Voice, valkey: Valkey
) -> None:
    other, off = factories.make_user(storage), factories.make_voice(storage, user)
    for data in (b"one", b"two"):
        factories.publish(storage, user, voice, data)
    factories.publish(storage, user, off)
    factories.publish(storage, other, factories.first_voice(storage, other))
    with storage.database.session() as session:
        voices.use_version(session, user.id, off.id, None)
    valkey.cache.flush()
    prefixes.warm_cache(storage, user.id)
    (name,) = cached_names(valkey)
    loaded = prefixes.load_prefix(storage, user.id, voice.id)
    assert (loaded.data, loaded.source) == (b"two", "cache")
    with valkey.cache.client() as client:
        client.expire(name, 5)
        prefixes.warm_cache(storage, user.id)
        assert client.ttl(name) > 5
    assert storage.cache.figures().warmed == 1  # it was there the second time


def test_nothing_is_warmed_for_who_is_suspended_or_while_the_cache_is_away(
    storage: Storage, user: User, voice: Voice, valkey: Valkey
) -> None:
    factories.publish(storage, user, voice)
    valkey.cache.flush()
    prefixes.warm_cache(without_cache(storage), user.id)
    with storage.database.session() as session:
        users.set_state(session, user.id, "suspended")
    prefixes.warm_cache(storage, user.id)
    assert cached_names(valkey) == []
