"""Errors of the inference engine.

EngineError
├── EngineFull        every row is taken and as many requests wait as may wait; try again later
├── TooManyAtOnce     so many answers to one request can't be taken, however empty the engine is
├── PromptTooLong     the prompt and its prefix leave no room to answer; carries `limit` and `given`
├── WrongPrefix       this prefix was trained for another base model
├── CacheTooSmall     the memory that is given holds not one row; carries `needed`
├── ModelUnfit        rows of different people can't be run together on this model
├── EngineClosed      the engine was shut down, before or during the answer
└── EngineFailed      the engine's loop broke; it serves nothing until its process is started again
"""


class EngineError(Exception):
    """Anything the engine refuses or cannot do."""


class EngineFull(EngineError):
    """Every row is taken and as many requests wait as may wait."""


class TooManyAtOnce(EngineError):
    """So many answers to one request can't be taken, however empty the engine is."""


class PromptTooLong(EngineError):
    """The prompt leaves no room to answer.

    limit: the most prompt tokens that this engine takes beside this prefix; given: how many there were.
    """

    def __init__(self, limit: int, given: int) -> None:
        super().__init__(f"The prompt has {given} tokens, and at most {limit} fit. Shorten it.")
        self.limit = limit
        self.given = given


class WrongPrefix(EngineError):
    """This prefix was trained for another base model."""


class CacheTooSmall(EngineError):
    """The memory that is given holds not one row. needed: bytes of a row."""

    def __init__(self, needed: int, positions: int) -> None:
        super().__init__(f"The keys and values of one answer take {needed} bytes ({positions} positions).")
        self.needed = needed


class ModelUnfit(EngineError):
    """Rows of different people can't be run together on this model; says why."""


class EngineClosed(EngineError):
    """The engine was shut down, before or during the answer."""

    def __init__(self) -> None:
        super().__init__("The engine was shut down. Try again in a moment.")


class EngineFailed(EngineError):
    """The engine's loop broke; it serves nothing until its process is started again, which the API role does itself."""

    def __init__(self) -> None:
        super().__init__("The engine broke while generating; its process must be started again.")
