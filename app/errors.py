"""Errors of the app package, and the one place where any package's error becomes an HTTP answer.

AppError
├── ConfigurationError     a setting is missing or wrong; the message names it
├── SignInUnavailable      the service that people sign in with can't be used now; the message says why, for a log
├── SignInRefused          what came back from it proves nobody; the message says which proof failed, for a log
└── ApiError               an answer in OpenAI's error shape (app/api/errors.py builds the response)
"""


class AppError(Exception):
    """Anything the app refuses or cannot do."""


class ConfigurationError(AppError):
    """A setting is missing or wrong; the message names it."""


class SignInUnavailable(AppError):
    """The service that people sign in with can't be used now; the message says why, for a log."""


class SignInRefused(AppError):
    """What came back from the service that people sign in with proves nobody; the message is for a log."""
