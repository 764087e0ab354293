"""Errors of the demo. Each message is a plain sentence for the person at the terminal.

AppError
└── DemoFailed   the platform did not do what the demo asked of it
"""

from app.errors import AppError


class DemoFailed(AppError):
    """The platform did not do what the demo asked of it."""
