"""Errors of reading pieces. Each message is a plain sentence for the person at the terminal.

AppError
└── UnusableWriting   what SAMPLES or AUTHOR name can't be used
"""

from app.errors import AppError


class UnusableWriting(AppError):
    """What SAMPLES or AUTHOR name can't be used."""
