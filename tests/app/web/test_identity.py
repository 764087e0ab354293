"""Signing in with another service: a real one on a real socket, which signs its tokens and can be told to lie."""

import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask import Flask
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from app.config import AppConfig
from app.errors import ConfigurationError
from app.web.factory import create_app
from storage import audit, identities, users
from storage.store import Storage
from tests.app.web.browser import PASSWORD, Browser, Person, join
from tests.app.web.provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider

ADA = {"sub": "s-ada", "email": "Ada@example.org", "email_verified": True}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def config(provider: Provider) -> AppConfig:
    return AppConfig(
        public_url="http://localhost",
        oidc_issuer=provider.url,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_name="Lighthouse",
    )


@pytest.fixture
def app(storage: Storage, config: AppConfig) -> Flask:
    return create_app(config, storage)


def go(browser: Browser, path: str = "/signin/with") -> str:
    """Leave for the service and sign in there; the way back, not yet gone."""
    left = browser.get(path)
    assert left.status_code == 302, left.text
    back = httpx.get(left.location, trust_env=False).headers["location"]
    assert back.startswith("http://localhost/signin/back?")
    return str(back.removeprefix("http://localhost"))


def sign_in(browser: Browser, path: str = "/signin/with") -> TestResponse:
    return browser.get(go(browser, path))


def account_of(browser: Browser) -> str:
    page = browser.get("/account")
    return page.text if page.status_code == 200 else ""


def test_who_comes_first_gets_an_account_and_finds_it_again_whatever_their_address_is_then(
    browser: Browser, provider: Provider, storage: Storage
) -> None:
    assert "Sign in with Lighthouse" in browser.get("/signin").text
    provider.claims = ADA
    done = sign_in(browser, "/signin/with?next=/account")
    assert done.location == "/account"
    assert "ada@example.org" in account_of(browser)
    browser.post("/signout")
    provider.claims = {"sub": "s-ada", "email": "else@example.org", "email_verified": False}
    assert sign_in(browser).status_code == 302
    assert "ada@example.org" in account_of(browser)
    with storage.database.reading() as session:
        assert len(users.list_users(session)) == 1
        assert [event.action for event in audit.list_events(session)][:2] == [
            "user.connected_sign_in",
            "user.signed_up",
        ]


def test_such_an_account_has_no_password_that_opens_it(browser: Browser, provider: Provider, storage: Storage) -> None:
    provider.claims = ADA
    sign_in(browser)
    assert "Your account has none" in browser.get("/account/access").text
    refused = browser.post("/account/password", {"password": "", "new_password": PASSWORD})
    assert refused.status_code == 422
    for password in ("", PASSWORD):
        with storage.database.session() as session:
            assert users.verify_password(session, "ada@example.org", password) is None
    assert browser.post("/account/identity/disconnect").status_code == 409


def test_an_address_never_leads_into_an_account_not_even_a_confirmed_one(
    ada: Person, browser: Browser, provider: Provider
) -> None:
    provider.claims = ADA
    refused = sign_in(browser)
    assert refused.status_code == 409
    assert "There is an account with your address" in refused.text
    assert account_of(browser) == ""


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "s-eve", "email": "eve@example.org", "email_verified": False},
        {"sub": "s-eve", "email": "eve@example.org", "email_verified": "true"},
        {"sub": "s-eve", "email": "eve@example.org"},
        {"sub": "s-eve"},
    ],
)
def test_an_address_that_is_not_confirmed_makes_no_account(
    browser: Browser, provider: Provider, storage: Storage, claims: dict[str, object]
) -> None:
    provider.claims = claims
    refused = sign_in(browser)
    assert refused.status_code == 403
    assert "has not confirmed" in refused.text
    with storage.database.reading() as session:
        assert users.list_users(session) == []


def connect(person: Person) -> TestResponse:
    return sign_in(person.browser, f"/signin/with?connect={person.browser.token()}")


def test_an_account_that_is_there_is_connected_used_and_disconnected(
    ada: Person, browser: Browser, provider: Provider
) -> None:
    provider.claims = {"sub": "s-77"}
    assert "Connect Lighthouse" in ada.browser.get("/account/access").text
    assert connect(ada).location == "/account/access"
    assert "Disconnect Lighthouse" in ada.browser.get("/account/access").text
    sign_in(browser)
    assert ada.user.email in account_of(browser)
    ada.browser.post("/account/identity/disconnect")
    stranger = Browser.of(browser.app)
    assert sign_in(stranger).status_code == 403
    assert ada.browser.post("/account/identity/disconnect").status_code == 404


