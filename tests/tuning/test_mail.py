"""Letters over a real socket to a real mail server, with and without TLS."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mailbox import Mailbox, make_certificate, running_mailbox
from tuning.config import PostConfig
from tuning.errors import ConfigurationError, Undelivered
from tuning.mail import Letter, send

LETTER = Letter("delivery-1", "ada@example.org", "Grüße", "A line.\n\nhttps://example.org/?a=b\n.\nThe end – really.")


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that this process trusts."""
    path = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


@pytest.fixture
def box(certificate: Path) -> Iterator[Mailbox]:
    with running_mailbox(certificate) as running:
        yield running


def post(url: str, **given: str) -> PostConfig:
    return PostConfig(smtp_url=url, mail_from="idiolect@example.org", **given)


def reason(config: PostConfig) -> tuple[str, bool]:
    """Why the letter could not be handed over, and whether for good."""
    with pytest.raises(Undelivered) as wrong:
        send(config, LETTER)
    return wrong.value.reason, wrong.value.final


def test_a_letter_arrives_as_it_was_written_and_says_which_it_is(box: Mailbox) -> None:
    config = post(f"smtp://me%40here:p%3Aw@localhost:{box.port}", public_url="https://idiolect.example")
    send(config, LETTER)
    (letter,) = box.letters
    assert (letter["To"], letter["From"], letter["Subject"]) == (LETTER.to, "idiolect@example.org", "Grüße")
    assert letter["Message-ID"] == "<delivery-1@idiolect.example>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert "https://example.org/?a=b" in letter.get_content()
    assert "The end – really." in letter.get_content()
    assert box.were_secure == [True]
    assert box.logins == [("me@here", "p:w")]


def test_tls_from_the_first_byte(certificate: Path) -> None:
    with running_mailbox(certificate, tls_at_once=True) as box:
        send(post(f"smtps://127.0.0.1:{box.port}"), LETTER)
        assert box.were_secure == [True]


def test_no_tls_only_where_it_was_said(box: Mailbox) -> None:
    box.offers_tls = False
    assert reason(post(f"smtp://me:secret@localhost:{box.port}")) == ("no_tls", False)
    assert box.logins == []
    send(post(f"smtp+plain://localhost:{box.port}"), LETTER)
    assert box.were_secure == [False]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_certificate_that_nobody_vouches_for_gets_no_letter(tmp_path: Path, scheme: str) -> None:
    with running_mailbox(make_certificate(tmp_path), tls_at_once=scheme == "smtps") as box:
        assert reason(post(f"{scheme}://me:secret@localhost:{box.port}")) == ("no_tls", False)
        assert (box.letters, box.logins) == ([], [])


@pytest.mark.parametrize(("answer", "final"), [("550 no such mailbox", True), ("451 come back later", False)])
def test_a_refusal_is_for_good_or_for_now(box: Mailbox, answer: str, final: bool) -> None:
    box.refuses = answer
    assert reason(post(f"smtp+plain://localhost:{box.port}")) == ("refused", final)


def test_an_address_that_the_server_cannot_spell_is_refused_for_good(box: Mailbox) -> None:
    with pytest.raises(Undelivered) as wrong:
        send(post(f"smtp+plain://localhost:{box.port}"), replace(LETTER, to="jürgen@example.org"))
    assert (wrong.value.reason, wrong.value.final) == ("refused", True)


def test_a_server_that_is_not_there_is_tried_again() -> None:
    assert reason(post("smtp+plain://127.0.0.1:1")) == ("unreachable", False)


@pytest.mark.parametrize(
    "url", ["mail.example.org", "http://mail.example.org", "smtp://", "smtp://host:port", "smtp://h:0"]
)
def test_a_wrong_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="IDIOLECT_SMTP_URL") as wrong:
        PostConfig.from_env({"IDIOLECT_SMTP_URL": f"{url}?secret", "IDIOLECT_MAIL_FROM": "a@example.org"})
    assert "secret" not in str(wrong.value)


def test_a_mail_server_needs_a_sender() -> None:
    with pytest.raises(ConfigurationError, match="IDIOLECT_MAIL_FROM"):
        PostConfig.from_env({"IDIOLECT_SMTP_URL": "smtps://mail.example.org"})
    assert not PostConfig.from_env({}).sends_mail
    assert "secret" not in repr(post("smtps://me:secret@mail.example.org"))
