import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app.config import AppConfig
from app.errors import ConfigurationError
from app.web import throttle
from app.web.factory import create_app
from storage import crypto, prefixes, users
from storage.redis_cache import RedisCache
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Browser, Person, join
from tests.app.web.training import publish
from tests.servers import Valkey


def sign_up(browser: Browser, email: str = "ada@example.org", password: str = PASSWORD):  # type: ignore[no-untyped-def]
    return browser.post("/signup", {"email": email, "password": password})


def test_signing_up_leads_to_the_first_voice(browser: Browser) -> None:
    done = sign_up(browser)
    assert done.status_code == 302
    home = browser.get("/", follow_redirects=True)
    assert "My voice" in home.text
    assert "Paste something you wrote" in home.text


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(browser: Browser) -> None:
    cookie = next(c for c in sign_up(browser).headers.getlist("Set-Cookie") if c.startswith("idiolect_session="))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_under_https_cookies_are_secure_and_the_site_says_so(storage: Storage) -> None:
    browser = Browser.of(create_app(AppConfig(public_url="https://idiolect.example"), storage))
    page = browser.get("/signin", base_url="https://idiolect.example")
    assert "Strict-Transport-Security" in page.headers
    assert all("Secure" in cookie for cookie in page.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize(
    ("email", "password", "says"),
    [("not an address", PASSWORD, "address"), ("ada@example.org", "short", "10"), ("", "", "")],
)
def test_a_bad_sign_up_is_explained_and_keeps_the_address(
    browser: Browser, email: str, password: str, says: str
) -> None:
    page = sign_up(browser, email, password)
    assert page.status_code == 422
    assert f'value="{email}"' in page.text
    assert 'role="alert"' in page.text
    assert says in page.text
    assert "short" not in page.text.replace("shorter", "")


@pytest.mark.parametrize(
    ("email", "password", "field"), [("ada@x", PASSWORD, "email"), ("a@b.de", "short", "password")]
)
def test_the_field_that_is_wrong_is_marked_and_no_other(
    browser: Browser, email: str, password: str, field: str
) -> None:
    page = sign_up(browser, email, password)
    marked = re.findall(r'<input [^>]*id="(\w+)"[^>]*aria-invalid="true"', page.text)
    assert marked == [field]


def test_a_taken_address_is_said(browser: Browser, ada: Person) -> None:
    page = sign_up(browser, ada.user.email)
    assert page.status_code == 422
    assert 'role="alert"' in page.text


def test_signing_in_leads_on_to_where_one_was_going(browser: Browser, ada: Person) -> None:
    asked = browser.get("/account")
    assert asked.location == "/signin?next=/account"
    done = browser.post("/signin", {"email": ada.user.email.upper(), "password": PASSWORD, "next": "/account"})
    assert done.location == "/account"
    assert browser.get("/account").status_code == 200
    assert browser.get("/signin").status_code == 302


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "/a\nb"])
def test_signing_in_never_leads_to_another_site(browser: Browser, ada: Person, elsewhere: str) -> None:
    done = browser.post("/signin", {"email": ada.user.email, "password": PASSWORD, "next": elsewhere})
    assert done.location == "/"


def test_after_signing_in_the_voices_prefixes_are_in_the_cache(browser: Browser, ada: Person, bob: Person) -> None:
    for person in (ada, bob):
        publish(person)
        prefixes.wipe_cached(person.storage, person.user.id)
    form = browser.token()  # the form alone brings nothing
    assert ada.storage.cache.figures().entries == 0
    login = {"csrf_token": form, "email": ada.user.email, "password": PASSWORD}
    browser.client.post("/signin", data=login, buffered=True)
    assert ada.storage.cache.figures().entries == 1
    assert prefixes.load_prefix(ada.storage, ada.user.id, ada.voice.id).source == "cache"
    assert prefixes.load_prefix(bob.storage, bob.user.id, bob.voice.id).source == "database"


