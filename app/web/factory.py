"""The web role: people's pages, the console and the gateway to the API role. Never loads torch.

`create_app()` is what gunicorn runs; it reads the configuration from the environment unless given one.
"""

import sys

from flask import Flask, jsonify
from werkzeug.middleware.proxy_fix import ProxyFix

from app.admin.blueprint import admin
from app.config import AppConfig
from app.errors import AppError
from app.memory_request import MemoryRequest
from app.web import (
    access,
    accounts,
    assets,
    belongings,
    errors,
    formats,
    forms,
    gateway,
    guests,
    headers,
    identity,
    intake,
    limits,
    notices,
    passwords,
    readings,
    receipts,
    samples,
    session,
    settings,
    throttle,
    tuning,
    voices,
    words,
    write,
)
from storage import crypto, schema
from storage.config import StorageConfig
from storage.errors import StorageError
from storage.store import Storage
from tuning.config import PostConfig, TuningConfig
from tuning.errors import TuningError

PAGES = (
    accounts.accounts,
    guests.guests,
    passwords.passwords,
    identity.identity,
    settings.settings,
    access.access,
    notices.notices,
    belongings.belongings,
    receipts.receipts,
    limits.limits,
    readings.readings,
    voices.voices,
    intake.intake,
    samples.samples,
    tuning.tuning,
    write.write,
)
MAX_FORM_PARTS = 1000
CANNOT_START = 2


def create_app(
    config: AppConfig | None = None, storage: Storage | None = None, post: PostConfig | None = None
) -> Flask:
    """The WSGI app. With a wrong setting or key it says so in one line and exits with status 2."""
    try:
        TuningConfig.from_env()
        return build(config or AppConfig.from_env(), post or PostConfig.from_env(), storage or open_storage())
    except (AppError, StorageError, TuningError) as wrong:
        print(f"idiolect web: {wrong}", file=sys.stderr)
        raise SystemExit(CANNOT_START) from None


def open_storage() -> Storage:
    """The Storage of the environment. Raises ConfigurationError when it is not migrated, WrongMasterKey."""
    config = StorageConfig.from_env()
    schema.require_current(config)
    return Storage.open(config)


def build(config: AppConfig, post: PostConfig, storage: Storage) -> Flask:
    """Put the rooms together."""
    app = Flask(__name__)
    app.request_class = MemoryRequest
    if config.trusted_proxies:
        hops = config.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    https = config.public_url.startswith("https://")
    app.config.update(
        SECRET_KEY=crypto.derive(storage.config.master_key, "web session"),
        SESSION_COOKIE_NAME="idiolect_form",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=https,
        WTF_CSRF_TIME_LIMIT=None,  # a form stays good as long as its session: people write slowly
        MAX_CONTENT_LENGTH=config.max_body_bytes,
        MAX_FORM_MEMORY_SIZE=config.max_body_bytes,
        MAX_FORM_PARTS=MAX_FORM_PARTS,
    )
    app.extensions["storage"] = storage
    app.extensions["app_config"] = config
    app.extensions["post_config"] = post
    words.install(app, config.translations)
    csrf = forms.FormGuard(app, config.public_url)
    csrf.exempt(gateway.relay)  # carries a bearer key and no cookie
    intake.install(app, csrf)
    belongings.install(app, csrf)
    identity.install(app, config)
    for room in (assets, errors, formats, readings, tuning):
        room.install(app)
    headers.install(app, https=https)
    gateway.install(app, config)
    app.context_processor(lambda: {"me": session.find_me()})
    for blueprint in (*PAGES, gateway.gateway, admin):
        app.register_blueprint(blueprint)
    throttle.install(app)
    app.add_url_rule("/healthz", "healthz", lambda: jsonify(status="ok"))
    return app
