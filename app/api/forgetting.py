"""Prefixes out of use leave this process's memory soon: replaced versions, deleted voices, suspended and erased people.

They are unusable at once, since every request asks the database first; this lets go of their bytes. Owns the thread.
"""

from threading import Thread

from app.api.request_log import log_failure
from app.api.services import Services
from storage import prefixes

FORGET_EVERY_S = 10.0


def start_forgetting(services: Services, every_s: float = FORGET_EVERY_S) -> Thread:
    """Look every few seconds until the services stop."""

    def look() -> None:
        while not services.stopping.wait(every_s):
            try:
                forget_unused(services)
            except Exception as wrong:  # the database is away for a moment, say: the next look makes up for it
                log_failure(wrong)

    thread = Thread(target=look, name="forgetting", daemon=True)
    thread.start()
    return thread


def forget_unused(services: Services) -> None:
    """Let go of every held prefix that no voice of an active person speaks with now."""
    held = services.prefixes.addresses()
    services.prefixes.forget(set(held) - prefixes.in_use(services.storage, held))
