"""The catalogue of pipelines: what it lists, what may be set, what runs leave, and models of any provider on one table."""

import json
from pathlib import Path

import pytest
import yaml
from chat_place import chat_place
from small_task import write_task

from pp_assets.build import build_defs
from pp_assets.evaluation.predictions import make_rows, write_predictions
from pp_assets.pipeline import Pipeline
from pp_assets.pipelines.catalogue import ENTRIES, entry
from pp_assets.task.examples import count_test_openings, read_split
from pp_resources.artifacts import changed_files
from pp_resources.dagster_resources import Installation
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction
from pp_resources.settings import Settings

DOCUMENT = [
    *("prompt-engineering-iterative", "prompt-engineering-cot", "prompt-engineering-fewshot"),
    *("model-evaluation-comprehensive", "model-evaluation-benchmark", "model-evaluation-regression"),
    *("model-comparison-ab", "model-comparison-ensemble", "model-comparison-cross-provider"),
    *("fine-tuning-dataset-prep", "fine-tuning-orchestration", "fine-tuning-evaluation"),
]
CROSS = "model-comparison-cross-provider"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("catalogue")
    write_task(root / "tasks", "alpha", rows=120)
    Pipeline(Settings(root / "pp", root / "tasks", 1)).seeds("alpha")
    return root


def placed(home: Path) -> Pipeline:
    return Pipeline(Settings(home / "pp", home / "tasks", 1))


def test_ids_are_those_of_the_document_in_its_order_and_each_is_a_job() -> None:
    ids = [one.id for one in ENTRIES]
    assert ids == DOCUMENT
    defs = build_defs(installation=Installation(home="/nowhere", tasks="/nowhere", tracking=False), sensors=False)
    for one in ENTRIES:
        job = defs.resolve_job_def(one.job)
        assert one.id in job.description and job.tags["pp/pipeline"] == one.id
        told = one.options.model_json_schema()["properties"]
        assert all(about.get("description") for about in told.values()), f"{one.id}: each option says what it is"
        assert one.options() == one.read({}) and one.purpose and one.inputs and len(set(one.steps)) == len(one.steps)


def test_options_are_read_from_words_and_from_json_alike() -> None:
    cross, tuned = entry(CROSS), entry("fine-tuning-orchestration")
    read = cross.read_words(["models=a", "models=b", "rows=5", "hourly=0.5", "test=true"])
    assert read == cross.read({"models": ["a", "b"], "rows": 5, "hourly": 0.5, "test": True})
    assert tuned.read_words([]).model_dump() == {"variant": None, "trials": 4, "minutes": None, "write": False}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trails=3"], "did you mean 'trials'?"),
        (["trials=many"], "trials: Input should be a valid integer"),
        (["trials=0"], "trials: Input should be greater than or equal to 1"),
        (["trials=1", "trials=2"], "trials is given twice"),
        (["trials"], "'trials' is no NAME=VALUE"),
    ],
)
def test_options_that_cannot_be_are_told(words, said) -> None:
    with pytest.raises(UserError) as error:
        entry("fine-tuning-orchestration").read_words(words)
    assert said in str(error.value)


def test_an_unknown_id_is_told_with_the_nearest(pp) -> None:
    said = pp("pipeline", "run", "fine-tuning-orchestratoin", "--task", "alpha")
    assert said.code == 2 and "did you mean 'fine-tuning-orchestration'?" in said.err and len(said.err.splitlines()) == 1


def test_the_list_tells_what_is_known_of_a_task_and_what_is_not(pp) -> None:
    plain = pp("pipeline", "list", "--json").json
    assert [one["id"] for one in plain["pipelines"]] == [one.id for one in ENTRIES] and "estimate" not in plain["pipelines"][0]
    told = {one["id"]: one for one in pp("pipeline", "list", "--task", "alpha", "--json").json["pipelines"]}
    tuned = told["fine-tuning-evaluation"]
    assert tuned["estimate"]["calls"] is None and "no variant is trained" in tuned["missing"] and tuned["last"] is None
    assert "not known yet" in pp("pipeline", "list", "--task", "alpha").out
    shown = pp("pipeline", "show", "fine-tuning-orchestration", "--task", "alpha", "--set", "trials=7")
    assert shown.code == 0 and "was not trained here yet" in shown.out and "not known yet seconds" in shown.out


