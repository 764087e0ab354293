"""Errors of the embedded platform. Each message is a plain sentence for the person at the terminal.

AppError
├── CannotStart       something on this machine or in the data folder has to be mended first; nothing was started
└── PlatformFailed    a part of the platform ended and could not be brought back
"""

from app.errors import AppError


class CannotStart(AppError):
    """Something on this machine or in the data folder has to be mended first; nothing was started."""


class PlatformFailed(AppError):
    """A part of the platform ended and could not be brought back."""
