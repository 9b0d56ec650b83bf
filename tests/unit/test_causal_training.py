import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from causal_tiny import CHAT, examples, spec_on, write_tiny_base
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from pp_assets.task.causal_prompt import prompt_of
from pp_assets.task.examples import Example
from pp_assets.training import causal_attention, loop
from pp_assets.training.causal import CausalRun
from pp_assets.training.causal_batches import SharedPrefix, epoch_batches, loss_of
from pp_assets.training.labels import Row, encode_rows, label_report
from pp_assets.training.params import CausalParams, EncoderParams
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import Recipe
from pp_assets.training.run import LEAST_JUDGED
from pp_resources.errors import UserError
from pp_resources.models.causal import CausalPredictor, load_model, load_tokenizer
from pp_resources.models.causal_prompt import PromptEncoder

RECIPE = Recipe("lora-tiny", "causal", "test", CausalParams(r=4, alpha=8, dropout=0.1, lr=2e-2, epochs=4, batch_size=8, patience=9))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base"))


def train(base, folder, *, recipe=RECIPE, rows=None, val=None, seed=0, on_metrics=lambda _: None, work=None):
    rows, val = examples(24) if rows is None else rows, examples(6, seed=9) if val is None else val
    run = CausalRun(spec_on(base), recipe, rows, val, seed, 1)
    return loop.train(run, folder, work=work or folder.with_name(folder.name + "-work"), on_metrics=on_metrics)


def adapter_hash(folder):
    return hashlib.sha256((folder / "adapter" / "adapter_model.safetensors").read_bytes()).hexdigest()


