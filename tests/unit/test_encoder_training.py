import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_encoder_tokens import tiny, tiny_encoder  # noqa: F401
from transformers import AutoModel, AutoTokenizer

from pp_assets.evaluation.metrics import score_system
from pp_assets.evaluation.predictions import make_rows
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_assets.training import loop
from pp_assets.training.encoder import EncoderRun
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import RECIPES
from pp_assets.training.run import LEAST_JUDGED
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.models.bases import MINILM
from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.model import HeadStack
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.settings import PROJECT_ROOT

OUTPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["intent", "ask", "order", "things"],
    "properties": {
        "intent": {"enum": ["refund", "where"]},
        "ask": {"type": "boolean"},
        "order": {"type": ["string", "null"]},
        "things": {"type": "array", "items": {"type": "string"}},
        "topics": {"type": "array", "items": {"enum": ["money", "time"]}},
    },
}
FAST = replace(RECIPES["encoder-lora"], params=replace(RECIPES["encoder-lora"].params, r=4, alpha=8, epochs=3, least_steps=1, batch_size=8))
FROZEN = replace(RECIPES["encoder-frozen"], params=replace(RECIPES["encoder-frozen"].params, epochs=3, least_steps=1, batch_size=8))
WEIGHTS = ("adapter_model.safetensors", "heads.safetensors")


def example(i: int) -> Example:
    thing, order = ("tea pot", "lid", "red pot")[i % 3], f"a{i}" if i % 4 else None
    ask, where = i % 5 == 0, i % 2 == 0
    text = f"{'where is' if where else 'refund'} my {thing}{f' from order {order}' if order else ''}{' please' if ask else ''}"
    output = {
        "intent": "where" if where else "refund",
        "ask": ask,
        "order": order,
        "things": [thing],
        "topics": ["time" if where else "money"],
    }
    return Example(f"{i:016x}", text, output)


ROWS, VAL = [example(i) for i in range(40)], [example(i) for i in range(40, 52)]
ASKED = [row.input_text for row in VAL] + ["", "hello", "the red lid 17 and my tea"]


def task(base: Path | str, output=OUTPUT, **more) -> TaskSpec:
    raw = {"name": "toy", "encoder_model_id": str(base), "instruction_template": "{{ input_text }}", "io_schema": {"output": output}}
    return parse_spec(raw | more, "toy")


def train(base, out: Path, *, recipe=FAST, seed=1, rows=ROWS, val=VAL, on_metrics=lambda _m: None, work=None, output=OUTPUT, runs=None):
    run = EncoderRun(task(base, output), recipe, rows, val, seed, 1)
    if runs is not None:
        runs.append(run)
    return loop.train(run, out, work=work or out.with_suffix(".work"), on_metrics=on_metrics)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):  # noqa: F811
    """(folder, metadata, the run that made it) of one training."""
    out, kept = tmp_path_factory.mktemp("trained") / "out", []
    metadata = train(tiny, out, runs=kept)
    return out, metadata, kept[0]


def test_the_same_seed_gives_the_same_bytes_wherever_it_runs(tiny, trained, tmp_path):  # noqa: F811
    train(tiny, tmp_path / "elsewhere" / "again")
    assert files(tmp_path / "elsewhere" / "again") == files(trained[0])


