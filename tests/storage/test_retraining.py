"""After a change of base model: which voices are of another model, and asking for all of them."""

from storage import audit, outbox, retraining, samples, tuning_runs, users
from storage.models import User, Voice
from storage.store import Storage
from tests.factories import first_voice, make_run, make_user, publish, register_base_model

OLD, NEW = "0" * 64, "1" * 64


def with_version(storage: Storage, fingerprint: str) -> tuple[User, Voice]:
    user = make_user(storage)
    voice = first_voice(storage, user)
    publish(storage, user, voice, base_fingerprint=fingerprint)
    return user, voice


def outdated(storage: Storage) -> list[str]:
    with storage.database.reading() as session:
        return retraining.outdated_voices(session)


def test_only_voices_in_use_with_another_model_and_no_training_under_way_are_outdated(storage: Storage) -> None:
    assert outdated(storage) == []
    register_base_model(storage, fingerprint=NEW)
    _, old = with_version(storage, OLD)
    with_version(storage, NEW)
    make_user(storage)
    assert outdated(storage) == [old.id]
    asked, waiting = with_version(storage, OLD)
    make_run(storage, asked, waiting)
    suspended, _ = with_version(storage, OLD)
    with storage.database.session() as session:
        users.set_state(session, suspended.id, "suspended")
    assert outdated(storage) == [old.id]


def test_every_outdated_voice_gets_one_run_and_a_second_request_none(storage: Storage) -> None:
    register_base_model(storage, fingerprint=NEW)
    people = [with_version(storage, OLD) for _ in range(3)]
    chief = make_user(storage, role="admin")
    asked = retraining.request_retraining(storage, chief.id)
    assert (len(asked.run_ids), asked.left) == (3, 0)
    with storage.database.reading() as session:
        runs = [tuning_runs.get_run(session, None, run_id) for run_id in asked.run_ids]
        assert {(run.user_id, run.voice_id) for run in runs} == {(user.id, voice.id) for user, voice in people}
        assert set(asked.run_ids) <= {run_id for _, run_id in outbox.unsent(session)}
        (event,) = audit.list_events(session, action="voices.retraining_requested")
    assert (event.actor_id, event.detail) == (chief.id, {"queued": 3, "left": 0})
    assert retraining.request_retraining(storage, chief.id).run_ids == ()


def test_a_voice_whose_writing_is_gone_is_counted_and_stays_as_it_is(storage: Storage) -> None:
    register_base_model(storage, fingerprint=NEW)
    user, voice = with_version(storage, OLD)
    with storage.database.session() as session:
        for sample_id in samples.included_ids(session, user.id, voice.id):
            samples.delete_sample(session, user.id, voice.id, sample_id)
    asked = retraining.request_retraining(storage, make_user(storage, role="admin").id)
    assert (asked.run_ids, asked.left) == ((), 1)
    assert outdated(storage) == [voice.id]
