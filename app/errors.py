"""Errors of the app package, and the one place where any package's error becomes an HTTP answer.

AppError
├── ConfigurationError     a setting is missing or wrong; the message names it
└── ApiError               an answer in OpenAI's error shape (app/api/errors.py builds the response)
"""


class AppError(Exception):
    """Anything the app refuses or cannot do."""


class ConfigurationError(AppError):
    """A setting is missing or wrong; the message names it."""
