"""The loop of weights through a running gateway: answers, feedback over HTTP, a decision, and the gateway follows it."""

import json

import pytest
from gateway_place import Running, ask, place, running
from test_gateway_changes import STILL, until
from upstream_stub import stub

from pp_assets.pipeline import Pipeline
from pp_assets.routing.stage import MARGIN, move
from pp_assets.serving.versions import installed
from pp_resources.store.ids import MICRO, now
from pp_resources.store.read_work import decisions_on

TIMEOUT = HORIZON = 20.0


def decide(made: Running):
    """The decision as it is made when all that was asked by now is known, and its feedback has had its time."""
    p = Pipeline(made.place.settings)
    return move(p.inbox.store, p.task("toy"), p.store, at=now() / MICRO + HORIZON + TIMEOUT + MARGIN)


def serve(made: Running, n: int, judged) -> list[str]:
    """So many answers with feedback on each: the variants that gave them."""
    variants = []
    for _ in range(n):
        answer = made.infer().json
        variants.append(answer["variant_name"])
        body = {
            "metric_name": "right",
            "value": judged(answer),
            "inference_id": answer["inference_id"],
            "idempotency_key": answer["inference_id"],
        }
        for _ in range(2):
            assert ask(made.url, "/feedback", body).status == 200
    return variants


def test_a_planted_bad_variant_is_rolled_back_and_answers_no_more(tmp_path):
    with stub("no JSON at all") as upstream:
        serving = {
            "variants": {
                "good": {"kind": "package", "recipe": "encoder-lora"},
                "bad": {"kind": "remote", "url": upstream.url, "model": "m"},
            },
            "routing": {
                "metric": "right",
                "champion": "good",
                "weights": {"good": 1.0, "bad": 1.0},
                "horizon": HORIZON,
                "cohort": 10,
                "guards": [{"metric": "invalid", "tolerance": 0.05, "horizon": HORIZON}],
            },
            "timeout": TIMEOUT,
        }
        with running(place(tmp_path, serving, STILL)) as made:
            first, rolled = serve(made, 20, lambda answer: answer["valid"]), None
            assert set(first) == {"good", "bad"}
            found = decide(made)
            assert found.seq and found.data["basis"] == "evidence"
            n = {name: found.data["variants"][name]["objective"]["n"] for name in ("good", "bad")}
            assert n == {name: first.count(name) for name in n}, "feedback that came twice counts once"
            for _ in range(8):
                rolled = found.data["state"]["rolled_back"]
                if rolled:
                    break
                serve(made, 20, lambda answer: answer["valid"])
                found = decide(made)
            assert (
                rolled
                and "bad was rolled back: invalid 1 on" in rolled["bad"]["reason"]
                and found.data["weights"] == {"good": 1.0, "bad": 0.0}
            )
            last = decisions_on(Pipeline(made.place.settings).inbox.store, "toy", kind="weights", limit=1)[0]
            assert until(lambda: made.gateway.now.functions["toy"].shares.told.get("id") == last["id"])
            assert set(serve(made, 12, lambda answer: answer["valid"])) == {"good"}
            told = json.loads(made.place.rows()[-1]["decision"])
            task = Pipeline(made.place.settings).task("toy")
            assert told["id"] == last["id"] and told["version"] == installed(task, made.gateway.builder.artifacts)["good"]


def test_every_row_tells_the_model_behind_the_name_and_a_new_one_is_another(tmp_path):
    encoder = {"kind": "package", "recipe": "encoder-lora"}
    where = place(tmp_path, {"variants": {"one": encoder | {"cost": 0.001}, "two": encoder}}, STILL)
    with running(where) as made:

        def versions():
            found = {}
            for name in ("one", "two"):
                made.infer(variant_name=name)
                found[name] = json.loads(where.rows()[-1]["decision"])["version"]
            return found

        before = versions()
        p = Pipeline(where.settings)
        current = p.store.current("packages", "toy/encoder-lora")
        assert before == installed(p.task("toy"), p.store) and before["one"] == before["two"]
        assert [row["cost"] for row in where.rows()] == [0.001, None], "no price is not a price of nothing"

        def build(out):
            import shutil

            shutil.copytree(current.path, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
            return current.metadata

        p.store.produce("packages", "toy/encoder-lora", {**current.inputs, "evaluation": "anew"}, build)
        assert ask(made.url, "/reload", {}).status == 200 and versions() == before, "evaluated anew, it is the same model"
        p.store.produce("packages", "toy/encoder-lora", {**current.inputs, "adapter": "another"}, build)
        assert ask(made.url, "/reload", {}).status == 200
        after = versions()
        assert after == installed(p.task("toy"), p.store) and not set(after.values()) & set(before.values())


@pytest.mark.parametrize("store", ["away", "broken"])
def test_without_a_store_the_gateway_keeps_static_weights(tmp_path, store):
    encoder = {"kind": "package", "recipe": "encoder-lora"}
    routing = {"metric": "right", "champion": "one", "weights": {"one": 3.0, "two": 1.0}}
    where = place(tmp_path, {"variants": {"one": encoder, "two": encoder}, "routing": routing}, STILL)
    if store == "broken":
        (where.settings.home / "store").mkdir(parents=True)
        (where.settings.home / "store" / "store.db").write_bytes(b"no database")
    with running(where) as made:
        assert made.infer().status == 200
        shares = made.gateway.now.functions["toy"].shares
        assert shares.weights == {"one": 3.0, "two": 1.0} and shares.told["basis"] == "static"