def test_no_link_from_elsewhere_connects_anything(ada: Person, provider: Provider, storage: Storage) -> None:
    assert ada.browser.get("/signin/with?connect=made-up").status_code == 400
    stranger = Browser.of(ada.browser.app)
    assert stranger.get(f"/signin/with?connect={stranger.token()}").status_code == 401
    with storage.database.reading() as session:
        assert identities.find_issuer(session, ada.user.id, provider.url) is None


def test_a_guest_connects_nothing(browser: Browser, provider: Provider, storage: Storage) -> None:
    browser.post("/guest")
    assert browser.get(f"/signin/with?connect={browser.token()}").status_code == 403


def test_what_one_began_connects_nobody_elses_account(
    ada: Person, bob: Person, provider: Provider, storage: Storage
) -> None:
    back = go(ada.browser, f"/signin/with?connect={ada.browser.token()}")
    assert bob.browser.get(back).status_code == 400
    cookie = bob.browser.client.get_cookie("idiolect_session")
    assert cookie is not None
    ada.browser.client.set_cookie("idiolect_session", cookie.value)  # somebody else sits down at this browser
    assert ada.browser.get(back).status_code == 401
    with storage.database.reading() as session:
        assert identities.find_user(session, provider.url, "s-1") is None


def test_one_name_leads_to_one_account(ada: Person, bob: Person, provider: Provider) -> None:
    connect(ada)
    connect(bob)
    assert "leads to another account" in bob.browser.get("/account/access").text
    assert "Connect Lighthouse" in bob.browser.get("/account/access").text


def test_a_suspended_person_stays_out(ada: Person, browser: Browser, storage: Storage) -> None:
    connect(ada)
    with storage.database.session() as session:
        users.set_state(session, ada.user.id, "suspended")
    refused = sign_in(browser)
    assert refused.status_code == 403
    assert "suspended" in refused.text
    assert account_of(browser) == ""


AT = int(time.time())
LIES = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "for another platform": {"aud": "another"},
    "for another platform, by way of this one": {"aud": "another", "azp": CLIENT_ID},
    "for both, by way of another": {"aud": [CLIENT_ID, "another"], "azp": "another"},
    "for nobody": {"aud": None},
    "too old": {"exp": AT - 3600},
    "without an end": {"exp": None},
    "of tomorrow": {"iat": AT + 86400},
    "another nonce": {"nonce": "made-up"},
    "no nonce": {"nonce": None},
    "nobody": {"sub": None},
    "a name of nothing": {"sub": ""},
    "a name too long": {"sub": "x" * 256},
    "a name that is none": {"sub": 7},
}


@pytest.mark.parametrize("lies", LIES.values(), ids=LIES.keys())
def test_a_token_with_a_false_claim_proves_nobody(
    browser: Browser, provider: Provider, storage: Storage, lies: dict[str, object]
) -> None:
    provider.claims, provider.lies = ADA, lies
    refused = sign_in(browser)
    assert refused.status_code == 401
    assert "were not signed in" in refused.text
    assert provider.exchanged == 1
    with storage.database.reading() as session:
        assert users.list_users(session) == []


def test_a_token_for_several_is_taken_where_this_platform_is_one_and_asked(
    browser: Browser, provider: Provider
) -> None:
    provider.claims, provider.lies = ADA, {"aud": ["another", CLIENT_ID], "azp": CLIENT_ID}
    assert sign_in(browser).status_code == 302


@pytest.mark.parametrize("forged_with", ["none", "HS256"])
def test_a_token_that_nobody_signed_proves_nobody_whatever_the_service_offers(
    browser: Browser, provider: Provider, forged_with: str
) -> None:
    provider.metadata_lies = {"id_token_signing_alg_values_supported": ["HS256", "none"]}
    provider.claims, provider.forged_with = ADA, forged_with
    assert sign_in(browser).status_code == 401
    assert account_of(browser) == ""


