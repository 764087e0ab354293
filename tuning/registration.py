"""Writing down which base model this process loaded and the probe accepted, for pages and console. Owns no model."""

from storage import base_models
from storage.store import Storage
from tuning.base_model import BaseModel


def register(storage: Storage, base: BaseModel) -> None:
    """Note that `base` is in use from here on. Any number of processes may do so."""
    with storage.database.session() as session:
        base_models.register(
            session,
            fingerprint=base.fingerprint,
            name=base.name,
            num_parameters=base.num_parameters,
            context_length=base.context_length,
            probe=base.probe_report.figures() | {"languages": list(base.languages)},
            has_chat_template=base.has_chat_template,
        )
