"""Postmen: the timers of every worker's main process that carry out what storage.deliveries holds. Load no torch.

A letter says what happened and where to look, and holds none of the person's text. What a link needs as its secret is
made at this moment, so that it lies nowhere but in the letter.
"""

import logging
import os
import threading
from collections.abc import Callable, Collection
from typing import Any

from celery import bootsteps
from sqlalchemy.exc import SQLAlchemyError

from storage import deliveries, password_links, users
from storage.config import StorageConfig
from storage.deliveries import CHANNELS, Due
from storage.errors import KeyErased, NotFound, StorageError
from storage.models import Channel, User
from storage.store import Storage
from tuning import mail, run_notices, webhook
from tuning.celery_app import celery_app
from tuning.config import PostConfig
from tuning.errors import Undelivered
from tuning.mail import Letter

EVERY_S = 2.0
MOST_A_TURN = 50
SIGNED = "\n\nThis letter was sent by the Idiolect at {home}. Nobody reads answers to it.\n"

logger = logging.getLogger(__name__)


class Postman:
    """`carry` is one turn; `start` begins a turn every two seconds, until `stop`. channels: by which ways; each way
    has a postman of its own in a worker, so that receivers who let one wait hold up no letter."""

    def __init__(self, storage: Storage, config: PostConfig, channels: Collection[Channel] = CHANNELS) -> None:
        self._storage, self._config, self._channels = storage, config, channels
        self._ended = threading.Event()
        # Held while one is carried and taken before a fork: no child begins life with a lock of this thread's held.
        self._hand = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="postman", daemon=True)

    def start(self) -> None:
        """Begin the turns."""
        os.register_at_fork(
            before=self._hand.acquire, after_in_parent=self._hand.release, after_in_child=self._hand.release
        )
        self._thread.start()

    def stop(self) -> None:
        """End the turns, after the delivery under way."""
        self._ended.set()
        self._thread.join()
        self._storage.close()

    def carry(self) -> int:
        """Carry out what is due; how many. Storage that is away is logged, and met again at the next turn."""
        for done in range(MOST_A_TURN):
            with self._hand:
                try:
                    if self._ended.is_set() or not self._carry_one():
                        return done
                except (SQLAlchemyError, StorageError) as away:
                    logger.warning("deliveries wait (%s)", type(away).__name__)
                    return done
        return MOST_A_TURN

    def _run(self) -> None:
        while not self._ended.is_set():
            self.carry()
            self._ended.wait(EVERY_S)

    def _carry_one(self) -> bool:
        with self._storage.database.reading() as session:
            if not deliveries.any_due(session, self._channels):  # asked every two seconds, so never of the one writer
                return False
        with self._storage.database.session() as session:
            due = deliveries.claim(session, self._channels)
        if due is None:
            return False
        error, final = None, False
        try:
            self._deliver(due)
        except Undelivered as wrong:
            error, final = wrong.reason, wrong.final
            logger.warning("%s (%s by %s) was not delivered: %s", due.id, due.kind, due.channel, error)
        except (SQLAlchemyError, StorageError):
            raise
        except Exception as broken:  # one that can't be carried must not keep the others
            error, final = "broken", True
            logger.error("%s (%s by %s) broke: %s", due.id, due.kind, due.channel, type(broken).__name__)
        with self._storage.database.session() as session:
            deliveries.settle(session, due, error, final=final)
        return True

    def _deliver(self, due: Due) -> None:
        try:
            if due.channel == "webhook":
                webhook.send(run_notices.notice(self._storage, due), inside=self._config.goes_inside)
            elif self._config.sends_mail:
                mail.send(self._config, LETTERS[due.kind](self._storage, self._config, due))
            else:
                raise Undelivered("no_mail_server")
        except (NotFound, KeyErased):
            raise Undelivered("gone", final=True) from None


class PostmanStep(bootsteps.StartStopStep):
    """Starts the postmen with the worker, after its pool was forked, and stops them with the worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._postmen: list[Postman] = []

    def start(self, parent: Any) -> None:
        """Begin to carry."""
        for channel in CHANNELS:
            postman = Postman(Storage.open(StorageConfig.from_env()), PostConfig.from_env(), [channel])
            postman.start()
            self._postmen.append(postman)

    def stop(self, parent: Any) -> None:
        """Carry no more."""
        while self._postmen:
            self._postmen.pop().stop()

    def terminate(self, parent: Any) -> None:
        """Carry no more; what was claimed is due again in two minutes."""
        self.stop(parent)


def _password_reset(storage: Storage, config: PostConfig, due: Due) -> Letter:
    with storage.database.session() as session:
        user = users.get_user(session, due.user_id)
        token = password_links.make_link(session, user.id, actor_id=None, lifetime_s=password_links.BY_MAIL_S)
    text = (
        "Somebody, you most likely, asked for a new password for your account. Choose it here; the link works once, "
        f"within half an hour:\n\n{config.public_url}/password/new?token={token}\n\n"
        "If it was not you, there is nothing to do: your password stays as it is."
    )
    return _letter(config, due, user, "Choose a new password", text)


def _password_link_made(storage: Storage, config: PostConfig, due: Due) -> Letter:
    with storage.database.reading() as session:
        user = users.get_user(session, due.user_id)
    text = (
        "An administrator made a link with which another password can be chosen for your account; whoever uses it can "
        "then sign in as you. It works once, within a day. If you asked for it, all is well. If not, change your "
        "password, which ends the link, and ask whoever runs the platform. Who made it, and whether it was used, "
        f"stands in your account:\n\n{config.public_url}/account/readings"
    )
    return _letter(config, due, user, "A password link was made for your account", text)


def _password_changed(storage: Storage, config: PostConfig, due: Due) -> Letter:
    with storage.database.reading() as session:
        user = users.get_user(session, due.user_id)
    text = (
        "The password of your account was changed, and every browser is signed out. If it was not you, choose another "
        f"one at once, and look through your API keys:\n\n{config.public_url}/password/forgotten"
    )
    return _letter(config, due, user, "Your password was changed", text)


def _run_ended(storage: Storage, config: PostConfig, due: Due) -> Letter:
    user, subject, text = run_notices.words(storage, due)
    return _letter(config, due, user, subject, f"{text}\n\n{config.public_url}/runs/{due.run_id}")


def _letter(config: PostConfig, due: Due, user: User, subject: str, text: str) -> Letter:
    return Letter(due.id, user.email, subject, text + SIGNED.format(home=config.public_url))


LETTERS: dict[str, Callable[[Storage, PostConfig, Due], Letter]] = {
    "password_reset": _password_reset,
    "password_link_made": _password_link_made,
    "password_changed": _password_changed,
    "run_ended": _run_ended,
}
celery_app.steps["worker"].add(PostmanStep)