def test_a_token_that_another_key_signed_proves_nobody(browser: Browser, provider: Provider) -> None:
    provider.claims, provider.published = ADA, RSAKey.generate_key(2048, {"kid": "first"})
    assert sign_in(browser).status_code == 401
    assert account_of(browser) == ""


@pytest.mark.parametrize(("agreed", "secret"), [("post", CLIENT_SECRET), ("none", "")])
def test_the_platform_proves_itself_as_the_service_wants_it(
    storage: Storage, provider: Provider, config: AppConfig, agreed: str, secret: str
) -> None:
    provider.claims, provider.agreed = ADA, agreed
    provider.metadata_lies = {"token_endpoint_auth_methods_supported": [f"client_secret_{agreed}"]}
    browser = Browser.of(create_app(replace(config, oidc_client_secret=secret), storage))
    assert sign_in(browser).status_code == 302


def test_a_service_that_changes_its_key_is_believed_at_once(browser: Browser, provider: Provider) -> None:
    provider.claims = ADA
    assert sign_in(browser).status_code == 302
    provider.key = RSAKey.generate_key(2048, {"kid": "second"})
    assert sign_in(Browser.of(browser.app)).status_code == 302


def test_the_way_back_works_once_and_only_in_the_browser_that_left(browser: Browser, provider: Provider) -> None:
    provider.claims = ADA
    back = go(browser)
    assert Browser.of(browser.app).get(back).status_code == 400
    altered = back.replace("state=", "state=x")
    assert browser.get(altered).status_code == 400
    assert browser.get(back).status_code == 400  # a wrong state has ended it
    back = go(browser)
    assert browser.get(back).status_code == 302
    assert browser.get(back).status_code == 400
    assert Browser.of(browser.app).get("/signin/back").status_code == 400


def test_who_says_no_there_is_told_so_here(browser: Browser) -> None:
    left = browser.get("/signin/with")
    state = parse_qs(urlsplit(left.location).query)["state"][0]
    refused = browser.get(f"/signin/back?error=access_denied&state={state}")
    assert refused.status_code == 401
    assert "were not signed in by Lighthouse" in refused.text


@pytest.mark.parametrize("lies", [{"issuer": "https://another.example"}, {"jwks_uri": "http://127.0.0.1:1/keys"}])
def test_a_service_that_is_not_what_was_configured_is_not_used(
    browser: Browser, provider: Provider, lies: dict[str, str]
) -> None:
    provider.metadata_lies = lies
    page = browser.get("/signin/with")
    assert page.status_code == 502
    assert "does not answer as it should" in page.text


def test_a_service_that_is_away_leaves_the_password(storage: Storage) -> None:
    config = AppConfig(oidc_issuer="http://127.0.0.1:1", oidc_client_id="x")
    app = create_app(config, storage)
    ada, browser = join(app, storage, "ada@example.org"), Browser.of(app)
    assert browser.get("/signin/with").status_code == 502
    assert browser.post("/signin", {"email": ada.user.email, "password": PASSWORD}).status_code == 302


def test_without_an_issuer_there_is_nothing_of_it(storage: Storage) -> None:
    app = create_app(AppConfig(), storage)
    ada = join(app, storage, "ada@example.org")
    for path in ("/signin/with", "/signin/back"):
        assert Browser.of(app).get(path).status_code == 404
    assert ada.browser.post("/account/identity/disconnect").status_code == 404
    assert "/signin/with" not in Browser.of(app).get("/signin").text
    assert "/signin/with" not in ada.browser.get("/account/access").text


def test_the_settings_are_read_and_checked() -> None:
    env = {"IDIOLECT_OIDC_ISSUER": "https://id.example", "IDIOLECT_OIDC_CLIENT_ID": "us"}
    config = AppConfig.from_env({**env, "IDIOLECT_OIDC_CLIENT_SECRET": "hidden"})
    assert "hidden" not in repr(config)
    with pytest.raises(ConfigurationError, match="IDIOLECT_OIDC_CLIENT_ID"):
        AppConfig.from_env({**env, "IDIOLECT_OIDC_CLIENT_ID": ""})
    with pytest.raises(ConfigurationError, match="IDIOLECT_OIDC_ISSUER"):
        AppConfig.from_env({**env, "IDIOLECT_OIDC_ISSUER": "http://id.example"})
