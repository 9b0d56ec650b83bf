"""Rows asked of a provider: a loopback server with a model of ours, whose answers are mostly bad; what counts is what becomes of them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from causal_tiny import write_tiny_base
from model_server import ModelServer, model_server

from pp_assets.data.generation.asked import KINDS, ask, empty_cells, plan
from pp_assets.data.generation.grid import Grid
from pp_assets.data.generation.methods import Source
from pp_assets.data.generation.run import Options, generate
from pp_assets.data.leakage import HeldOut
from pp_assets.task.examples import Example
from pp_assets.task.spec import Generation
from pp_resources.errors import UserError
from pp_resources.models.remote import Provider

SCHEMA = {
    "type": "object",
    "properties": {"topic": {"enum": ["bill", "parcel"]}, "order": {"type": ["string", "null"], "x-verbatim": True, "maxLength": 8}},
    "required": ["topic", "order"],
    "additionalProperties": False,
}
ROWS = [
    Example(f"{i}", f"Where is parcel A-{i}? It is late.", {"topic": "parcel", "order": f"A-{i}"}, None, f"g{i}", {"difficulty": "easy"})
    for i in range(4)
] + [Example("9", "my bill is wrong", {"topic": "bill", "order": None}, None, "g9", {"difficulty": "hard"})]
NOBODY = HeldOut([], frozenset(), frozenset())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with model_server(write_tiny_base(tmp_path_factory.mktemp("base"))) as made:
        yield made


@pytest.fixture
def provider(server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
    made = Provider(server.url, "ours", cache=tmp_path / "answers.sqlite")
    whole = made.ask
    # The tiny model never ends by itself.
    monkeypatch.setattr(made, "ask", lambda messages, **options: whole(messages, **{**options, "max_tokens": 30}))
    return made


def test_every_request_is_a_row_or_a_reason_and_equal_requests_are_not_paid_for_twice(provider: Provider, server: ModelServer) -> None:
    spec = Generation(ask=list(KINDS), ask_rows=10, num_shots=2)
    before = len(server.seen)
    found = ask(provider, SCHEMA, ROWS, spec, 1, "route messages")
    assert len(found.rows) + found.dropped.total() == 10 == found.facts["requests"]
    assert set(found.dropped) <= {"the answer was cut off", "the answer is no JSON", "the answer lacks a text"}
    paid = len(server.seen) - before
    again = ask(provider, SCHEMA, ROWS, spec, 1, "route messages")
    assert len(server.seen) - before == paid and again.rows == found.rows and again.facts["cached"] == paid
    asked = server.seen[before]
    assert "route messages" in asked["messages"][0]["content"] and asked["response_format"]["json_schema"]["schema"]["properties"]
    assert asked["temperature"] == 0.7


def test_a_sound_answer_becomes_a_row_with_its_pedigree_and_passes_the_filters(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's model cannot write; its words are put in here, behind the same door."""
    whole = provider.ask
    said = {"input_text": "Has order A-1 left yet? Thanks", "output_json": {"topic": "parcel", "order": "A-1"}}
    monkeypatch.setattr(provider, "ask", lambda m, **o: whole(m, **o)._replace(text=json.dumps(said), finish_reason="stop"))
    found = ask(provider, SCHEMA, ROWS, Generation(ask=["self_instruct"], ask_rows=1, themes=["summer"], themes_coverage=1.0), 1)
    (made,) = found.rows
    assert made.method == "self_instruct" and made.parents[0] in {r.item_id for r in ROWS} and made.params["theme"] == "summer"
    assert made.params["generator"] == "ours" and made.params["prompts"] and made.params["against"] in ("topic", "order", "nothing")
    whole_run = generate(SCHEMA, ROWS, NOBODY, Options(methods=()), asked=found.rows, asked_dropped={"the answer is no JSON": 2})
    assert [g.example.input_text for g in whole_run.rows] == ["Has order A-1 left yet? Thanks"]
    assert whole_run.yields[0]["left"] == 3 and whole_run.yields[1]["dropped"] == {"the answer is no JSON": 2}
    said["output_json"]["order"] = "A-7"
    invented = ask(provider, SCHEMA, ROWS, Generation(ask=["evolution"], ask_rows=1), 1).rows
    dropped = {s["stage"]: s["dropped"] for s in generate(SCHEMA, ROWS, NOBODY, Options(methods=()), asked=invented).yields}
    assert dropped["consistent"] == {"a copied value is not in the text": 1}


def test_a_spent_budget_ends_the_run_with_what_there_is_and_another_error_is_one(server: ModelServer, tmp_path: Path) -> None:
    poor = Provider(server.url, "ours", budget=1, cache=tmp_path / "a.sqlite")
    found = ask(poor, SCHEMA, ROWS, Generation(ask=["paraphrase"], ask_rows=50), 1)
    assert found.facts["requests"] == 1 and "budget" in found.facts["ended early"]
    with pytest.raises(UserError, match="says no"):
        ask(Provider(server.url, "unknown"), SCHEMA, ROWS, Generation(ask_rows=1), 1)


def test_requests_aim_at_empty_cells_first_and_name_as_many_themes_as_wanted() -> None:
    source = Source(SCHEMA, ROWS)
    grid = Grid(source)
    spec = Generation(ask_rows=12, themes=["a", "b"], themes_coverage=0.5, context_types=["none", "article"])
    requests = list(plan(source, grid, spec, 3))
    assert requests == list(plan(source, grid, spec, 3)) and len(requests) == 12
    themes = [r.theme for r in requests if r.theme]
    assert len(themes) == 6 and set(themes) == {"a", "b"}
    assert {r.context for r in requests} == {"none", "article"} and len({r.seed for r in requests}) == 12
    empty = {cell._replace(against="nothing") for cell in empty_cells(grid)}
    assert empty and not empty & set(grid.counts)
    first = [r.cell._replace(against="nothing") for r in requests[: len(empty)]]
    assert set(first) <= empty, "emptiest first"
    assert all(grid.label(r.parent.output) == r.cell.label for r in requests)
