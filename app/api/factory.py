"""The API role: bearer-keyed JSON under /v1, one shared model and one engine in this process.

`create_app()` is what gunicorn runs (with app.api.server as its configuration); it reads the environment unless given
its parts, refuses to start in one line, and knows nothing of pages.
"""

import atexit
import sys

from apiflask import APIFlask

from app.api import chat, completions, files, fine_tuning, models, public, samples, tuning_runs, usage, voices
from app.api.errors import register_error_handlers
from app.api.forgetting import start_forgetting
from app.api.gate import register_gate
from app.api.json_numbers import JsonNumbers
from app.api.limits import register_limits
from app.api.openapi import TITLE, configure_openapi
from app.api.request_log import register_request_log
from app.api.services import EXTENSION, Services
from app.api.token_limits import register_token_limits
from app.api.usage_meter import register_usage
from app.config import AppConfig
from app.errors import AppError, ConfigurationError
from app.generation.engine import Engine
from app.generation.errors import CacheTooSmall, ModelUnfit
from app.memory_request import MemoryRequest
from storage.config import StorageConfig
from storage.errors import StorageError
from storage.schema import require_current
from storage.store import Storage
from tuning.base_model import BaseModel
from tuning.config import TuningConfig
from tuning.errors import TuningError
from tuning.loading import load_to_answer
from tuning.registration import register

VERSION = "1"
MIB = 1024 * 1024
CANNOT_START = 4  # gunicorn stops at this exit status of a worker instead of starting it again and again


def create_app(
    config: AppConfig | None = None,
    storage: Storage | None = None,
    base: BaseModel | None = None,
    engine: Engine | None = None,
) -> APIFlask:
    """The WSGI app, its engine started. What is not given comes from the environment; an engine made here is closed at
    exit, and prefixes out of use are forgotten until then; one that is given belongs to the caller.

    With a wrong setting, a wrong master key, a database that is not migrated or a base model that can't be used, it
    says so in one line on stderr and exits with status 4.
    """
    try:
        config = config or AppConfig.from_env()
        storage = storage or open_storage()
        base = base or load_to_answer(TuningConfig.from_env())
        services = Services(config, storage, base, engine or _started_engine(base, config))
    except (AppError, StorageError, TuningError) as wrong:
        print(f"idiolect api: {' '.join(str(wrong).split())}", file=sys.stderr, flush=True)
        raise SystemExit(CANNOT_START) from None
    register(services.storage, services.base)
    if engine is None:
        start_forgetting(services)
        atexit.register(services.close)
    return build(services)


def open_storage() -> Storage:
    """The Storage of the environment. Raises ConfigurationError when it is not migrated, WrongMasterKey."""
    config = StorageConfig.from_env()
    require_current(config)
    return Storage.open(config)


def _started_engine(base: BaseModel, config: AppConfig) -> Engine:
    try:
        engine = Engine(
            base,
            max_num_seqs=config.max_num_seqs,
            max_waiting=config.max_waiting,
            kv_cache_bytes=config.kv_cache_mb * MIB or None,
        )
    except ModelUnfit as unfit:
        raise ConfigurationError(f"IDIOLECT_BASE_MODEL can't be served: {base.name}: {unfit}") from unfit
    except CacheTooSmall as small:
        raise ConfigurationError(f"IDIOLECT_KV_CACHE_MB must be at least {-(-small.needed // MIB)}: {small}") from small
    engine.start()
    return engine


def build(services: Services) -> APIFlask:
    """Put the rooms together. Order matters: the log sees everything, the gate stands before the limits."""
    app = APIFlask(
        __name__,
        title=TITLE,
        version=VERSION,
        enable_openapi=False,  # app.api.public serves the document itself
        json_errors=False,
        static_folder=None,  # type: ignore[arg-type]  # Flask takes None: no route for static files
    )
    app.request_class = MemoryRequest
    app.url_map.merge_slashes = False  # a doubled slash is a 404 in our shape, not a redirect in HTML
    app.config["MAX_CONTENT_LENGTH"] = services.config.max_body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.json = JsonNumbers(app)
    app.extensions[EXTENSION] = services
    configure_openapi(app)
    register_error_handlers(app)
    register_request_log(app)
    register_usage(app, services.meter)
    register_gate(app)
    register_limits(app, services.config)
    register_token_limits(app)
    for blueprint in (
        completions.blueprint,
        chat.blueprint,
        models.blueprint,
        voices.blueprint,
        samples.blueprint,
        files.blueprint,
        fine_tuning.blueprint,
        tuning_runs.of_voice,
        tuning_runs.blueprint,
        usage.blueprint,
        public.blueprint,
    ):
        app.register_blueprint(blueprint)
    return app