def test_a_dead_cache_keeps_nobody_out(storage: Storage) -> None:
    bundle = replace(storage, cache=RedisCache("redis://127.0.0.1:1/0"))
    app = create_app(AppConfig(), bundle)
    person = join(app, bundle, "ada@example.org")
    publish(person)
    done = Browser.of(app).post("/signin", {"email": person.user.email, "password": PASSWORD})
    assert done.status_code == 302


def test_a_wrong_password_and_an_unknown_address_look_the_same(browser: Browser, ada: Person) -> None:
    wrong = browser.post("/signin", {"email": ada.user.email, "password": "wrong wrong wrong"})
    unknown = browser.post("/signin", {"email": "x" + ada.user.email, "password": "wrong wrong wrong"})
    assert wrong.status_code == unknown.status_code == 401
    assert f'value="{ada.user.email}"' in wrong.text
    assert "go together" in wrong.text
    assert "go together" in unknown.text


def test_signing_out_ends_the_session_itself_and_not_only_the_cookie(ada: Person) -> None:
    kept = ada.browser.client.get_cookie("idiolect_session")
    assert kept is not None
    assert ada.browser.post("/signout").status_code == 302
    assert ada.browser.client.get_cookie("idiolect_session") is None
    ada.browser.client.set_cookie("idiolect_session", kept.value)
    assert ada.browser.get("/account").status_code == 302


def test_signing_in_again_ends_the_session_one_had(ada: Person) -> None:
    old = ada.browser.client.get_cookie("idiolect_session")
    assert old is not None
    ada.browser.post("/signin", {"email": ada.user.email, "password": PASSWORD})
    assert ada.browser.get("/account").status_code == 200
    ada.browser.client.set_cookie("idiolect_session", old.value)
    assert ada.browser.get("/account").status_code == 302


def test_a_suspended_person_is_signed_out_at_the_next_request(browser: Browser, ada: Person, storage: Storage) -> None:
    assert ada.browser.get("/account").status_code == 200
    with storage.database.session() as session:
        users.set_state(session, ada.user.id, "suspended")
    assert ada.browser.get("/account").status_code == 302
    page = browser.post("/signin", {"email": ada.user.email, "password": PASSWORD})
    assert page.status_code == 403
    assert "suspended" in page.text


def test_a_post_after_the_session_ended_says_so(ada: Person) -> None:
    token = ada.browser.token()
    ada.browser.client.delete_cookie("idiolect_session")
    done = ada.browser.client.post("/account/keys", data={"csrf_token": token}, follow_redirects=True)
    assert "You were signed out" in done.text


