"""By which ways a person is told that a training has ended, and the telling, in the transaction of that end.

By mail to the account's address, and by a webhook: a POST to an address of theirs, signed with a secret of their own.
Address and secret are sealed. Nothing is sent from here: see storage.deliveries.
"""

import base64
import ipaddress
import json
import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage import audit, crypto, deliveries
from storage.errors import InvalidWebhook
from storage.keys import KeyStore
from storage.models import NoticeSettings

MAX_URL_CHARS = 2000
SECRET_PREFIX = "whsec_"  # noqa: S105 (the form of the Standard Webhooks specification)


@dataclass(frozen=True)
class Webhook:
    """Where to, and what the receiver knows it by: "whsec_" and 32 bytes in base64."""

    url: str
    secret: str


@dataclass(frozen=True)
class Notices:
    """What a person wants."""

    by_mail: bool = False
    webhook: Webhook | None = None


def read(session: Session, keys: KeyStore, user_id: str) -> Notices:
    """What the person wants. Raises KeyErased."""
    row = session.get(NoticeSettings, user_id)
    if row is None:
        return Notices()
    if row.webhook_sealed is None:
        return Notices(row.by_mail)
    plain = crypto.unseal(keys.data_key(user_id), row.webhook_sealed, "webhook", user_id)
    return Notices(row.by_mail, Webhook(**json.loads(plain)))


def save(session: Session, keys: KeyStore, user_id: str, *, by_mail: bool, webhook_url: str) -> Notices:
    """What the person wants from now on. webhook_url: one that `clean_url` gave, or empty; another address gets another
    secret. Raises KeyErased."""
    before, key = read(session, keys, user_id), keys.data_key(user_id)
    webhook = before.webhook
    if not webhook_url:
        webhook = None
    elif webhook is None or webhook.url != webhook_url:
        secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        webhook = Webhook(webhook_url, secret)
    session.execute(delete(NoticeSettings).where(NoticeSettings.user_id == user_id))
    if by_mail or webhook:
        sealed = webhook and crypto.seal(key, json.dumps(asdict(webhook)).encode(), "webhook", user_id)
        session.add(NoticeSettings(user_id=user_id, by_mail=by_mail, webhook_sealed=sealed))
    session.flush()
    audit.record(
        session, "user.set_notices", actor_id=user_id, subject_id=user_id, mail=by_mail, webhook=webhook is not None
    )
    return Notices(by_mail, webhook)


def clean_url(url: str, *, inside: bool) -> str:
    """The address as it is kept. inside: this installation also sends to its own network, and without TLS. What a name
    leads to is looked at when something is sent. Raises InvalidWebhook."""
    url = url.strip()
    try:
        given = urlsplit(url)
        host, port = given.hostname or "", given.port
    except ValueError:
        host, port = "", None
    if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url or not host or port == 0:
        raise InvalidWebhook("That is not an address. It should read like https://example.org/hooks/idiolect.")
    if given.scheme != "https" and not (inside and given.scheme == "http"):
        raise InvalidWebhook("Notices are sent over https only: use an address that begins with https://.")
    if given.username or given.password or given.fragment:
        raise InvalidWebhook(
            "Leave user, password and #… out of the address; the signature proves where a notice is from."
        )
    if not inside and _is_a_number(host):
        raise InvalidWebhook("Use the name of a machine that everybody can reach, not a number.")
    return url


def announce_end(session: Session, user_id: str, run_id: str) -> None:
    """Tell of a run that has just ended, by the ways its owner wants."""
    wanted = select(NoticeSettings.by_mail, NoticeSettings.webhook_sealed.is_not(None))
    row = session.execute(wanted.where(NoticeSettings.user_id == user_id)).one_or_none()
    if row is None:
        return
    by_mail, by_webhook = row
    if by_mail:
        deliveries.add(session, user_id, "run_ended", "mail", run_id=run_id)
    if by_webhook:
        deliveries.add(session, user_id, "run_ended", "webhook", run_id=run_id)


def _is_a_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
