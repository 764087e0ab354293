"""Errors of the tuning package.

TuningError
├── ConfigurationError     a setting is missing or wrong; the message names it
├── BaseModelUnavailable   the base model can't be loaded (no such path or id, not a causal language model)
├── BaseModelRefused       the registration probe found that a prefix would not work on it; the message says why
├── WrongBaseModel         these prefix bytes were trained for another base model
├── InvalidPrefix          these bytes are not a prefix this version can read
├── InvalidCheckpoint      training can't go on from these bytes (cut, or of other data or settings): start anew
├── ConversationRefused    the model's chat template does not take such a conversation; the message says what to change
├── UnreadableText         a file of public text is not in a form that can be read; the message names it
├── Undelivered            a letter could not be handed over; says in one word why, and whether for good
├── TooLittleText          not enough text to train on and judge by; the message says how much more
└── Stopped                training ends between two steps: cancelled, paused, the worker stops, or the lease was lost
"""

import traceback


class TuningError(Exception):
    """Anything tuning refuses or cannot do."""


class ConfigurationError(TuningError):
    """A setting is missing or wrong; the message names it."""


class BaseModelUnavailable(TuningError):
    """The base model can't be loaded."""


class BaseModelRefused(TuningError):
    """The registration probe found that a prefix would not work on this model; the message says why."""


class WrongBaseModel(TuningError):
    """These prefix bytes were trained for another base model."""


class InvalidPrefix(TuningError):
    """These bytes are not a prefix this version can read."""


class InvalidCheckpoint(TuningError):
    """Training can't go on from these bytes: they are cut, or belong to other data or settings. Start anew."""


class ConversationRefused(TuningError):
    """The model's chat template does not take such a conversation; the message says what to change."""


class UnreadableText(TuningError):
    """A file of public text is not in a form that can be read; the message names it."""


class Undelivered(TuningError):
    """Something could not be brought to a person. reason: one word, which names no address; final: trying again is of
    no use."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final = reason, final


class TooLittleText(TuningError):
    """Not enough text to train on and judge by; the message says how much more."""


class Stopped(TuningError):
    """Training was asked to stop between two steps."""


def where(error: BaseException) -> str:
    """Where an error came from, for a log: its kind and its frames, without its words, which may quote a person."""
    return f"{type(error).__name__} at\n{''.join(traceback.format_tb(error.__traceback__))}"