def test_rows_of_a_source_are_made_ready_in_a_report(pp, home, tmp_path) -> None:
    lines = [{"body": f"the parcel\u00a0 never came, box {i}", "kind": "delivery" if i % 3 else "billing"} for i in range(12)]
    lines.append({"body": "what is this", "kind": "nonsense"})
    source = tmp_path / "mails.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)) + "\n")
    words = [f"source={source}", "map=input_text=body", "map=output_json.kind=kind", "by=kind", "cap=4"]
    said = pp("pipeline", "run", "fine-tuning-dataset-prep", "-t", "alpha", *(w for word in words for w in ("--set", word)), "--json")
    assert said.code == 0, said.err
    told = said.json
    # No row has an order, which the schema requires: what does not fit is named, line by line.
    assert (told["kind"], told["outcome"]) == ("stop", "lines are not sound") and told["options"]["cap"] == 4
    assert [step["name"] for step in told["steps"]] == ["collect", "clean", "balance", "validate"]
    folder = Path(told["path"])
    assert changed_files(folder) == [] and {"report.json", "report.md", "report.html"} <= {p.name for p in folder.iterdir()}
    kept = [json.loads(line) for line in (folder / "validate" / "rows.jsonl").read_text().splitlines()]
    assert len(kept) == 9 and all("\u00a0" not in row["input_text"] for row in kept), "4 of each kind, cleaned"
    last = {one["id"]: one["last"] for one in pp("pipeline", "list", "-t", "alpha", "--json").json["pipelines"]}
    assert last["fine-tuning-dataset-prep"]["outcome"] == "lines are not sound" and last[CROSS] is None
    runs = len(placed(home).store.versions("pipelines", "alpha/fine-tuning-dataset-prep"))
    again = pp("pipeline", "run", "fine-tuning-dataset-prep", "-t", "alpha", "--set", f"source={tmp_path / 'none.jsonl'}")
    assert again.code == 2 and len(placed(home).store.versions("pipelines", "alpha/fine-tuning-dataset-prep")) == runs


def test_an_ab_test_of_two_files_of_answers_has_its_page_in_the_report(pp, home, tmp_path) -> None:
    p = placed(home)
    task, rows = p.task("alpha"), read_split(p.current("datasets", "alpha").path, "train")

    def answers(name: str, every: int) -> str:
        said = [Prediction(dump_output(task.output_schema, r.output) if i % every else "{}") for i, r in enumerate(rows)]
        write_predictions(tmp_path / name, make_rows(rows, said, lambda output: dump_output(task.output_schema, output)))
        return str(tmp_path / name)

    good, bad = answers("good.jsonl.gz", 50), answers("bad.jsonl.gz", 2)
    said = pp("pipeline", "run", "model-comparison-ab", "-t", "alpha", "--set", f"a={good}", "--set", f"b={bad}", "--json")
    assert said.code == 0, said.err
    told = said.json
    assert (told["kind"], told["outcome"]) == ("ship", f"{good} is better") and told["spent"]["calls"] == 0
    figures = {one["name"]: one for step in told["steps"] for one in step["figures"]}
    assert figures["effect"]["low"] > 0 and figures["effect"]["n"] == len(rows) and figures["p_value"]["value"] < 0.05
    assert "A IS BETTER" in (Path(told["path"]) / "analysis" / "comparison.html").read_text()


