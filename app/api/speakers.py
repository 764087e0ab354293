"""From the name in `model` to who speaks: the base model, or one of the caller's voices with its published prefix: the
version in use, or the one that a name like `voice-…@2` asks for.

The database says at every request which version speaks, and only then is its prefix looked for: in this process, in
Redis, in the database. A voice is never answered for by the base model: without a version, with one for another base
model, or with bytes that can't be proved to be its owner's, there is an error instead.
"""

from dataclasses import dataclass

from app.api.errors import WHICH_MODELS, missing
from app.api.prefix_memory import FoundPrefix, Origin
from app.api.services import services
from app.api.speaking_schemas import VoiceUsed
from storage.errors import NotFound
from storage.prefixes import PrefixAddress, locate, read
from tuning.errors import WrongBaseModel
from tuning.prefix import Prefix


@dataclass(frozen=True)
class Speaker:
    """Who answers. `prefix`, `used` and `origin`, where the prefix was found, are None for the base model."""

    model: str
    prefix: Prefix | None = None
    used: VoiceUsed | None = None
    origin: Origin | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says of whose voice it is."""
        if self.used is None:
            return {}
        return {
            "x-idiolect-voice": self.used.voice,
            "x-idiolect-version": str(self.used.version),
            "x-idiolect-strength": f"{self.used.strength:g}",
        }

    @property
    def voice_id(self) -> str | None:
        """The voice's id, or None."""
        return self.used.voice if self.used else None

    @property
    def version(self) -> int | None:
        """The voice's version in use, or None."""
        return self.used.version if self.used else None

    @property
    def strength(self) -> float | None:
        """How far the voice is followed, or None."""
        return self.used.strength if self.used else None


def speaker_of(user_id: str, model: str, strength: float = 1.0) -> Speaker:
    """A voice is looked up and opened whatever its strength; with the base model that makes no difference.

    Raises ApiError (404: no such name), NoPublishedVersion, WrongBaseModel, IntegrityError, KeyErased.
    """
    base = services().base
    if model == base.name:
        return Speaker(model)
    try:
        address = locate(services().storage, user_id, *voice_and_version(model))
        if address.base_fingerprint != base.fingerprint:
            raise WrongBaseModel("This voice was trained for another base model.")
        found = services().prefixes.get(address, lambda: _opened(address))
    except NotFound as unknown:
        raise missing("model", param="model", hint=WHICH_MODELS) from unknown
    used = VoiceUsed(voice=address.voice_id, version=address.version, strength=strength)
    return Speaker(model, found.prefix, used, found.origin)


def _opened(address: PrefixAddress) -> FoundPrefix:
    base, loaded = services().base, read(services().storage, address)
    prefix = Prefix.from_bytes(loaded.data, base.fingerprint, layer_shapes=base.layer_shapes)
    return FoundPrefix(prefix, loaded.source)


def voice_and_version(model: str) -> tuple[str, int | None]:
    """The voice that is named, and the version where one is: None for the one in use. Raises NotFound."""
    voice_id, named, version = model.partition("@")
    if named and not (version.isascii() and version.isdigit()):
        raise NotFound("no such version")
    return voice_id, int(version) if named else None
