"""Errors of the pretraining package.

PretrainingError
├── CorpusUnusable       the text can't be used: no file, an unknown source, too little of it; the message says which
├── CheckpointUnusable   training can't go on from this state: of another shape, or damaged
└── ModelUnusable        a folder holds no model or no tokenizer that can be used, or one too large for the repository
"""


class PretrainingError(Exception):
    """Anything the making of a base model refuses or cannot do."""


class CorpusUnusable(PretrainingError):
    """The text can't be used; the message says which and why."""


class CheckpointUnusable(PretrainingError):
    """Training can't go on from this state: it is of another shape, or damaged."""


class ModelUnusable(PretrainingError):
    """A folder holds no usable model or tokenizer, or one too large for the repository."""
