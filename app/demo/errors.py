"""Errors of the demo. Each message is a plain sentence for the person at the terminal.

AppError
├── UnusableWriting   what SAMPLES or AUTHOR name can't be used; found before anything is started
└── DemoFailed        the platform did not do what the demo asked of it
"""

from app.errors import AppError


class UnusableWriting(AppError):
    """What SAMPLES or AUTHOR name can't be used; found before anything is started."""


class DemoFailed(AppError):
    """The platform did not do what the demo asked of it."""
