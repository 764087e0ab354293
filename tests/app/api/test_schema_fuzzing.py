"""The API held against its own OpenAPI document: made-up requests on every route, good ones and broken ones, and every
answer looked at by all of schemathesis's checks. The requests are the same at each run."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.parameters import ParameterLocation
from schemathesis.schemas import APIOperation

from app.api.factory import create_app
from app.config import AppConfig
from app.generation.engine import Engine
from storage.store import Storage
from tests.app.api.people import Api, Person, join
from tests.app.api.server_thread import served
from tests.app.api.test_files import DATA
from tests.app.api.test_isolation import belongings
from tests.tiny_model import make_tiny

EXAMPLES = 10  # of good requests and of broken ones, each, on every route
# Refusals of a request that is as the document says, for what no schema can say of it.
BEYOND_SCHEMAS = {
    "conflicting_parameters",
    "context_length_exceeded",
    "idempotency_key_reused",
    "invalid_sample",
    "invalid_training_file",
    "unknown_token",
}
GOOD, BROKEN = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.fixture(scope="module")
def talking(api_storage: Storage) -> Iterator[Api]:
    """An API that offers everything, to somebody who asks more than anybody may."""
    base = make_tiny(chat=True)
    engine = Engine(base, max_num_seqs=16, max_waiting=32)
    engine.start()
    app = create_app(AppConfig(logprobs="on", rate_limit_per_minute=1_000_000), api_storage, base, engine)
    with served(app) as url:
        yield Api(url, app, api_storage, base, engine)
    engine.close()


def test_every_route_keeps_to_the_document(talking: Api) -> None:
    schema = schemathesis.openapi.from_url(f"{talking.url}/v1/openapi.json")
    schema.config.generation.update(with_security_parameters=False)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 41
    broken = [said for operation in operations for said in faults(talking, operation)]
    assert not broken, "\n\n".join(broken)


def faults(api: Api, operation: APIOperation) -> Iterator[str]:
    """What is wrong with an operation, if anything."""
    person = join(api.storage)
    ids = belongings(api, person)
    for mode in (GOOD, BROKEN):
        try:
            send_many(api, operation, mode, person, ids)
        except Unsatisfiable:  # takes nothing that could be broken
            assert mode == BROKEN
        except Exception as fault:
            told = [str(one) for one in getattr(fault, "exceptions", [fault])]
            yield "\n".join([f"{operation.label} ({mode.value}):", *told])


def send_many(api: Api, operation: APIOperation, mode: GenerationMode, person: Person, ids: dict[str, str]) -> None:
    """About half of them go to things that are there."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=strategies.booleans())
    def send(case: Case, real: bool) -> None:
        if real:
            make_real(api, case, ids)
        answer = case.call(headers=person.headers)
        code = (answer.json().get("error") or {}).get("code") if answer.status_code in (400, 422) else None
        left_out = [check for check in CHECKS.get_all() if check.__name__ == "positive_data_acceptance"]
        case.validate_response(
            answer, headers=person.headers, excluded_checks=left_out if code in BEYOND_SCHEMAS else []
        )

    send()


def make_real(api: Api, case: Case, ids: dict[str, str]) -> None:
    """Name things of the person's in it, wherever it is not meant to be broken."""
    parts = case.meta.components if case.meta else {}
    path, body = (parts.get(place) for place in (ParameterLocation.PATH, ParameterLocation.BODY))
    if path is not None and path.mode == GOOD:
        case.path_parameters.update({name: ids[name] for name in case.path_parameters if name in ids})
    if body is not None and body.mode == GOOD and isinstance(case.body, dict):
        real = {"model": api.base.name, "file": DATA, "training_file": ids["file_id"]}
        case.body.update({name: real[name] for name in case.body if name in real})