def everything(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    seen = []
    return out, train(base, out, on_metrics=seen.append), seen


def test_the_same_seed_gives_the_same_bytes_in_every_file(base, trained, tmp_path):
    train(base, tmp_path / "again")
    assert everything(tmp_path / "again") == everything(trained[0])


def test_another_seed_gives_another_adapter(base, trained, tmp_path):
    train(base, tmp_path / "other", seed=1)
    assert adapter_hash(tmp_path / "other") != adapter_hash(trained[0])


@pytest.mark.parametrize("killed_at", [1, 4, 5, 6])
def test_a_run_that_was_killed_and_resumed_gives_the_same_bytes(base, trained, tmp_path, monkeypatch, killed_at):
    class Killed(Exception):
        pass

    steps = 0
    step = CausalRun.step

    def counted(self, batch, at):
        nonlocal steps
        steps += 1
        if steps > killed_at:
            raise Killed
        return step(self, batch, at)

    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
        patch.setattr(CausalRun, "step", counted)
        with pytest.raises(Killed):
            train(base, tmp_path / "out", work=work)
    assert not any(p.suffix in (".bin", ".pt", ".pkl") for p in work.rglob("*"))
    assert any(work.glob("step-*"))
    torch.manual_seed(12345)
    monkeypatch.setattr(CausalRun, "step", lambda self, batch, at: (counter.append(at), step(self, batch, at))[1])
    counter = []
    train(base, tmp_path / "out", work=work)
    assert counter[0] == killed_at
    assert everything(tmp_path / "out") == everything(trained[0])
    assert not work.exists()


def test_a_checkpoint_of_another_run_is_not_continued(base, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(loop.shutil, "rmtree", lambda *_, **__: None)
    train(base, tmp_path / "other", seed=1, work=tmp_path / "work")
    monkeypatch.undo()
    train(base, tmp_path / "out", work=tmp_path / "work")
    assert everything(tmp_path / "out") == everything(trained[0])


def test_what_is_written_says_how_it_was_made(base, trained):
    out, metadata, seen = trained
    record = json.loads((out / "training.json").read_text())
    assert record["seed"] == 0 and record["threads"] == 1
    assert record["params"]["r"] == 4
    assert record["base_weights_sha256"] == hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    assert record["initial_adapter_sha256"] != adapter_hash(out)
    assert record["labels"]["rows"] == record["labels"]["end_token_rows"] == 24
    assert 0 < record["labels"]["trained_share"] < 1
    assert record["effect"]["max_logit_change"] > 0 and record["effect"]["probes"] == 4
    assert [entry["epoch"] for entry in record["history"]] == [1, 2, 3, 4]
    told = [entry for entry in seen if "epoch" in entry]
    assert record["history"] == [{k: v for k, v in entry.items() if k != "best_epoch"} for entry in told]
    assert told[-1]["best_epoch"] == record["best_epoch"]
    assert record["history"] == [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert record["history"][-1]["train_loss"] < record["history"][0]["train_loss"]
    assert metadata["seconds"] > 0 and metadata["epochs"] == 4
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    assert config["target_modules"] == sorted(config["target_modules"]) and len(config["target_modules"]) == 7


def test_the_adapter_answers_as_it_did_in_training(base, trained):
    out, _, _ = trained
    record = json.loads((out / "training.json").read_text())
    spec = spec_on(base)
    made = CausalPredictor.from_adapter(
        "x",
        base,
        out / "adapter",
        spec.output_schema,
        prompt_of(spec),
        tokenizer=out / "tokenizer",
        max_new_tokens=record["max_new_tokens"],
    )
    val = examples(6, seed=9)
    answers = made.predict([e.input_text for e in val])
    hits = sum(p.finish_reason == "stop" and json.loads(p.text) == e.output for p, e in zip(answers, val, strict=True))
    best = record["history"][record["best_epoch"] - 1]
    assert hits / len(val) == best["val_object_exact_match"]


def test_the_best_epoch_is_kept_and_training_stops_when_nothing_improves(base, tmp_path):
    recipe = replace(RECIPE, params=replace(RECIPE.params, lr=1e-5, epochs=8, patience=2))
    metadata = train(base, tmp_path / "out", recipe=recipe, val=examples(LEAST_JUDGED, seed=9))
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    scores = [(entry["val_primary"], entry["val_object_exact_match"], -entry["val_loss"]) for entry in record["history"]]
    assert record["best_epoch"] == scores.index(max(scores)) + 1
    assert (record["stop_reason"] == "patience") == (record["epochs"] < 8)
    assert metadata["val_loss"] == -max(scores)[2]


def test_without_validation_rows_the_last_epoch_is_kept(base, tmp_path):
    train(base, tmp_path / "out", val=[])
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["best_epoch"] == 4 and "val_loss" not in record["history"][0]


def test_an_adapter_without_effect_is_an_error(base, tmp_path):
    with pytest.raises(UserError, match="no effect on the base model"):
        train(base, tmp_path / "out", recipe=replace(RECIPE, params=replace(RECIPE.params, lr=0.0, epochs=1)))


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_learning_rate(base, tmp_path):
    with pytest.raises(UserError, match=r"loss is nan at step .*lower learning rate"):
        train(base, tmp_path / "out", recipe=replace(RECIPE, params=replace(RECIPE.params, lr=float("inf"))))


def test_an_encoder_recipe_is_refused(base, tmp_path):
    with pytest.raises(UserError, match="'encoder-lora' is not a causal one"):
        train(base, tmp_path / "out", recipe=Recipe("encoder-lora", "encoder", "", EncoderParams()))


def test_rows_that_do_not_fit_the_context_are_refused_by_name(base, tmp_path):
    long = [Example(f"long-{i}", "word " * 600, {"order": None, "topic": "bill", "urgent": False}) for i in range(7)]
    with pytest.raises(UserError, match=r"7 training rows do not fit .* 512 tokens.*: long-0, long-1, long-2, long-3, long-4 and 2 more"):
        train(base, tmp_path / "out", rows=[*examples(3), *long])


def test_no_rows_at_all_are_refused(base, tmp_path):
    with pytest.raises(UserError, match="no row to train on"):
        train(base, tmp_path / "out", rows=[])


def test_text_that_the_tokenizer_cannot_write_is_refused_by_name(base):
    tokenizer = load_tokenizer(base)
    tokenizer.decode = lambda *_, **__: "something else"
    spec = spec_on(base)
    with pytest.raises(UserError, match="2 training rows hold text that the base model's tokenizer cannot write: row-0-0, row-0-1"):
        encode_rows(spec, PromptEncoder(tokenizer, prompt_of(spec)), examples(2), 512)


def test_the_report_counts_the_tokens_that_are_trained(base):
    spec = spec_on(base)
    encoder = PromptEncoder(load_tokenizer(base), prompt_of(spec))
    rows = encode_rows(spec, encoder, examples(3), 512)
    report = label_report(encoder, rows)
    assert report.trained_tokens == sum(len(row.answer) for row in rows)
    assert report.longest_row == len(encoder.prefix_ids) + max(row.length for row in rows)


@pytest.mark.parametrize("eager_up_to", [512, 0], ids=["eager", "fused"])
def test_the_loss_on_the_shared_prefix_equals_the_loss_of_whole_sequences(base, monkeypatch, eager_up_to):
    monkeypatch.setattr(causal_attention, "EAGER_UP_TO", eager_up_to)
    spec, tokenizer, model = spec_on(base), load_tokenizer(base), load_model(base)
    encoder = PromptEncoder(tokenizer, prompt_of(spec))
    rows = encode_rows(spec, encoder, examples(5), 512)
    total = tokens = 0
    for row in rows:
        ids = torch.tensor([encoder.prefix_ids + row.suffix + row.answer])
        logits = model(input_ids=ids).logits[0, -len(row.answer) - 1 : -1]
        total = total + cross_entropy(logits, torch.tensor(row.answer), reduction="sum")
        tokens += len(row.answer)
    (total / tokens).backward()
    whole = {name: w.grad.clone() for name, w in model.named_parameters()}
    model.zero_grad()
    loss, count = loss_of(model, SharedPrefix(encoder.prefix_ids), rows, tokenizer.pad_token_id)
    loss.backward()
    assert count == tokens
    assert loss.item() == pytest.approx((total / tokens).item(), abs=1e-5)
    for name, w in model.named_parameters():
        torch.testing.assert_close(w.grad, whole[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_a_batch_in_parts_gives_the_loss_and_gradients_of_the_whole_batch(base, accumulate):
    grads = []
    for parts in (1, accumulate):
        recipe = replace(RECIPE, params=replace(RECIPE.params, dropout=0.0, accumulate=parts))
        run = CausalRun(spec_on(base), recipe, examples(8), [], 0, 1)
        run.bf16 = False
        loss, tokens = run.backward(sorted(run.rows, key=lambda row: row.length))
        grads.append((loss, tokens, {name: w.grad for name, w in run.weights.items()}))
    assert grads[1][:2] == (pytest.approx(grads[0][0], abs=1e-5), grads[0][1])
    for name, grad in grads[0][2].items():
        torch.testing.assert_close(grads[1][2][name], grad, atol=1e-6, rtol=1e-4)


def test_a_mean_of_the_parts_means_would_be_another_gradient(base):
    """The planted failure: parts that are weighted alike, though their answers are of other lengths."""
    run = CausalRun(spec_on(base), RECIPE, examples(8), [], 0, 1)
    by_answer = sorted(run.rows, key=lambda row: len(row.answer))
    whole = run.loss(by_answer)[0].item()
    parts = [run.loss(by_answer[start : start + 4]) for start in (0, 4)]
    assert parts[0][1] != parts[1][1]
    assert abs(sum(loss.item() for loss, _ in parts) / 2 - whole) > 1e-4


@pytest.mark.parametrize("side", ["left", "right"])
def test_neither_padding_nor_its_side_changes_the_loss_of_a_row(base, side):
    run = CausalRun(spec_on(base), replace(RECIPE, params=replace(RECIPE.params, dropout=0.0)), examples(6), [], 0, 1)
    run.bf16, run.tokenizer.padding_side = False, side
    alone = sum(loss.item() * count for loss, count in (run.loss([row]) for row in run.rows))
    loss, count = run.loss(run.rows)
    assert len({row.length for row in run.rows}) > 1
    assert loss.item() == pytest.approx(alone / count, abs=1e-5)


def test_labels_without_the_end_token_are_refused_by_name(base):
    spec = spec_on(base)
    encoder = PromptEncoder(load_tokenizer(base), prompt_of(spec))
    encoder.completion_ids = lambda answer: encoder.tokenizer(answer)["input_ids"]
    with pytest.raises(UserError, match=r"2 training rows do not end in the end token.*: row-0-0, row-0-1"):
        encode_rows(spec, encoder, examples(2), 512)


def test_rows_without_a_token_to_learn_are_refused_by_name(base):
    spec = spec_on(base)
    encoder = PromptEncoder(load_tokenizer(base), prompt_of(spec))
    encoder.completion_ids = lambda _answer: [encoder.tokenizer.eos_token_id]
    with pytest.raises(UserError, match="2 training rows have no trained token before the end token: row-0-0, row-0-1"):
        encode_rows(spec, encoder, examples(2), 512)


@pytest.mark.parametrize("targets", ["nothing_of_the_kind", "q_proj_typo$"])
def test_an_adapter_that_matches_no_module_is_refused(base, targets):
    with pytest.raises(UserError, match="no LoRA can be put on the base: Target modules"):
        CausalRun(spec_on(base), replace(RECIPE, params=replace(RECIPE.params, targets=targets)), examples(8), [], 0, 1)


def test_an_adapter_that_merging_would_round_away_is_refused(base, tmp_path):
    run = CausalRun(spec_on(base), RECIPE, examples(8), [], 0, 1)
    with torch.no_grad():
        for name, weight in run.weights.items():
            weight.fill_(1e-5) if "lora_B" in name else weight.mul_(1e-3)
    with pytest.raises(UserError, match="so small that merging rounds it away"):
        run.write(tmp_path, {"history": []})


def test_the_record_says_what_merging_leaves_in_each_precision(base, trained):
    run = CausalRun(spec_on(base), RECIPE, examples(8), [], 0, 1)
    before = {name: w.clone() for name, w in run.model.named_parameters()}
    with torch.no_grad():
        for name, weight in run.weights.items():
            weight.normal_(std=1e-3 if "lora_B" in name else 1e-2)
    left = run.effect()["left_after_merging"]
    assert left["float32"] > 0.99 and left["bfloat16"] < 0.5 < left["float16"] + 0.5
    assert all(torch.equal(w, before[name]) for name, w in run.model.named_parameters() if name not in run.weights)
    learnt = json.loads((trained[0] / "training.json").read_text())["effect"]["left_after_merging"]
    assert min(learnt.values()) > 0.95


@pytest.mark.parametrize("change", ["template", "instruction"])
def test_another_template_than_in_training_is_refused(base, trained, tmp_path, change):
    out = shutil.copytree(trained[0], tmp_path / "out")
    spec = spec_on(base)
    assert load_predictor(out, spec, 1).predict(["Hello"])[0].finish_reason
    if change == "template":
        tokenizer = load_tokenizer(out / "tokenizer")
        tokenizer.chat_template = CHAT
        tokenizer.save_pretrained(out / "tokenizer")
    else:
        spec = spec_on(base, instruction_template="Keys: order, topic.\n\nMessage: {{ input_text }}\n\nJSON:")
    with pytest.raises(UserError, match="prompt, the chat template or the tokenizer is not the one that the adapter was trained with"):
        load_predictor(out, spec, 1)


def test_an_answer_outside_of_the_grammar_is_refused_by_name_where_decoding_is_constrained(base, tmp_path):
    odd = Example("odd", "x", {"order": "much too long for it", "topic": "bill", "urgent": False})
    with pytest.raises(UserError, match="1 training rows have an output that constrained decoding could never give: odd"):
        CausalRun(spec_on(base), RECIPE, [*examples(8), odd], [], 0, 1)
    free = CausalRun(spec_on(base, decoding={"constrained": False}), RECIPE, [*examples(8), odd], [], 0, 1)
    assert free.labels.rows == 9


def test_an_epoch_has_every_row_once_in_an_order_of_its_own():
    rows = [Row(str(i), list(range(i % 7 + 1)), [1, 0]) for i in range(100)]
    first, second = epoch_batches(rows, 8, 0, 0), epoch_batches(rows, 8, 0, 1)
    assert sorted(row.item_id for batch in first for row in batch) == sorted(row.item_id for row in rows)
    assert first != second and first == epoch_batches(rows, 8, 0, 0)
    assert max(max(r.length for r in b) - min(r.length for r in b) for b in first) <= 3


def test_only_adapter_weights_are_written(trained):
    weights = load_file(trained[0] / "adapter" / "adapter_model.safetensors")
    assert weights and all("lora_" in name for name in weights)
