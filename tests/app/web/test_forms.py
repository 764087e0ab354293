from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from app.config import AppConfig
from app.web.factory import create_app
from app.web.forms import origin_of
from storage.store import Storage
from tests.app.web.browser import PASSWORD, TOKEN

PUBLIC = "https://idiolect.example.org"
BEHIND = {"X-Forwarded-Proto": "https", "Host": "127.0.0.1:8000"}  # as nginx sends by itself
Send = Callable[..., TestResponse]


def token_in(page: TestResponse) -> str:
    found = TOKEN.search(page.text)
    assert found
    return found.group(1)


@pytest.fixture
def send(storage: Storage) -> Send:
    """A sign-up with a good token, through one proxy that speaks TLS."""

    def sign_up(public_url: str = PUBLIC, text: str = "", **headers: str) -> TestResponse:
        app = create_app(AppConfig(public_url=public_url, trusted_proxies=1), storage)
        client = app.test_client(use_cookies=False)  # a jar keeps cookies by Host, of which a browser knows nothing
        page = client.get("/signup")
        form = {"email": "ada@example.org", "password": PASSWORD, "text": text, "csrf_token": token_in(page)}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        return client.post("/signup", data=form, headers=BEHIND | given | {"Cookie": cookie})

    return sign_up


@pytest.mark.parametrize("page", [f"{PUBLIC}/signup", f"{PUBLIC}:443/signup?next=%2F"])
def test_a_proxy_that_puts_its_own_name_into_host_lets_forms_through(send: Send, page: str) -> None:
    assert send(Referer=page).status_code == 302


@pytest.mark.parametrize(
    "page",
    [
        "https://evil.example/",
        "http://idiolect.example.org/",
        f"{PUBLIC}:8443/",
        f"{PUBLIC}.evil.example/",
        "https://[",
    ],
)
def test_no_header_of_a_request_makes_a_strangers_page_ours(send: Send, page: str) -> None:
    for forged in ({}, {"Host": "evil.example"}, {"X_Forwarded_Host": "evil.example"}):
        answer = send(Referer=page, text="My long letter", **forged)
        assert answer.status_code == 400
        assert "sent from another address" in answer.text
        assert f"Open {PUBLIC} and send it from there" in answer.text
        assert "stale" not in answer.text
        assert "My long letter" in answer.text


def test_a_form_without_a_referer_is_told_what_to_do_about_it(send: Send) -> None:
    answer = send(text="My long letter")
    assert answer.status_code == 400
    assert "leaves out the Referer" in answer.text
    assert "stale" not in answer.text
    assert "My long letter" in answer.text


def test_where_no_https_address_is_set_the_host_is_compared(send: Send) -> None:
    plain = "http://127.0.0.1:8000"
    assert send(plain, Referer="https://127.0.0.1:8000/signup").status_code == 302
    answer = send(plain, Referer=f"{PUBLIC}/signup")
    assert answer.status_code == 400
    assert "IDIOLECT_PUBLIC_URL" in answer.text


def test_without_tls_no_referer_is_needed(send: Send) -> None:
    assert send(X_Forwarded_Proto="http").status_code == 302


def test_a_port_that_goes_without_saying_may_be_said() -> None:
    assert origin_of("https://a.example") == origin_of("https://A.example:443/x") == ("https", "a.example", 443)
    assert origin_of("https://a.example:port") is None