@pytest.fixture
def strict(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """A web role that allows two failures."""
    monkeypatch.setattr(throttle, "FAILED_SIGN_INS", "2 per 5 minutes")
    return create_app(AppConfig(), storage)


def failures(browser: Browser, email: str, count: int) -> list[int]:
    return [browser.post("/signin", {"email": email, "password": "no"}).status_code for _ in range(count)]


def test_too_many_wrong_passwords_are_slowed_down_for_that_address_alone(strict: Flask, storage: Storage) -> None:
    ada, browser = join(strict, storage, "ada@example.org"), Browser.of(strict)
    assert failures(browser, ada.user.email, 3) == [401, 401, 429]
    page = browser.post("/signin", {"email": ada.user.email, "password": PASSWORD})
    assert page.status_code == 429
    assert int(page.headers["Retry-After"]) > 0
    assert "too often" in page.text
    assert browser.post("/signin", {"email": "else@example.org", "password": "no"}).status_code == 401


def test_nobody_is_told_to_wait_who_need_not(strict: Flask) -> None:
    made = sign_up(Browser.of(strict), "ada@example.org")
    assert made.status_code == 302
    assert "Retry-After" not in made.headers


def test_one_address_that_fails_for_many_people_is_slowed_down_for_all(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "FAILED_FROM_ADDRESS", "3 per 5 minutes")
    browser = Browser.of(create_app(AppConfig(), storage))
    tries = [failures(browser, f"person{number}@example.org", 1)[0] for number in range(4)]
    assert tries == [401, 401, 401, 429]


def test_who_came_too_often_is_told_how_long_to_wait(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "VISITS", "1 per hour")
    monkeypatch.setattr(throttle, "FAILED_SIGN_INS", "1 per 5 minutes")
    app = create_app(AppConfig(), storage)
    for path, most_s, said in (("/guest", 3600, "1 h"), ("/signin", 300, "5 min")):
        pages = [Browser.of(app).post(path, {"email": "ada@example.org", "password": "no"}) for _ in range(2)]
        assert pages[1].status_code == 429
        assert most_s - 5 <= int(pages[1].headers["Retry-After"]) <= most_s
        assert f"Wait {said}, then try again" in pages[1].text


def failures_from(app: Flask, forwarded_for: str, count: int) -> list[int]:
    browser = Browser.of(app)
    form, headers = {"email": "ada@example.org", "password": "no"}, {"X-Forwarded-For": forwarded_for}
    return [browser.post("/signin", form, headers=headers).status_code for _ in range(count)]


def test_behind_a_proxy_a_stranger_locks_nobody_out(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FAILED_SIGN_INS", "2 per 5 minutes")
    app = create_app(AppConfig(trusted_proxies=1), storage)
    assert failures_from(app, "203.0.113.7", 3)[-1] == 429
    assert failures_from(app, "203.0.113.7, 198.51.100.1", 1) == [401]
    assert failures_from(app, "made-up, 203.0.113.7", 1) == [429]


def test_without_a_proxy_nobody_chooses_the_address_they_come_from(strict: Flask) -> None:
    assert failures_from(strict, "203.0.113.7", 3)[-1] == 429
    assert failures_from(strict, "198.51.100.1", 1) == [429]


def test_the_number_of_proxies_is_read_and_checked() -> None:
    assert AppConfig.from_env({"IDIOLECT_TRUSTED_PROXIES": "2"}).trusted_proxies == 2
    with pytest.raises(ConfigurationError, match="IDIOLECT_TRUSTED_PROXIES must be 0 or more"):
        AppConfig.from_env({"IDIOLECT_TRUSTED_PROXIES": "-1"})


def test_good_sign_ins_are_not_counted(strict: Flask, storage: Storage) -> None:
    ada = join(strict, storage, "ada@example.org")
    for _ in range(3):
        done = Browser.of(strict).post("/signin", {"email": ada.user.email, "password": PASSWORD})
        assert done.status_code == 302


def at_once(app: Flask, forms: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The answers to sign-ins all of which are there before the first password has been looked at."""
    browsers = [Browser.of(app) for _ in forms]
    tokens = [browser.token() for browser in browsers]
    looked_at = users.verify_password

    def slow(*given: Any) -> Any:
        time.sleep(0.5)
        return looked_at(*given)

    monkeypatch.setattr(users, "verify_password", slow)

    def send(browser: Browser, token: str, form: dict[str, str]) -> int:
        return browser.client.post("/signin", data={"csrf_token": token, **form}).status_code

    with ThreadPoolExecutor(len(forms)) as all_of_them:
        done = list(all_of_them.map(send, browsers, tokens, forms))
    monkeypatch.undo()
    return done


@pytest.fixture(params=["in memory", "in redis"])
def counters(request: pytest.FixtureRequest, valkey: Valkey) -> str:
    """Where the tries are counted."""
    valkey.cache.flush()
    return "" if request.param == "in memory" else valkey.cache_url


def test_tries_at_once_are_no_more_than_one_after_the_other(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, counters: str
) -> None:
    monkeypatch.setattr(throttle, "FAILED_SIGN_INS", "3 per 5 minutes")
    app = create_app(AppConfig(rate_limit_url=counters), storage)
    done = at_once(app, [{"email": "ada@example.org", "password": "no"}] * 12, monkeypatch)
    assert set(done) == {401, 429}
    assert done.count(401) <= 3
    assert failures(Browser.of(app), "ada@example.org", 3)[-1] == 429


def test_tries_for_many_people_at_once_are_no_more_either(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, counters: str
) -> None:
    monkeypatch.setattr(throttle, "FAILED_FROM_ADDRESS", "3 per 5 minutes")
    app = create_app(AppConfig(rate_limit_url=counters), storage)
    forms = [{"email": f"person{number}@example.org", "password": "no"} for number in range(12)]
    assert at_once(app, forms, monkeypatch).count(401) <= 3


def test_good_sign_ins_at_once_leave_nothing_counted(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, counters: str
) -> None:
    monkeypatch.setattr(throttle, "FAILED_SIGN_INS", "2 per 5 minutes")
    monkeypatch.setattr(throttle, "FAILED_FROM_ADDRESS", "3 per 5 minutes")
    app = create_app(AppConfig(rate_limit_url=counters), storage)
    good = {"email": join(app, storage, "ada@example.org").user.email, "password": PASSWORD}
    assert set(at_once(app, [good] * 8, monkeypatch)) == {302, 429}
    assert failures(Browser.of(app), good["email"], 3) == [401, 401, 429]
    assert failures(Browser.of(app), "bob@example.org", 2) == [401, 429]  # those refused above took none of the three


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/redis.sock"])
def test_tries_are_still_counted_when_redis_is_dead(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(throttle, "FAILED_SIGN_INS", "2 per 5 minutes")
    tries = failures(Browser.of(create_app(AppConfig(rate_limit_url=url), storage)), "a@example.org", 4)
    assert tries[0] == 401
    assert tries[-1] == 429


def setup_link(storage: Storage) -> str:
    return f"/setup?token={crypto.derive(storage.config.master_key, 'first administrator').hex()}"


def test_the_first_administrators_link_works_once(browser: Browser, storage: Storage) -> None:
    link = setup_link(storage)
    page = browser.get(link).text
    assert "first administrator" in page
    assert "can open a sample with a reason" in page  # it is an owner's account
    done = browser.post(link, {"email": "root@example.org", "password": PASSWORD})
    assert done.location == "/admin/"
    assert browser.get("/admin/").status_code == 200
    used = Browser.of(browser.app).get(link)
    assert used.status_code == 409
    assert "has been used" in used.text


def test_two_who_follow_the_link_at_once_make_one_administrator(app: Flask, storage: Storage) -> None:
    link, browsers = setup_link(storage), [Browser.of(app), Browser.of(app)]
    forms = [
        {"csrf_token": b.token(), "email": f"{n}@example.org", "password": PASSWORD} for n, b in enumerate(browsers)
    ]
    with ThreadPoolExecutor(2) as both:
        done = both.map(lambda browser, form: browser.client.post(link, data=form).status_code, browsers, forms)
    assert sorted(done) == [302, 409]
    with storage.database.reading() as session:
        assert len(users.list_users(session)) == 1


def test_a_bad_first_administrator_is_explained(browser: Browser, storage: Storage) -> None:
    page = browser.post(setup_link(storage), {"email": "root@example.org", "password": "short"})
    assert page.status_code == 422
    assert 'value="root@example.org"' in page.text


@pytest.mark.parametrize("link", ["/setup", "/setup?token=", "/setup?token=00ff", "/setup?token=é"])
def test_a_wrong_link_leads_nowhere(browser: Browser, link: str) -> None:
    assert browser.get(link).status_code == 404
    assert browser.post(link, {"email": "root@example.org", "password": PASSWORD}).status_code == 404


def test_a_writer_sees_no_console(ada: Person) -> None:
    assert ada.browser.get("/admin/").status_code == 404
    assert "Console" not in ada.browser.get("/account").text
