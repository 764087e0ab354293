"""One letter to one person, handed to the mail server. Knows no table, and nothing of what a letter says.

A password never crosses a wire in the clear unless the setting says that there is no TLS (`smtp+plain`).
"""

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from urllib.parse import unquote, urlsplit

from tuning.config import PostConfig
from tuning.errors import Undelivered

TIMEOUT_S = 10.0
PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


@dataclass(frozen=True)
class Letter:
    """Plain text. id: the same for every copy of it, so that a mailbox may tell."""

    id: str
    to: str
    subject: str
    text: str


def send(config: PostConfig, letter: Letter) -> None:
    """Hand it over. Raises Undelivered: for good where the server refuses this letter, else to be tried again."""
    message = _message(config, letter)
    try:
        with _connected(config) as server:
            server.send_message(message, config.mail_from, [letter.to])
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as refused:
        raise Undelivered("refused", final=_is_final(refused)) from None
    except smtplib.SMTPNotSupportedError:  # an address in other letters than its own
        raise Undelivered("refused", final=True) from None
    except smtplib.SMTPAuthenticationError:
        raise Undelivered("not_let_in") from None
    except ssl.SSLError:
        raise Undelivered("no_tls") from None
    except (smtplib.SMTPException, OSError):
        raise Undelivered("unreachable") from None


def _connected(config: PostConfig) -> smtplib.SMTP:
    url = urlsplit(config.smtp_url)
    host, port = url.hostname or "", url.port or PORTS[url.scheme]
    context = ssl.create_default_context()
    server: smtplib.SMTP
    if url.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        if url.scheme == "smtp":
            _turn_to_tls(server, context)
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        server.close()
        raise
    return server


def _turn_to_tls(server: smtplib.SMTP, context: ssl.SSLContext) -> None:
    try:
        server.starttls(context=context)
    except (smtplib.SMTPNotSupportedError, smtplib.SMTPResponseException):
        raise Undelivered("no_tls") from None


def _message(config: PostConfig, letter: Letter) -> EmailMessage:
    message = EmailMessage()
    message["From"] = config.mail_from
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{letter.id}@{urlsplit(config.public_url).hostname or 'idiolect'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message


def _is_final(refused: smtplib.SMTPException) -> bool:
    """5xx: this letter will never be taken. 4xx: not now."""
    if isinstance(refused, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in refused.recipients.values())
    return isinstance(refused, smtplib.SMTPResponseException) and refused.smtp_code >= 500