@pytest.mark.slow
def test_another_process_with_other_string_hashes_gives_the_same_bytes(tiny, trained, tmp_path):  # noqa: F811
    code = f"from pathlib import Path\nfrom test_encoder_training import train\ntrain(Path({str(tiny)!r}), Path({str(tmp_path / 'out')!r}))"
    places = os.pathsep.join(map(str, (Path(__file__).parent, PROJECT_ROOT)))
    settings = {"PYTHONHASHSEED": "12345", "PYTHONPATH": places, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    subprocess.run([sys.executable, "-c", code], env=os.environ | settings, check=True, capture_output=True)
    assert files(tmp_path / "out") == files(trained[0])


def test_another_seed_gives_other_weights(tiny, trained, tmp_path):  # noqa: F811
    train(tiny, tmp_path / "out", seed=2)
    other, first = files(tmp_path / "out"), files(trained[0])
    assert all(other[f"adapter/{name}"] != first[f"adapter/{name}"] for name in WEIGHTS)


@pytest.mark.parametrize("last_step", [3, 5, 8, 15])
def test_a_killed_run_goes_on_to_the_bytes_of_one_that_was_not(tiny, trained, tmp_path, monkeypatch, last_step):  # noqa: F811
    """Killed inside an epoch, at its end before and after the validation, and after the last step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    seen = []

    class Killed(Exception):
        pass

    def kill(metrics):
        if metrics.get("step", 0) > last_step or (last_step % 5 == 0 and "epoch" in metrics and metrics["step"] == last_step):
            raise Killed

    with pytest.raises(Killed):
        train(tiny, tmp_path / "out", on_metrics=kill)
    assert not (tmp_path / "out" / "training.json").exists()
    train(tiny, tmp_path / "out", on_metrics=seen.append)
    assert min(m["step"] for m in seen) == min(last_step + (last_step % 5 != 0), 15)
    assert files(tmp_path / "out") == files(trained[0])
    assert not (tmp_path / "out.work").exists()


def test_a_checkpoint_of_another_run_is_not_continued(tiny, trained, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)

    def kill(metrics):
        if metrics["step"] >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "one", seed=2, on_metrics=kill, work=tmp_path / "work")
    train(tiny, tmp_path / "two", work=tmp_path / "work")
    assert files(tmp_path / "two") == files(trained[0])


def test_a_run_is_another_where_rows_differ_in_their_letters_alone(tiny):  # noqa: F811
    def identity(rows):
        return EncoderRun(task(tiny), FAST, rows, [], 1, 1).identity

    assert identity(ROWS) == identity(list(ROWS)) != identity([replace(row, input_text=row.input_text.capitalize()) for row in ROWS])


def test_the_record_says_how_the_weights_came_about(trained, tiny):  # noqa: F811
    out, metadata, run = trained
    record = json.loads((out / "training.json").read_text())
    assert (record["family"], record["variant"], record["seed"], record["threads"]) == ("encoder", "encoder-lora", 1, 1)
    assert record["params"]["r"] == 4
    assert (record["base_model_id"], len(record["base_weights_sha256"]), len(record["initial_adapter_sha256"])) == (str(tiny), 64, 64)
    assert record["trainable_parameters"] == metadata["trainable_parameters"] == sum(w.numel() for w in run.weights.values())
    assert record["labels"]["rows"] == 40
    assert record["labels"]["trained_share"] == dict.fromkeys(["intent", "ask", "order", "things", "topics"], 1.0)
    assert record["labels"]["longest_span_tokens"] == 3
    assert record["effect"]["max_state_change"] > 0
    assert [entry["epoch"] for entry in record["history"]] == [1, 2, 3]
    assert (record["steps"], record["stop_reason"]) == (15, "all epochs done")
    losses = [entry["val_loss"] for entry in record["history"]]
    assert record["best_epoch"] == 1 + losses.index(min(losses)) == metadata["epoch"]
    assert [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] == record["history"]


def test_a_loaded_adapter_answers_as_it_did_in_training_and_as_it_does_unmerged(trained, tiny):  # noqa: F811
    from peft import PeftModel

    out, _, run = trained
    settings = json.loads((out / "adapter" / "heads.json").read_text())
    heads = HeadStack([Head.from_json(h) for h in settings["heads"]], 32, settings["width"], 0.0, settings["letters"])
    heads.load_state_dict(load_file(out / "adapter" / "heads.safetensors"))
    unmerged = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny), out / "adapter")
    tokenizer = AutoTokenizer.from_pretrained(out / "tokenizer")
    loaded = load_predictor(out, task(tiny), threads=1).predict(ASKED)
    # A text may differ where two answers are as good as equally probable; here none is.
    for other in (run.predictor, EncoderPredictor("x", unmerged, heads, tokenizer, OUTPUT, settings["max_tokens"])):
        for one, two in zip(loaded, other.predict(ASKED)):
            assert one.text == two.text
            assert one.fields == pytest.approx(two.fields, abs=1e-4)


def test_a_base_that_reads_lower_case_is_told_the_case(tiny, tmp_path):  # noqa: F811
    """The same tokens, told apart by their letters alone; a frozen encoder cannot."""
    words = ["refund", "please", "where", "order", "tea"]
    texts = [f"{words[i % 5]} my {words[(i * i + 1) % 5]}" for i in range(30)]
    shouted = [Example(f"{i:016x}", text.upper() if i % 2 else text, {"loud": bool(i % 2)}) for i, text in enumerate(texts)]
    output = {"type": "object", "required": ["loud"], "properties": {"loud": {"type": "boolean"}}}
    best = {}
    for recipe in (replace(FAST, params=replace(FAST.params, epochs=30, patience=30, head_lr=1e-2, hidden_dropout=0.0)), FROZEN):
        said = train(tiny, tmp_path / recipe.name, recipe=recipe, rows=shouted[:20], val=shouted[20:], output=output)
        best[recipe.name] = said["val_object_exact_match"]
    assert best == {"encoder-lora": 1.0, "encoder-frozen": 0.5}


def test_an_adapter_is_not_loaded_on_another_base(trained, tmp_path):
    other = tiny_encoder(tmp_path / "other", positions=65)
    record = json.loads((trained[0] / "training.json").read_text())
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "training.json").write_text(json.dumps(record | {"base_model_id": str(other)}))
    with pytest.raises(UserError) as error:
        load_predictor(moved, task(other), threads=1)
    assert str(error.value).startswith(
        f"base model {str(other)!r}: the weights in {other} are not those that the adapter was trained on; need SHA-256"
    )


def test_the_frozen_recipe_trains_heads_alone(tiny, tmp_path):  # noqa: F811
    for name in ("one", "two"):
        train(tiny, tmp_path / name, recipe=FROZEN)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert sorted(p.name for p in (tmp_path / "one" / "adapter").iterdir()) == ["heads.json", "heads.safetensors"]
    record = json.loads((tmp_path / "one" / "training.json").read_text())
    assert record["effect"] == {}
    assert record["history"][-1]["train_loss"] < record["history"][0]["train_loss"]
    assert len(load_predictor(tmp_path / "one", task(tiny), threads=1).predict(ASKED)) == len(ASKED)


def test_a_frozen_run_goes_on_after_a_kill(tiny, tmp_path, monkeypatch):  # noqa: F811
    train(tiny, tmp_path / "whole", recipe=FROZEN)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)

    def kill(metrics):
        if metrics["step"] >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "out", recipe=FROZEN, on_metrics=kill)
    train(tiny, tmp_path / "out", recipe=FROZEN)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_the_weights_of_the_best_epoch_are_kept_also_after_a_kill(tiny, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    # Validation rows that say the opposite: the more is learnt, the higher their loss, so that the first epoch is the best.
    changed = {
        "val": [replace(example(i), output=example(i + 1).output) for i in range(40, 40 + LEAST_JUDGED)],
        "output": {"type": "object", "required": ["intent"], "properties": {"intent": OUTPUT["properties"]["intent"]}},
    }
    at_epoch, runs = {}, []
    keep = lambda m: "epoch" in m and at_epoch.update({m["epoch"]: {n: t.clone() for n, t in runs[0].average.items()}})  # noqa: E731
    train(tiny, tmp_path / "out", **changed, on_metrics=keep, runs=runs)
    assert json.loads((tmp_path / "out" / "training.json").read_text())["best_epoch"] == 1
    kept = load_file(tmp_path / "out" / "adapter" / "heads.safetensors")
    assert all(torch.equal(value, at_epoch[1][f"heads.{name}"]) for name, value in kept.items())
    assert any(not torch.equal(value, at_epoch[max(at_epoch)][f"heads.{name}"]) for name, value in kept.items())

    def kill(metrics):
        if metrics["step"] >= 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "again", **changed, on_metrics=kill)
    train(tiny, tmp_path / "again", **changed)
    assert files(tmp_path / "again") == files(tmp_path / "out")


@pytest.mark.parametrize(
    ("metric", "higher"), [("field_f1.things", True), ("field_exact_mean", True), ("not_in_input_rate", False), ("latency_ms_mean", False)]
)
def test_the_best_epoch_is_the_best_by_the_primary_metric_of_the_report(tiny, tmp_path, metric, higher):  # noqa: F811
    spec, val = task(tiny, primary_metric={"name": metric, "higher_is_better": higher}), [example(i) for i in range(40, 40 + LEAST_JUDGED)]
    run = EncoderRun(spec, FAST, ROWS, val, 1, 1)
    loop.train(run, tmp_path / "out", work=tmp_path / "work")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    scores = [(e["val_primary"] if higher else -e["val_primary"], e["val_object_exact_match"], -e["val_loss"]) for e in record["history"]]
    assert record["best_epoch"] == 1 + scores.index(max(scores))
    answers = load_predictor(tmp_path / "out", spec, 1).predict([row.input_text for row in val])
    if metric != "latency_ms_mean":  # of which a training knows nothing
        rows = make_rows(val, answers, lambda output: dump_output(OUTPUT, output))
        assert max(scores)[0] * (1 if higher else -1) == score_system(spec, rows)[metric].value
    assert max(scores)[1] == score_system(spec, make_rows(val, answers, json.dumps))["object_exact_match"].value


def test_few_validation_rows_tell_no_epochs_apart(tiny):  # noqa: F811
    more = [example(i) for i in range(40, 40 + LEAST_JUDGED)]
    good, last = ({"epoch": e, "val_primary": p, "val_object_exact_match": p, "val_loss": 1.0} for e, p in ((3, 0.8), (4, 0.7)))
    for val, best in ((more[1:], last), (more, good)):
        run = EncoderRun(task(tiny), FAST, ROWS, val, 1, 1)
        assert max((good, last), key=run.goodness) == best


def test_every_epoch_has_each_row_once_and_as_many_batches_however_the_rows_pair_up(tiny):  # noqa: F811
    kinds = [f"kind {i}" for i in range(13)]  # of three rows or two: many stay single
    schema = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": kinds}}}
    rows = [replace(row, output={"kind": kinds[i % 13]}) for i, row in enumerate(ROWS[:37])]
    run = EncoderRun(task(tiny, schema), replace(FAST, params=replace(FAST.params, batch_size=2)), rows, [], 1, 1)
    assert run.contrasted
    for epoch in range(12):
        batches = run.batches(epoch)
        assert len(batches) == run.steps_per_epoch == 19
        assert sorted(i for batch in batches for i in batch) == list(range(37))


def test_an_epoch_goes_through_few_rows_several_times(tiny):  # noqa: F811
    for least, passes in ((1, 1), (10, 2), (26, 6)):
        run = EncoderRun(task(tiny), replace(FAST, params=replace(FAST.params, least_steps=least)), ROWS, [], 1, 1)
        batches = run.batches(0)
        assert len(batches) == run.steps_per_epoch == 5 * passes
        assert Counter(i for batch in batches for i in batch) == dict.fromkeys(range(40), passes)
        assert batches[:5] != batches[5:10] and batches != run.batches(1)


def test_a_task_of_few_rows_a_class_alone_is_trained_gently_and_long_texts_for_fewer_epochs(tiny):  # noqa: F811
    intent = {"type": "object", "required": ["intent"], "properties": {"intent": OUTPUT["properties"]["intent"]}}
    rows = [replace(row, output={"intent": row.output["intent"]}) for row in ROWS]

    def schedule(spec, rows, **params):
        run = EncoderRun(spec, replace(FAST, params=replace(FAST.params, epochs=8, **params)), rows, [], 1, 1)
        return run.epochs, run.optimizer.param_groups[0]["peak"] / run.params.lr

    assert schedule(task(tiny), ROWS) == (8, 1.0), "its spans need all of it"
    assert schedule(task(tiny, intent), rows) == (4, 0.5)
    assert schedule(task(tiny, intent), rows, contrast=0.0) == (8, 1.0)
    assert schedule(task(tiny, intent), rows * 2) == (8, 1.0), "enough rows a class"
    tokens = sum(len(row.ids) for row in EncoderRun(task(tiny), FAST, ROWS, [], 1, 1).rows)
    assert schedule(task(tiny), ROWS, max_trained_tokens=5 * tokens) == (5, 1.0)
    assert schedule(task(tiny), ROWS, max_trained_tokens=1) == (3, 1.0), "but least_epochs"


def test_without_validation_rows_the_last_weights_are_kept(tiny, tmp_path):  # noqa: F811
    metadata = train(tiny, tmp_path / "out", val=[])
    assert metadata["epoch"] == 3
    assert "val_loss" not in metadata
    assert json.loads((tmp_path / "out" / "training.json").read_text())["val_rows"] == 0


def test_training_stops_when_the_validation_score_no_longer_gets_better(tiny, tmp_path):  # noqa: F811
    # A rate of nothing: no epoch after the first is better.
    params = replace(FAST.params, lr=1e-9, head_lr=1e-9, epochs=9, patience=2, dropout=0.0, head_dropout=0.0)
    train(tiny, tmp_path / "out", recipe=replace(FAST, params=params), val=[example(i) for i in range(40, 40 + LEAST_JUDGED)])
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert (record["stop_reason"], record["epochs"]) == ("patience", record["best_epoch"] + 2)


def test_metrics_are_reported_by_step_and_by_epoch(tiny, tmp_path):  # noqa: F811
    seen = []
    train(tiny, tmp_path / "out", on_metrics=seen.append)
    assert [m["step"] for m in seen if "loss" in m] == [10]
    assert [m["epoch"] for m in seen if "epoch" in m] == [1, 2, 3]
    assert all(0 <= m["lr"] <= FAST.params.lr for m in seen if "lr" in m)


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([replace(row, output={**row.output, "order": f"elsewhere {row.item_id}"}) for row in ROWS], "order"),
        ([replace(row, input_text="please " * 800 + row.input_text) for row in ROWS if row.output["order"]], "order"),
        (
            [replace(row, input_text="tea " * 60, output={**row.output, "order": ("tea " * 50).strip(), "things": []}) for row in ROWS],
            "order",
        ),
        ([], "intent"),
    ],
)
def test_a_field_that_no_row_teaches_is_refused(tiny, tmp_path, rows, field):  # noqa: F811
    """Values that are not in the text, that are cut off, that are longer than any span; no rows at all."""
    with pytest.raises(UserError) as error:
        train(tiny, tmp_path / "out", rows=rows)
    assert str(error.value).startswith(f"field {field!r}: no training row has a value that can be learnt")


def test_the_label_report_counts_rows_that_are_cut_or_teach_nothing(tiny, tmp_path):  # noqa: F811
    lost = [replace(row, input_text="please " * 800, output={**row.output, "order": "a1", "things": []}) for row in ROWS[:10]]
    train(tiny, tmp_path / "out", rows=[*ROWS[10:], *lost])
    labels = json.loads((tmp_path / "out" / "training.json").read_text())["labels"]
    assert (labels["rows"], labels["rows_cut"], labels["trained_share"]["order"]) == (40, 10, 0.75)


def test_a_schema_without_heads_and_a_recipe_of_the_other_family_are_refused(tiny, tmp_path):  # noqa: F811
    with pytest.raises(UserError, match=r"field 'n' is free-form, .*, which no encoder head can produce: use a causal variant"):
        train(tiny, tmp_path / "out", output={"type": "object", "properties": {"n": {"type": "object"}}})
    with pytest.raises(UserError, match="variant 'lora-r8' is not an encoder one"):
        train(tiny, tmp_path / "out", recipe=RECIPES["lora-r8"])


def test_a_rate_that_blows_up_is_refused(tiny, tmp_path):  # noqa: F811
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d+; use a lower learning rate"):
        train(tiny, tmp_path / "out", recipe=replace(FAST, params=replace(FAST.params, lr=1e30, head_lr=1e30)))


def test_the_real_encoder_learns_an_easy_task(tmp_path):
    places = [
        "Oslo",
        "Rome",
        "Lima",
        "Cairo",
        "Paris",
        "Delhi",
        "Quito",
        "Kyoto",
        "Bergen",
        "Malmo",
        "Tunis",
        "Accra",
        "Turin",
        "Leeds",
        "Dover",
    ]

    def row(i, place):
        asked = (f"what is the weather in {place} today", f"book me a table for two in {place}")[i % 2]
        return Example(f"{i:x}", asked, {"intent": ("weather", "table")[i % 2], "city": place})

    rows = [row(i, places[i % 10]) for i in range(60)]
    unseen = [row(i, place) for i, place in enumerate(places[10:] * 2)]
    output = {
        "type": "object",
        "required": ["intent", "city"],
        "properties": {"intent": {"enum": ["weather", "table"]}, "city": {"type": "string"}},
    }
    recipe = replace(RECIPES["encoder-lora"], params=replace(RECIPES["encoder-lora"].params, epochs=6, least_steps=1))
    train(MINILM, tmp_path / "out", recipe=recipe, rows=rows, val=[], output=output)
    answers = load_predictor(tmp_path / "out", task(MINILM, output), threads=1).predict([r.input_text for r in unseen])
    assert sum(json.loads(a.text) == r.output for a, r in zip(answers, unseen)) >= 9
    assert torch.get_num_threads() == 1
