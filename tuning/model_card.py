"""What a base model's card says of it: the languages it reads. Knows no weights, and fetches nothing."""

from pathlib import Path

import structlog
from huggingface_hub import ModelCard, try_to_load_from_cache

log = structlog.get_logger()
CODE_CHARS = 2  # ISO 639-1; a card may also say "multilingual" or "code"


def languages_of(base_model: str) -> tuple[str, ...]:
    """The codes that the card of this model names: a local folder's, or that of an id of the Hub where it has been
    fetched. None where there is no card that can be read: nothing depends on it but a remark beside a sample."""
    path = Path(base_model) / "README.md" if Path(base_model).is_dir() else _fetched(base_model)
    if path is None or not path.is_file():
        return ()
    try:
        named = ModelCard.load(path, ignore_metadata_errors=True).data.language or ()
    except Exception as why:  # cards are written by hand, and their YAML is parsed far from here
        log.info("the base model's card can't be read", reason=type(why).__name__)
        return ()
    return tuple(code for code in ([named] if isinstance(named, str) else named) if len(code) == CODE_CHARS)


def _fetched(base_model: str) -> Path | None:
    found = try_to_load_from_cache(base_model, "README.md")
    return Path(found) if isinstance(found, str) else None
