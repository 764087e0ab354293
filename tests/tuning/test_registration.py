from storage import base_models
from storage.store import Storage
from tests.tiny_model import make_tiny
from tuning.registration import register


def test_pages_learn_of_a_loaded_model_what_it_is_and_whether_it_takes_requests(storage: Storage) -> None:
    for chat in (False, True):
        base = make_tiny(chat=chat)
        register(storage, base)
        with storage.database.reading() as session:
            current = base_models.current(session)
            assert current is not None
            assert (current.fingerprint, current.name) == (base.fingerprint, base.name)
            assert (current.context_length, current.num_parameters) == (base.context_length, base.num_parameters)
            assert current.has_chat_template is chat
