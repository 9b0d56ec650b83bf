"""The OpenAPI document is one, and nothing that it allows, nor what it does not, makes the gateway fail."""

import pytest
import schemathesis
from gateway_place import ask, place, running
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode

from pp_gateway.serve.openapi import document

# A line of events stays open for as long as it is listened to.
OPERATIONS = sorted((path, method) for path, methods in document()["paths"].items() for method in methods if not path.endswith("/events"))
QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(place(tmp_path_factory.mktemp("gateway"), gateway={"reload_seconds": 0.0})) as made:
        yield made


@pytest.fixture(scope="module")
def api(server):
    schema = schemathesis.openapi.from_dict(ask(server.url, "/openapi.json").json)
    schema.config.update(base_url=server.url)
    return schema


def test_the_document_holds_every_route(server):
    from pp_gateway import queue
    from pp_gateway.serve.app import ROUTES

    beside = {path for path in document()["paths"] if path.startswith("/api/queue")}
    assert beside == {route.path for route in queue.ROUTES} - {"/queue"}

    told = {(path.replace("{model}", ""), method.upper()) for path, method in OPERATIONS if not path.startswith("/api/")}
    assert told == {(route.path, route.method) for route in ROUTES}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_nothing_that_is_sent_makes_it_fail(server, api, path, method, mode):
    operation = api[path][method.upper()]
    if mode is GenerationMode.NEGATIVE and method == "get":
        pytest.skip("takes nothing that could be wrong")

    @QUICK
    @given(case=operation.as_strategy(generation_mode=mode))
    def sent(case):
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "toy"  # a task that is there, so that more than its name is looked at
        if isinstance(case.body, dict) and "function_name" in case.body:
            case.body["function_name"] = "toy"
        response = case.call()
        case.validate_response(response, checks=[not_a_server_error])
        assert response.headers["content-type"]

    sent()
    assert ask(server.url, "/live").status == 200
