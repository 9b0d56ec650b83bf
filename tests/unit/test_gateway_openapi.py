"""The OpenAPI document is one: whatever it allows or does not is answered with a status and in a form that it tells of."""

import json
import urllib.request

import pytest
import schemathesis
from dashboard_place import artifacts, rows
from gateway_place import ask, described, events, place, running
from hypothesis import HealthCheck, Phase, given, settings
from queue_place import SAID, put, store_of
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from pp_assets.flywheel.stage import Written
from pp_assets.flywheel.state import State
from pp_assets.routing.decision import static
from pp_assets.routing.next_step import Facts, Known, Standards, next_step
from pp_assets.routing.policy import Routing
from pp_gateway.serve.openapi import document
from pp_resources.store.ids import MICRO, now
from pp_resources.store.work import Decision

# A line of events stays open for as long as it is listened to.
STREAMS = ("/api/live", "/api/queue/events")
OPERATIONS = sorted((path, method) for path, methods in document()["paths"].items() for method in methods if path not in STREAMS)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
STEADY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A gateway of which everything can be told: a queue, figures, decisions, topics and drift."""
    where = place(tmp_path_factory.mktemp("gateway"), gateway={"reload_seconds": 0.0, "jobs": {"running": 0}})
    rows(where)
    artifacts(where)
    store, at = store_of(where), now() / MICRO
    put(store, 1000, json.dumps(SAID))
    policy = Routing(metric="right", champion="a", weights={"a": 0.5, "b": 0.5})
    step = next_step(Facts(quality=Known(value=0.7, low=0.6, high=0.8, n=100)), Standards(good=0.9, poor=0.5))
    turn = Written(state=State(), reason="nothing is due", numbers={})
    for kind, told in (("weights", static(policy, None, "nothing is known", at)), ("next_step", step), ("flywheel", turn)):
        store.write(Decision(task="toy", kind=kind, data=told.model_dump(mode="json")))
    with running(where) as made:
        yield made


@pytest.fixture(scope="module")
def api(server):
    schema = schemathesis.openapi.from_dict(ask(server.url, "/openapi.json").json)
    schema.config.update(base_url=server.url)
    return schema


def test_the_document_holds_every_route(server):
    from pp_gateway import pages
    from pp_gateway.serve.app import ROUTES
    from pp_gateway.site import FREE, site

    told = {(path.replace("{model}", ""), method.upper()) for path, methods in document()["paths"].items() for method in methods}
    beside = {(route.path, method) for route in site(server.place.settings).routes for method in route.methods - {"HEAD"}}
    shown = {(path, "GET") for path in FREE} | {(route.path, "GET") for route in pages.ROUTES}
    assert told == {(route.path, route.method) for route in ROUTES} | beside - shown


def test_the_figures_that_are_described_are_there(server):
    told, described = ask(server.url, "/api/overview?task=toy&range=30d").json, document()["components"]["schemas"]["Overview"]
    assert told.keys() == described["properties"].keys()
    some = [told[name] for name in ("complaints", "drift", "events", "next_step", "flywheel", "variants", "metrics")]
    assert all(some) and told["weights"]["latest"]["variants"] and told["queue"]["items"] and told["complaints"]["topics"]


@pytest.mark.parametrize("examples", [12, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_sent_is_answered_as_the_document_says(server, api, path, method, mode, examples):
    operation, told = api[path][method.upper()], document()["paths"][path][method]
    asked = "requestBody" in told or any(one["in"] == "query" for one in told.get("parameters", ()))
    if mode is GenerationMode.NEGATIVE and not asked:
        pytest.skip("takes nothing that could be wrong")

    @settings(STEADY, max_examples=4 if path == "/reload" else examples)  # to load a model takes longer than all else
    @given(case=operation.as_strategy(generation_mode=mode))
    def sent(case):
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "toy"  # a task that is there, so that more than its name is looked at
        if isinstance(case.body, dict) and "function_name" in case.body:
            case.body["function_name"] = "toy"
        for part in (case.body, case.query):
            if isinstance(part, dict) and isinstance(part.get("task"), str):
                part["task"] = "toy"
        if path.startswith("/api/queue/items/") and mode is GenerationMode.POSITIVE:
            case.path_parameters["id"] = "i1000"
        response = case.call()
        case.validate_response(response, checks=CHECKS)

    sent()
    assert ask(server.url, "/live").status == 200


@pytest.mark.parametrize(("path", "name"), [("/api/live?task=toy", "DashboardEvent"), ("/api/queue/events", "QueueWaiting")])
def test_events_are_as_the_document_says(server, path, name):
    request = urllib.request.Request(server.url + path)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as line:
        assert line.headers["Content-Type"].startswith("text/event-stream")
        (first,) = events(line.readline())
    assert first
    described(name, first)
