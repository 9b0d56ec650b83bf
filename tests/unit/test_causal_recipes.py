"""Each causal recipe trains, has an effect, is proved against peft's own layers, and answers after loading as it did in training."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from causal_tiny import examples, spec_on, write_tiny_base
from peft import PeftModel

from pp_assets.packaging.lint import lint_adapter
from pp_assets.training import loop
from pp_assets.training.causal import CausalRun
from pp_assets.training.causal_batches import SharedPrefix, answer_logits
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import RECIPES, Recipe
from pp_resources.errors import UserError
from pp_resources.models.causal import load_model
from pp_resources.models.causal_prompt import Prompt

CAUSAL = [name for name, recipe in RECIPES.items() if recipe.family == "causal"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base"), layers=2)


def quick(name: str) -> Recipe:
    return replace(RECIPES[name], params=replace(RECIPES[name].params, r=4, alpha=8, lr=2e-2, epochs=2, batch_size=8))


def new_run(base, name, **changes):
    return CausalRun(spec_on(base, **changes), quick(name), examples(16), examples(4, seed=9), 0, 1)


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """name -> folder of the trained recipe."""
    made = {}

    def train(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "out"
            loop.train(new_run(base, name), made[name], work=made[name].with_name("work"))
        return made[name]

    return train


@pytest.mark.parametrize("name", CAUSAL)
def test_a_recipe_changes_the_answers_and_gives_them_again_after_loading(base, trained, name):
    out, val = trained(name), examples(4, seed=9)
    record = json.loads((out / "training.json").read_text())
    assert record["effect"]["max_logit_change"] > 0
    made = load_predictor(out, spec_on(base), 1).predict([e.input_text for e in val])
    hits = sum(p.finish_reason == "stop" and json.loads(p.text) == e.output for p, e in zip(made, val, strict=True))
    assert hits / len(val) == record["history"][record["best_epoch"] - 1]["val_object_exact_match"]
    assert record["history"][-1]["train_loss"] < record["history"][0]["train_loss"]


@pytest.mark.parametrize("name", CAUSAL)
def test_the_logits_are_those_of_peft_on_the_written_adapter(base, trained, name):
    """peft loads the folder and reads whole sequences: of an activated adapter it finds the beginning by itself."""
    out, run = trained(name), new_run(base, name)
    theirs = PeftModel.from_pretrained(load_model(base), str(out / "adapter")).eval()
    ours = load_predictor(out, spec_on(base), 1)
    prefix = run.prefix if run.prefix.kept else SharedPrefix(ours.encoder.prefix_ids)
    with torch.inference_mode():
        for row in run.val_rows:
            whole = torch.tensor([ours.encoder.prefix_ids + row.suffix + row.answer])
            said = theirs(input_ids=whole).logits[0, -len(row.answer) - 1 : -1]
            torch.testing.assert_close(answer_logits(ours.model, prefix, [row], 0), said, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["lora-r16", "alora-r16", "lora-r64-rs", "dora-r16"])
def test_gradients_are_those_of_peft_over_whole_sequences(base, name):
    from peft import LoraConfig, get_peft_model

    run = new_run(base, name)
    run.bf16 = False
    with torch.no_grad():
        for weight in run.weights.values():
            weight.add_(torch.randn_like(weight), alpha=0.05)
    p, encoder = run.params, run.predictor.encoder
    config = LoraConfig(
        r=p.r,
        lora_alpha=p.alpha,
        target_modules="all-linear",
        use_rslora=p.rslora,
        use_dora=p.dora,
        task_type="CAUSAL_LM",
        alora_invocation_tokens=encoder.invocation_ids or None,
    )
    plain = get_peft_model(load_model(base), config).train()
    weights = {n: w for n, w in plain.named_parameters() if w.requires_grad}
    with torch.no_grad():
        for n, w in weights.items():
            w.copy_(run.weights[n])
    total = tokens = 0
    for row in run.rows[:4]:
        logits = plain(input_ids=torch.tensor([encoder.prefix_ids + row.suffix + row.answer])).logits[0, -len(row.answer) - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(row.answer), reduction="sum")
        tokens += len(row.answer)
    (total / tokens).backward()
    loss, count = run.backward(run.rows[:4])
    assert (loss, count) == (pytest.approx((total / tokens).item(), abs=1e-4), tokens)
    for n, w in weights.items():
        torch.testing.assert_close(run.weights[n].grad, w.grad, atol=1e-4, rtol=2e-3)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_recipe_says_where_it_runs_as_the_lint_does(trained, name):
    config = json.loads((trained(name) / "adapter" / "adapter_config.json").read_text()) | {"r": RECIPES[name].params.r}
    table = lint_adapter(config, {"architectures": ["LlamaForCausalLM"]})
    assert tuple(row["runtime"] for row in table if row["ok"]) == RECIPES[name].runs_in


def test_the_prefix_of_an_activated_adapter_is_the_bases_and_computed_once(base, trained, monkeypatch):
    run = new_run(base, "alora-r16")
    kept = {layer: key.clone() for layer, (key, _) in run.prefix.kept.items()}
    assert len(kept) == 2 and kept[0].shape[1] == len(run.predictor.encoder.prefix_ids)
    before = run.predictor._prefix
    for step, batch in enumerate(run.batches(0)):
        run.step(batch, step)
    run.evaluate()
    assert run.predictor._prefix is before
    with run.model.disable_adapter():
        again = run._prefix_of(run.model).kept
    assert all(torch.equal(again[layer][0], key) for layer, key in kept.items())


def test_an_activated_adapter_begins_at_tokens_that_its_settings_name(base, trained):
    config = json.loads((trained("alora-r16") / "adapter" / "adapter_config.json").read_text())
    encoder = new_run(base, "alora-r16").predictor.encoder
    assert config["alora_invocation_tokens"] == encoder.invocation_ids and len(encoder.invocation_ids) == 4
    plain = new_run(base, "lora-r8").predictor.encoder
    assert encoder.prefix_ids + encoder.suffix_ids("Hello") == plain.prefix_ids + plain.suffix_ids("Hello")
    assert json.loads((trained("lora-r8") / "adapter" / "adapter_config.json").read_text())["alora_invocation_tokens"] is None


def test_an_activated_adapter_that_has_lost_its_beginning_is_refused(base, trained, tmp_path):
    """The planted failure: settings that would make it a plain adapter, which changes the instruction too."""
    out = shutil.copytree(trained("alora-r16"), tmp_path / "out")
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    (out / "adapter" / "adapter_config.json").write_text(json.dumps(config | {"alora_invocation_tokens": None}))
    with pytest.raises(UserError, match="is not the one that the adapter was trained with"):
        load_predictor(out, spec_on(base), 1)


def test_an_activated_adapter_needs_text_before_the_input(base):
    with pytest.raises(UserError, match="nothing can stay with the base: the prompt has no text before its input"):
        new_run(base, "alora-r16", system_prompt="", instruction_template="{{ input_text }}\n\nKeys: order, topic, urgent.")


def test_an_activated_adapter_is_not_asked_behind_another_prompt(base):
    with pytest.raises(UserError, match="the prompt that it was trained with alone"):
        new_run(base, "alora-r16").predictor.behind(Prompt("", "Other: ", ""))
