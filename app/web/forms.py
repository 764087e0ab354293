"""Whether a form was sent from a page of this platform: by the token in it, and under https by the page that it says it
comes from.

That page is compared with the address by which people reach the platform, as it is configured, and never with what a
request says of itself: a proxy may put its own name into Host, and anybody may send any X-Forwarded-Host.
"""

from urllib.parse import urlsplit

from flask import Flask, g, request
from flask_wtf.csrf import CSRFError, CSRFProtect

PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str | None, int | None]  # scheme, host, port


class SourceUnknown(CSRFError):  # type: ignore[misc]  # the package has no types
    """The request does not say from which page the form was sent."""


class SentFromElsewhere(CSRFError):  # type: ignore[misc]  # as above
    """The form was sent from a page of another address. address: the one that it has to be sent from."""

    def __init__(self, address: str) -> None:
        super().__init__("The form was sent from another address.")
        self.address = address


class FormGuard(CSRFProtect):  # type: ignore[misc]  # as above
    """Flask-WTF's guard of forms, with the page they come from compared as said above."""

    def __init__(self, app: Flask, public_url: str) -> None:
        app.config["WTF_CSRF_SSL_STRICT"] = False  # it is done here instead
        self.public_url = public_url
        super().__init__(app)

    def protect(self, apply_exemptions: bool = False) -> None:
        """Raises CSRFError: SourceUnknown, SentFromElsewhere, or for a token that is not this session's."""
        super().protect(apply_exemptions)
        if request.is_secure and g.get("csrf_valid"):  # a form, and its token is good
            self._check_source()

    def _check_source(self) -> None:
        if not request.referrer:
            raise SourceUnknown("The Referer is missing.")
        address = self.public_url if self.public_url.startswith("https://") else f"https://{request.host}"
        if origin_of(request.referrer) != origin_of(address):
            raise SentFromElsewhere(address)


def origin_of(url: str) -> Origin | None:
    """What tells one site from another; None where it can't be read."""
    try:
        given = urlsplit(url)
        return given.scheme, given.hostname, given.port or PORTS.get(given.scheme)
    except ValueError:
        return None
