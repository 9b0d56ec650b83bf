"""`pp cascade` and `pp queue fit`: thresholds of served variants, proven on validation rows that each variant is asked once."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import command_line
from gateway_place import Place, place
from upstream_stub import Stub, stub

from pp_assets.task.examples import Example, read_split
from pp_resources.artifacts import ArtifactStore


@pytest.fixture
def up():
    with stub() as made:
        yield made


@pytest.fixture
def where(tmp_path: Path, up: Stub) -> Place:
    serving = {
        "variants": {
            "small": {"kind": "package", "recipe": "encoder-lora", "cost": 0.00001},
            "big": {"kind": "remote", "url": up.url, "model": "m", "price_in": 1.0, "price_out": 2.0, "retries": {"most": 0}},
            "free": {"kind": "remote", "url": up.url, "model": "free"},
            "away": {"kind": "remote", "url": up.url, "model": "m", "key_env": "NOT_SET"},
            "surely": {"kind": "cascade", "steps": ["small", "big"], "threshold": 1.0},
        }
    }
    made = place(tmp_path / "made", serving)
    made.root.joinpath("home").rename(made.root / "pp")
    return made


@pytest.fixture
def rows(where: Place) -> list[Example]:
    return read_split(ArtifactStore(where.root / "pp").require("datasets", "toy", "").path, "val")


@pytest.fixture
def pp(where: Place, capfd: pytest.CaptureFixture[str]):
    return command_line(where.root, capfd)


def knowing(up: Stub, rows: list[Example]) -> None:
    """The remote model is always right."""

    def says(asked: dict[str, Any]) -> str:
        text = asked["messages"][-1]["content"]
        return next(json.dumps(row.output) for row in rows if row.input_text in text)

    up.says = says


def test_the_threshold_of_a_cascade_is_fitted_and_each_variant_is_asked_once(pp, up, rows, where):
    knowing(up, rows)
    told = pp("cascade", "toy", "--tolerance", "0.5", "--json").json
    assert (told["steps"], told["rows"], told["cost_in"]) == (["small", "big"], len(rows), "USD")
    assert told["better"]["value"] == 1.0 and told["quality"]["n"] == len(rows) == len(up.seen)
    assert told["cost_better"]["value"] == pytest.approx(20e-6)
    shown = pp("cascade", "toy", "--tolerance", "0.4", "--to", str(where.root / "told.json"))
    assert len(up.seen) == len(rows), "another tolerance asks nobody"
    assert "serving: {variants: {surely: {kind: cascade, steps: [small, big], threshold:" in shown.out or "no threshold" in shown.out


def test_without_prices_what_counts_is_how_often_the_better_one_is_asked(pp, up, rows):
    knowing(up, rows)
    told = pp("cascade", "toy", "--cheap", "small", "--better", "free", "--tolerance", "0.5", "--json").json
    assert told["cost_in"] == "answers of the better" and told["cost_better"]["value"] == 1.0
    assert told["cost"]["value"] == pytest.approx(1 - told["kept"]["value"])


def test_what_a_provider_refuses_ends_the_fit_and_what_was_answered_is_kept(pp, up, rows):
    knowing(up, rows)
    up.fail = [200, 401]
    refused = pp("cascade", "toy", "--tolerance", "0.5")
    assert refused.code == 2 and "variant big" in refused.err and "Traceback" not in refused.err
    up.fail = []
    assert pp("cascade", "toy", "--tolerance", "0.5").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cheap", "small"), "give --cheap and --better, two different ones, or neither"),
        (("--cheap", "smal", "--better", "big"), "'smal' is no variant"),
        (("--cheap", "small", "--better", "away"), "NOT_SET: is not set"),
        (("--tolerance", "0.01"), "cannot prove a loss of at most 0.01"),
    ],
)
def test_what_cannot_be_done_is_said_with_how_to_mend_it(pp, up, rows, words, said):
    knowing(up, rows)
    refused = pp("cascade", "toy", *words)
    assert refused.code == 2 and said in refused.err


def test_the_confidence_of_the_hand_off_is_fitted_for_any_served_variant(pp, up, rows):
    told = pp("queue", "fit", "toy", "--target", "0.5", "--delta", "0.5", "--json").json
    assert (told["variant"], told["rows"]) == ("small", len(rows)) and not up.seen
    refused = pp("queue", "fit", "toy", "--variant", "big", "--target", "0.5")
    assert refused.code == 2 and "0 independent rows with a confidence" in refused.err
