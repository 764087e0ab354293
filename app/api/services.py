"""What the API's views work with: the storage, the shared model, the engine, and who is calling."""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

from flask import current_app, g

from app.api.prefix_memory import PrefixMemory
from app.api.token_limits import TokenLimit
from app.api.usage_meter import UsageMeter
from app.auth import Caller
from app.config import API_DOWNLOADS, API_EVENT_STREAMS, API_UPLOADS, AppConfig
from app.generation.engine import Engine
from app.generation.token_text import TokenTexts
from app.seats import MAX_DOWNLOADS, MAX_EVENT_STREAMS, MAX_GENERATIONS, MAX_UPLOADS, Seats
from storage.store import Storage
from tuning.base_model import BaseModel
from tuning.encoding import ENCODING

EXTENSION = "idiolect"


@dataclass(frozen=True)
class Services:
    """One of each for an app."""

    config: AppConfig
    storage: Storage
    base: BaseModel
    engine: Engine
    prefixes: PrefixMemory = field(init=False)
    stopping: threading.Event = field(default_factory=threading.Event)
    generations: Seats = field(default_factory=lambda: Seats(MAX_GENERATIONS, "generations"))
    uploads: Seats = field(default_factory=lambda: Seats(MAX_UPLOADS, "training files", in_all=API_UPLOADS))
    downloads: Seats = field(default_factory=lambda: Seats(MAX_DOWNLOADS, "training files", in_all=API_DOWNLOADS))
    event_streams: Seats = field(
        default_factory=lambda: Seats(MAX_EVENT_STREAMS, "event streams", in_all=API_EVENT_STREAMS)
    )
    meter: UsageMeter = field(init=False)
    token_limit: TokenLimit = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "meter", UsageMeter(self.storage.database))
        limit = TokenLimit(self.config.token_limit_per_minute, self.config.rate_limit_url)
        object.__setattr__(self, "token_limit", limit)
        memory = PrefixMemory(self.config.prefix_memory_mb << 20, self.base.device, self.base.dtype)
        object.__setattr__(self, "prefixes", memory)

    @cached_property
    def longest_token(self) -> int:
        """Characters of the vocabulary's longest token: a text of n characters has n / longest_token tokens or more."""
        return max(map(len, self.base.tokenizer.get_vocab()))

    @cached_property
    def token_texts(self) -> TokenTexts:
        """What each token stands for."""
        with ENCODING:
            return TokenTexts(self.base.tokenizer)

    def close(self) -> None:
        """End every open stream and let go of the databases. Called when the process stops."""
        self.stopping.set()
        self.engine.close()
        self.meter.flush()
        self.token_limit.close()
        self.storage.close()


def services() -> Services:
    """Those of the app that serves this request."""
    return cast(Services, current_app.extensions[EXTENSION])


def caller() -> Caller:
    """Whoever made this request; only in views that are not public."""
    return cast(Caller, g.caller)
