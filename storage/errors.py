"""Errors of the storage package.

StorageError
├── ConfigurationError     a setting is missing or wrong; the message names it
├── WrongMasterKey         the master key does not open this key store
├── NotFound               no such row, or not this owner's: the two are never told apart
├── Conflict               the request contradicts what is there (the address is taken, the run has ended)
│   └── LostLease          another worker has claimed the run: stop, write nothing
│       ├── RunCancelled   its owner cancelled the run, which has now ended so: stop, write nothing
│       └── RunPaused      its owner paused the run, which has been put aside: stop, write nothing
├── RequestUnderWay        a request of this idempotency key is at work: ask again in a moment
├── KeyReused              an idempotency key came with another request than the first time
├── NoPublishedVersion     the voice has no version in use: never answer with the base model in its stead
├── InvalidAccount         an address or password that can't be taken; the message says how to mend it
├── InvalidSample          a writing sample that can't be kept; the message says how to mend it
├── InvalidUpload          a training file that can't be kept; the message names the first bad line
├── InvalidWebhook         an address that no notice can be sent to; the message says how to mend it
├── InvalidExport          an export that can't be brought in; the message names the file and what is wrong
├── LimitReached           more than one account may have; the message says what to do
├── KeyErased              the owner's data key is gone: nothing of theirs can be read any more
├── IntegrityError         stored bytes do not belong to who asked for them, or were changed
└── CacheUnavailable       Redis did not answer in time; the database is the way on
"""


class StorageError(Exception):
    """Anything storage refuses or cannot do."""


class ConfigurationError(StorageError):
    """A setting is missing or wrong; the message names it."""


class WrongMasterKey(StorageError):
    """The master key does not open this key store."""


class NotFound(StorageError):
    """No such row, or not this owner's: the two are never told apart."""


class Conflict(StorageError):
    """The request contradicts what is there."""


class NameTaken(Conflict):
    """Another voice of the same person has this name."""


class LostLease(Conflict):
    """Another worker has claimed the run: stop, write nothing."""


class RunCancelled(LostLease):
    """Its owner cancelled the run before it could publish. The run has been ended as cancelled: stop, write nothing."""


class RunPaused(LostLease):
    """Its owner paused the run before it could publish. The run has been put aside: stop, write nothing."""


class RequestUnderWay(StorageError):
    """A request of this idempotency key is at work: ask again in a moment."""


class KeyReused(StorageError):
    """An idempotency key came with another request than the first time."""


class NoPublishedVersion(StorageError):
    """The voice has no version in use: it was never trained, or it was switched off."""


class InvalidAccount(StorageError):
    """An address or password that can't be taken; the message says how to mend it."""


class InvalidSample(StorageError):
    """A writing sample that can't be kept; the message says how to mend it."""


class InvalidUpload(StorageError):
    """A training file that can't be kept; the message names the first bad line and how to mend it."""


class InvalidWebhook(StorageError):
    """An address that no notice can be sent to; the message says how to mend it."""


class InvalidExport(StorageError):
    """An export that can't be brought in; the message names the file and what is wrong, and quotes none of it."""


class LimitReached(StorageError):
    """More than one account may have; the message says what to do."""


class KeyErased(StorageError):
    """The owner's data key is gone: nothing of theirs can be read any more."""


class IntegrityError(StorageError):
    """Stored bytes do not belong to who asked for them, or were changed."""


class CacheUnavailable(StorageError):
    """Redis did not answer in time; the database is the way on."""
