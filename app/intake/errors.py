"""Errors of the intake package.

IntakeError
└── Unreadable     a file, or one thing in it, that no text can be taken out of; the message says what to do instead
"""


class IntakeError(Exception):
    """Anything that taking writing in refuses or cannot do."""


class Unreadable(IntakeError):
    """No text can be taken out of this; the message says what to do instead."""
