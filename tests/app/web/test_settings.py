import pytest

from app.web.factory import create_app
from storage import api_keys, audit, usage, users, voices
from storage.errors import KeyErased, NotFound
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Browser, Person, join


def test_a_key_is_shown_once_with_examples_for_ones_own_voice(ada: Person, storage: Storage) -> None:
    page = ada.browser.post("/account/keys", {"name": "laptop", "scope": list(api_keys.SCOPES)})
    secret = page.text.split('id="secret">')[1].split("<")[0]
    with storage.database.session() as session:
        found = api_keys.authenticate(session, secret)
    assert found is not None
    assert found[1].id == ada.user.id
    assert ada.voice.id in page.text
    assert "from openai import OpenAI" in page.text
    assert "/v1/completions" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    account = ada.browser.get("/account").text
    assert "laptop" in account
    assert secret not in account


def test_a_revoked_key_says_so_and_stops_working(ada: Person, storage: Storage) -> None:
    with storage.database.session() as session:
        key, secret = api_keys.create_key(session, ada.user.id, "old")
    for _ in range(2):  # the second changes nothing and is not recorded
        ada.browser.post(f"/account/keys/{key.id}/revoke")
    with storage.database.session() as session:
        assert api_keys.authenticate(session, secret) is None
        (event,) = audit.list_events(session, action="key.revoked")
        assert (event.actor_id, event.detail) == (ada.user.id, {"key_id": key.id})
    assert "revoked" in ada.browser.get("/account").text


def test_a_key_can_be_made_before_there_is_any_voice(ada: Person, storage: Storage) -> None:
    voices.delete_voice(storage, ada.user.id, ada.voice.id)
    page = ada.browser.post("/account/keys", {"name": "laptop", "scope": list(api_keys.SCOPES)})
    assert page.status_code == 200
    assert "make one first" in page.text


def test_a_key_may_do_what_was_chosen_and_the_list_says_so(ada: Person, storage: Storage) -> None:
    page = ada.browser.post("/account/keys", {"name": "reader", "scope": ["read", "generate"]})
    assert "Its scopes: generate, read." in page.text
    ada.browser.post("/account/keys", {"name": "trainer", "scope": ["tuning"]})
    with storage.database.reading() as session:
        made = {key.name: api_keys.scopes_of(key) for key in api_keys.list_keys(session, ada.user.id)}
    assert made == {"reader": ("generate", "read"), "trainer": ("tuning",)}
    listed = ada.browser.get("/account").text
    assert "scopes generate, read<" in listed
    assert "scopes tuning<" in listed
    assert ada.browser.get("/account").text.count(" checked>") == len(api_keys.SCOPES)


@pytest.mark.parametrize("scopes", [[], ["everything"]])
def test_a_key_that_may_do_nothing_is_not_made_and_what_was_typed_stays(
    ada: Person, storage: Storage, scopes: list[str]
) -> None:
    page = ada.browser.post("/account/keys", {"name": "laptop", "scope": scopes})
    assert page.status_code == 422
    assert "at least one" in page.text
    assert 'value="laptop"' in page.text
    assert " checked>" not in page.text
    with storage.database.reading() as session:
        assert api_keys.list_keys(session, ada.user.id) == []


def test_what_the_keys_were_used_for_is_shown_by_name_to_its_owner_alone(
    ada: Person, bob: Person, storage: Storage
) -> None:
    assert "Nothing yet." in ada.browser.get("/account").text
    with storage.database.session() as session:
        key, _ = api_keys.create_key(session, ada.user.id, "laptop")
        day = usage.today()
        places = [
            usage.Place(ada.user.id, day, key.id, ada.voice.id),
            usage.Place(ada.user.id, day, usage.PAGES, "base"),
        ]
        usage.add(session, dict.fromkeys(places, usage.Counts(3, 4321, 765)))
    page = ada.browser.get("/account").text
    table = page[page.index("Use of the last") :]
    for shown in ("laptop", "My voice", "the writing page", "base", "4,321", "765"):
        assert shown in table
    assert "Nothing yet." in bob.browser.get("/account").text


