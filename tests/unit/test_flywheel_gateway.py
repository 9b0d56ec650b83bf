"""The loop closed over a real gateway with real encoders: a candidate in the shadow, promoted, watched, and one that is taken back."""

import json
import shutil

import pytest
from flywheel_place import RIGHT, WRONG
from gateway_place import ask, described, place, running
from test_gateway_changes import load, until
from test_package import package
from upstream_stub import stub

from pp_assets.evaluation.predictions import PredictionRow, System, make_rows, write_systems
from pp_assets.flywheel.stage import history, turn
from pp_assets.pipeline import EVALUATIONS, PACKAGES, Pipeline
from pp_assets.task.examples import open_test_split
from pp_resources.artifacts import Artifact
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction

FLYWHEEL = {
    "enabled": True,
    "start": ["drift"],
    "shadow": 1.0,
    "copies": 20,
    "guards": {"validity": 0.3, "slower": 1000.0},
    "watch_answers": 20,
    "watch_hours": 0.0,
    "cool_down_hours": 0.0,
}


def planted(p: Pipeline, of: Artifact, variant: str, *, topics_turned: bool, right: int) -> Artifact:
    """An encoder as a package of its own, with its topics as they are or each mistaken for the next, and a report of so many right."""
    from safetensors.numpy import load_file, save_file

    good, bad, key = json.dumps(RIGHT), json.dumps(WRONG), f"toy/{variant}"
    rows = [PredictionRow(f"i{i:03}", f"g{i}", f"text {i}", good, good if i < right else bad) for i in range(200)]

    def report(out) -> dict:
        write_systems(out / "predictions", [System(name=variant, kind="candidate", description="", rows=rows)])
        return {"verdict": "SHIP", "value": right / 200}

    def build(out) -> dict:
        shutil.copytree(of.path, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        if topics_turned:
            heads = load_file(out / "adapter" / "heads.safetensors")
            for name in ("layers.0.weight", "layers.0.bias"):
                heads[name] = heads[name][[1, 2, 0]].copy()
            heads["layers.0.bias"] += right / 1e6  # the same for all: another package that answers alike
            save_file(heads, out / "adapter" / "heads.safetensors")
        return {**of.metadata, "verdict": "SHIP", "made": variant}

    found = p.store.produce(EVALUATIONS, key, {"made": f"{variant} {right}"}, report)
    return p.store.produce(PACKAGES, key, {"evaluation": found.digest}, build)


class Users:
    """They ask, and where they have looked into the matter they say what would have been right: what the hidden package says."""

    def __init__(self, server) -> None:
        self.server, self.asked = server, 0

    def ask(self, count: int, *, corrected: bool = False) -> list[str]:
        """The variants that answered."""
        answers = []
        for _ in range(count):
            self.asked += 1
            answer = self.server.infer(f"please refund me for order A{self.asked}")
            assert answer.status == 200, answer.json
            answers.append(answer.json)
        ids = [answer["inference_id"] for answer in answers]
        assert until(lambda: set(ids) <= set(self.copies())), "each answer has a copy"
        if corrected:
            for id in ids:
                said = {"metric_name": "demonstration", "value": json.loads(self.copies()[id]["output"])}
                assert ask(self.server.url, "/feedback", said | {"inference_id": id, "function_name": "toy"}).status == 200
        return [answer["variant_name"] for answer in answers]

    def copies(self) -> dict[str, dict]:
        """Copies by the id of the answer that they are of."""
        return {json.loads(row["tags"])["shadow_of"]: row for row in self.server.place.rows() if row["shadow"]}


def on_trial(server) -> dict | None:
    """What /health tells of it."""
    told = ask(server.url, "/health").json
    described("Health", told)
    return told["functions"]["toy"]["trial"]


def served(server) -> tuple[str, str | None]:
    """The variant that answers, and the package that gets copies."""
    trial = on_trial(server)
    return server.gateway.now.functions["toy"].champion, trial["package"] if trial else None


@pytest.mark.slow
def test_candidate_in_the_shadow_promoted_and_a_planted_bad_one_taken_back(tmp_path):
    where = place(tmp_path, gateway={"reload_seconds": 0.05}, flywheel=FLYWHEEL)
    p = Pipeline(where.settings)
    encoder = package("encoder-lora")
    worn = planted(p, encoder, "worn", topics_turned=True, right=150)
    good = planted(p, encoder, "good", topics_turned=False, right=190)
    shutil.rmtree(where.settings.home / "packages" / "toy" / "encoder-lora")
    assert p.regression("toy", "worn").metadata["promoted"]

    with running(where) as server:
        users = Users(server)
        assert served(server) == ("worn", None)
        assert turn(p, "toy").state.stage == "shadow" and until(lambda: served(server) == ("worn", good.digest))
        assert server.infer(variant_name="candidate").status == 404, "nobody can ask for it"
        assert on_trial(server) == {"role": "candidate", "package": good.digest, "of": worn.digest, "share": 1.0}

        # People put right what the worn champion says; the candidate had said so, unseen.
        assert set(users.ask(8, corrected=True)) == {"worn"} and set(users.ask(12)) == {"worn"}
        copy = next(iter(users.copies().values()))
        assert (copy["variant"], json.loads(copy["decision"])["package"]) == ("candidate", good.digest)
        with load(server) as answers:
            made = turn(p, "toy")
            assert made.state.stage == "watch", made.reason
            assert until(lambda: served(server) == ("good", worn.digest))
            assert on_trial(server) == {"role": "previous", "package": worn.digest, "of": good.digest, "share": 1.0}
            enough = len(answers) + 5
            assert until(lambda: len(answers) >= enough)
        assert {answer.status for answer in answers} == {200} and answers[-1].json["variant_name"] == "good"
        row = [row for row in where.rows() if not row["shadow"]][-1]
        assert json.loads(row["decision"])["package"] == good.digest, "each row says which package answered"

        users.ask(20)
        assert turn(p, "toy").state.stage == "idle" and until(lambda: served(server) == ("good", None))

        # It won on the test items, and nobody looked while it was in the shadow.
        spoilt = planted(p, encoder, "spoilt", topics_turned=True, right=198)
        assert turn(p, "toy").state.stage == "shadow" and until(lambda: served(server) == ("good", spoilt.digest))
        users.ask(20)
        assert turn(p, "toy").state.stage == "watch" and until(lambda: served(server) == ("spoilt", good.digest))
        assert set(users.ask(12, corrected=True)) == {"spoilt"}
        with load(server) as answers:
            made = turn(p, "toy")
            assert made.state.stage == "idle" and "agreement" in made.decided[0], made.reason
            assert until(lambda: served(server) == ("good", None))
        assert {answer.status for answer in answers} == {200} and server.infer().json["variant_name"] == "good"
        assert turn(p, "toy").state.stage == "idle" and served(server) == ("good", None), "it does not come again"
        told = [one["state"]["stage"] for one in history(p.inbox.store, "toy")]
        assert told == ["idle", "watch", "shadow", "idle", "watch", "shadow", "idle"]


@pytest.mark.slow
def test_a_variant_that_has_lost_its_traffic_is_renewed_all_the_same(tmp_path):
    """Another variant answers everything: candidate and champion get copies of the same, of which neither is seen."""
    with stub(json.dumps(RIGHT)) as up:
        variants = {"small": {"kind": "package", "stage": "champion"}, "big": {"kind": "remote", "url": up.url, "model": "m"}}
        routing = {"metric": "right", "champion": "big", "weights": {"big": 1.0}}
        where = place(tmp_path, {"variants": variants, "routing": routing}, {"reload_seconds": 0.05}, flywheel=FLYWHEEL)
        p, encoder = Pipeline(where.settings), package("encoder-lora")
        worn = planted(p, encoder, "worn", topics_turned=True, right=150)
        good = planted(p, encoder, "good", topics_turned=False, right=190)
        shutil.rmtree(where.settings.home / "packages" / "toy" / "encoder-lora")
        assert p.regression("toy", "worn").metadata["promoted"]
        with running(where) as server:
            assert turn(p, "toy").state.stage == "shadow" and until(lambda: on_trial(server) is not None)
            ids = [server.infer(f"please refund me for order A{n}").json["inference_id"] for n in range(20)]

            def copied() -> dict[str, set[tuple[str, str]]]:
                found = {id: set() for id in ids}
                for row in where.rows():
                    if row["shadow"]:
                        found[json.loads(row["tags"])["shadow_of"]].add((row["variant"], json.loads(row["decision"])["package"]))
                return found

            assert until(lambda: all(one == {("candidate", good.digest), ("small", worn.digest)} for one in copied().values()))
            made = turn(p, "toy")
            assert made.state.stage == "watch", made.reason
            assert until(lambda: server.gateway.now.functions["toy"].packages["small"] == good.digest)


@pytest.mark.slow
def test_the_champion_answers_whatever_was_packaged_since_and_is_asked_today_s_test_items(tmp_path):
    champion = {"kind": "package", "stage": "champion"}
    variants = {
        "top": champion,
        "same": {"kind": "package", "recipe": "v1"},
        "newest": {"kind": "package", "recipe": "v1", "stage": "current"},
    }
    where = place(tmp_path, {"variants": variants}, flywheel=FLYWHEEL, variants=["v1"])
    p, encoder = Pipeline(where.settings), package("encoder-lora")
    first = planted(p, encoder, "v1", topics_turned=True, right=150)
    assert p.regression("toy", "v1").metadata["promoted"]
    newer = planted(p, encoder, "v1", topics_turned=False, right=190)
    with running(where) as server:
        function = server.gateway.now.functions["toy"]
        assert function.packages == {"top": first.digest, "same": first.digest, "newest": newer.digest} and function.champion == "top"

    # The report of one that is evaluated on the test split of today: there is no common item with what the champion answered.
    dataset = p.store.current("datasets", "toy")
    test = open_test_split(dataset.path, p.ledger, "toy", "a test")
    right = [Prediction(dump_output(p.task("toy").output_schema, e.output)) for e in test]
    rows = make_rows(test, right, lambda output: dump_output(p.task("toy").output_schema, output))

    def report(out) -> dict:
        write_systems(out / "predictions", [System(name="v2", kind="candidate", description="", rows=rows)])
        return {"verdict": "SHIP", "value": 1.0}

    found = p.store.produce(EVALUATIONS, "toy/v2", {"made": "today"}, report)
    p.store.produce(PACKAGES, "toy/v2", {"evaluation": found.digest}, lambda out: (out / "x").write_text("x") and {"verdict": "SHIP"})
    told = p.regression("toy", "v2")
    check = json.loads(told.file("regression.json").read_text())["check"]
    assert (
        told.metadata["outcome"] in ("PASS", "INCONCLUSIVE") and check["champion"]["n"] == len(test) and check["challenger"]["value"] == 1
    )
    assert [line["reason"] for line in map(json.loads, p.ledger.read_text().splitlines())][-1] == "champion v1 against v2"
