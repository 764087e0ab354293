"""The demo's browser: reads forms out of the real pages, fills them in and sends them. Knows no /v1."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

from app.demo.errors import DemoFailed

_SECRET = re.compile(r"\bidl-[A-Za-z0-9_-]{16,}")


@dataclass
class Form:
    """A form of a page: where it goes and what its fields hold; several boxes may share a name."""

    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)


class _FormReader(HTMLParser):
    def __init__(self, address: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._address = address
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.forms.append(Form(urljoin(self._address, given.get("action") or "")))
            self._inside = True
        elif self._inside and tag in ("input", "textarea") and (name := given.get("name")) and _is_sent(given):
            self.forms[-1].fields.setdefault(name, []).append(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def _is_sent(given: dict[str, str | None]) -> bool:
    return given.get("type") != "checkbox" or "checked" in given


class Visitor:
    """A person with a browser at `url`. Close it when done."""

    def __init__(self, url: str) -> None:
        self._browser = httpx.Client(base_url=url, follow_redirects=True, timeout=30, trust_env=False)

    def close(self) -> None:
        """Let go of the connections."""
        self._browser.close()

    def sign_up(self) -> str:
        """Make a fresh account with a random address and password; the address."""
        email = f"demo-{secrets.token_hex(6)}@example.com"
        self._fill_in("/signup", "password", {"email": email, "password": secrets.token_urlsafe(18)})
        if "idiolect_session" not in self._browser.cookies:
            raise DemoFailed("signing up did not lead to a session")
        return email

    def create_api_key(self) -> str:
        """Make an API key on the account page; its secret, which only this answer shows."""
        answer = self._fill_in("/account", "name", {"name": "make demo"}, action="/account/keys")
        found = _SECRET.search(answer.text)
        if found is None:
            raise DemoFailed("the account page showed no new API key")
        return found.group()

    def _fill_in(self, page: str, marker: str, values: Mapping[str, str], action: str = "") -> httpx.Response:
        """Send the form of `page` that has a field `marker` (and goes to `action`), its hidden fields as they came."""
        shown = self._expect(self._browser.get(page))
        reader = _FormReader(str(shown.url))
        reader.feed(shown.text)
        for form in reader.forms:
            if marker in form.fields and form.action.endswith(action):
                return self._expect(self._browser.post(form.action, data={**form.fields, **values}))
        raise DemoFailed(f"the page {page} has no form with a field {marker!r}")

    @staticmethod
    def _expect(answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        raise DemoFailed(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}")