def answer_of(asked: dict) -> str:
    """A fixed model: the kind by a word of the input, never an order; for its weaker brother always the same kind."""
    text = asked["messages"][-1]["content"].rpartition("}")[2]
    kind = "billing" if any(word in text for word in ("money", "card", "invoice", "payment")) else "delivery"
    kind = "returns" if any(word in text for word in ("send it back", "label", "size", "return this")) else kind
    order = next((word for word in text.split() if word[:2] in ("A-", "B-", "C-")), None)
    return json.dumps({"kind": kind, "order": order} if asked["model"] == "strong" else {"kind": "billing", "order": order})


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Our own gateway, with the models `strong` and `weak` behind it."""
    with chat_place(tmp_path_factory.mktemp("gateway")) as (gateway, up):
        up.says = answer_of
        file = gateway.place.settings.home / "gateway.yaml"
        models = yaml.safe_load(file.read_text())["models"]
        file.write_text(yaml.safe_dump({"models": {name: {**models["writer"], "model": name} for name in ("strong", "weak")}}))
        from gateway_place import running

        with running(gateway.place) as again:
            yield again, up


def test_models_at_an_address_and_the_bare_base_stand_on_one_table_and_are_asked_once(pp, home, served) -> None:
    gateway, up = served
    strong, weak = (f"{gateway.url}/v1#{name}" for name in ("strong", "weak"))
    words = ("--model", strong, "--model", weak, "--model", "base-zero-shot-constrained")
    told_before = pp("pipeline", "show", CROSS, "-t", "alpha", "--set", f"models={strong}", "--json").json["estimate"]
    rows = read_split(placed(home).current("datasets", "alpha").path, "val")
    texts = len({row.input_text for row in rows})
    assert told_before["calls"] == texts and told_before["seconds"] is None, "nothing of it was measured yet"
    up.seen.clear()
    said = pp("providers", "compare", "alpha", *words, "--json")
    assert said.code == 0, said.err
    assert len(up.seen) == 2 * texts
    told = said.json
    steps = {step["name"]: step for step in told["steps"]}
    assert list(steps) == list(entry(CROSS).steps) and steps["answers"]["calls"] == 3 * texts
    assert told["spent"]["bought"]["requests"] == 2 * texts and told["spent"]["test_openings"] == 0
    models = {one["name"]: one for one in steps["quality"]["details"]["models"]}
    first, second = models[strong], models[weak]
    assert first["primary"]["value"] == 1.0 and first["rank"] == 1 and second["primary"]["value"] < 0.6
    assert (
        second["against_best"]["effect"] == pytest.approx(second["primary"]["value"] - 1) and second["against_best"]["p_holm"] is not None
    )
    assert first["valid"]["value"] == 1.0 and first["primary"]["n"] == len(rows)
    assert first["cost"] == {"by": "tokens", "usd_per_1000": None, "reason": "unpriced"}, "unpriced is said, and not 0"
    assert first["speed"]["p50"]["value"] > 0 and first["features"]["offline"].startswith("yes")
    base = models["base-zero-shot-constrained"]
    assert base["features"]["structured output"] == "json_schema" and base["features"]["distributions"] == "yes"
    assert base["speed"]["tokens_per_s"] > 0 and base["valid"]["value"] == 1.0
    page = (Path(told["path"]) / "report.html").read_text()
    assert "unpriced" in page and "validation rows" in page
    again = pp("providers", "compare", "alpha", *words)
    assert again.code == 0 and len(up.seen) == 2 * texts, "what was answered is not asked for again"
    assert "0 new answers" in again.out and "json_schema" in again.out
    after = pp("pipeline", "show", CROSS, "-t", "alpha", "--set", f"models={strong}", "--json").json["estimate"]
    assert after["calls"] == 0 and after["seconds"] == 0


def test_the_test_split_is_asked_when_wanted_and_counted(pp, home, served) -> None:
    gateway, _ = served
    ledger = placed(home).ledger
    opened = count_test_openings(ledger, "alpha")
    estimate = pp("pipeline", "show", CROSS, "-t", "alpha", "--set", f"models={gateway.url}/v1#weak", "--set", "test=true", "--json").json
    assert estimate["estimate"]["calls"] > 0 and count_test_openings(ledger, "alpha") == opened, "an estimate opens nothing"
    said = pp("providers", "compare", "alpha", "-m", f"{gateway.url}/v1#weak", "--test", "--rows", "6", "--json")
    assert said.code == 0, said.err
    assert said.json["spent"]["test_openings"] == 1 == count_test_openings(ledger, "alpha") - opened
    assert said.json["steps"][0]["said"].startswith("1 model on 6 test rows")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("encoder-lorra", "no model 'encoder-lorra'"),
        ("base-zero-shoot", "did you mean 'base-zero-shot'?"),
        ("nobody/model", "no provider 'nobody'"),
        ("provider", "the environment names no provider"),
    ],
)
def test_a_model_that_is_not_there_is_told(pp, home, model, said) -> None:
    write_task(home / "tasks", "fresh", rows=64)
    for task in ("alpha", "fresh"):  # the latter has no data yet
        found = pp("providers", "compare", task, "-m", model)
        assert found.code == 2 and said in found.err


def test_a_variant_that_is_not_trained_is_told_with_the_command_that_trains_it(pp, home) -> None:
    write_task(home / "tasks", "fresh", rows=64)
    for model in ("encoder-lora", "fresh/encoder-lora"):
        found = pp("providers", "compare", "fresh", "-m", model)
        assert found.code == 2
        assert "fresh/encoder-lora: is not trained yet; train it with 'pp train fresh --variant encoder-lora'" in found.err