def test_a_long_list_of_use_is_cut_and_says_so(ada: Person, storage: Storage) -> None:
    with storage.database.session() as session:
        places = [usage.Place(ada.user.id, usage.today(), "key-1", f"voice-{number}") for number in range(61)]
        usage.add(session, dict.fromkeys(places, usage.Counts(1)))
    page = ada.browser.get("/account").text
    assert "Only the newest 60 lines" in page
    assert "voice-59" in page
    assert page.count("key-1") == 60


def test_anothers_key_is_not_there(ada: Person, bob: Person, storage: Storage) -> None:
    with storage.database.session() as session:
        key, secret = api_keys.create_key(session, bob.user.id, "bob's")
    assert ada.browser.post(f"/account/keys/{key.id}/revoke").status_code == 404
    with storage.database.session() as session:
        assert api_keys.authenticate(session, secret) is not None


def test_a_new_password_signs_out_every_other_browser(ada: Person, storage: Storage) -> None:
    other = Browser.of(ada.browser.app)
    other.post("/signin", {"email": ada.user.email, "password": PASSWORD})
    new = "another plum jam"
    assert ada.browser.post("/account/password", {"password": PASSWORD, "new_password": new}).status_code == 302
    assert "is changed" in ada.browser.get("/account").text
    assert other.get("/account").status_code == 302
    for password, opens in ((new, True), (PASSWORD, False)):
        with storage.database.session() as session:
            assert (users.verify_password(session, ada.user.email, password) is not None) == opens


@pytest.mark.parametrize(
    ("present", "new", "says"), [("wrong", "another plum jam", "not right"), (PASSWORD, "short", "10")]
)
def test_a_bad_change_of_password_changes_nothing(ada: Person, present: str, new: str, says: str) -> None:
    page = ada.browser.post("/account/password", {"password": present, "new_password": new})
    assert page.status_code == 422
    assert says in page.text
    again = Browser.of(ada.browser.app).post("/signin", {"email": ada.user.email, "password": PASSWORD})
    assert again.status_code == 302


def test_leaving_names_what_goes_and_asks_for_the_word(ada: Person) -> None:
    ada.add(2)
    page = ada.browser.get("/account/delete")
    assert "My voice" in page.text
    assert "2 samples" in page.text
    refused = ada.browser.post("/account/delete", {"word": "delet"})
    assert refused.status_code == 422
    assert "Nothing was deleted" in refused.text
    assert 'value="delet"' in refused.text
    assert ada.browser.get("/account").status_code == 200


def test_leaving_erases_everything_and_hands_a_receipt(ada: Person, storage: Storage) -> None:
    ada.add(1)
    receipt = ada.browser.post("/account/delete", {"word": "Delete "})
    assert receipt.status_code == 200
    assert ada.user.id in receipt.text
    assert ada.user.email in receipt.text
    assert "Sign in" in receipt.text
    assert ada.browser.get("/account").status_code == 302
    with storage.database.session() as session, pytest.raises(NotFound):
        users.get_user(session, ada.user.id)
    with pytest.raises(KeyErased):
        storage.keys.data_key(ada.user.id)


def test_the_last_administrator_stays_while_there_are_others(ada: Person, storage: Storage) -> None:
    root = join(ada.browser.app, storage, "root@example.org", role="admin")
    page = root.browser.post("/account/delete", {"word": "delete"})
    assert page.status_code == 409
    assert "only active owner" in page.text
    assert 'value="delete"' in page.text
    assert root.browser.get("/account").status_code == 200


def test_an_address_is_free_again_after_leaving(ada: Person) -> None:
    ada.browser.post("/account/delete", {"word": "delete"})
    again = join(ada.browser.app, ada.storage, ada.user.email)
    assert again.user.id != ada.user.id


def test_the_app_can_be_made_twice_in_one_process(storage: Storage, ada: Person) -> None:
    second = create_app(storage=storage, config=ada.browser.app.extensions["app_config"])
    browser = Browser.of(second)
    assert browser.post("/signin", {"email": ada.user.email, "password": PASSWORD}).status_code == 302
