"""Every architecture trains on a shared prefix with the loss and gradients of whole sequences, and answers from what was written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from architectures import architectures, write_architecture
from causal_tiny import examples, spec_on, write_tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BloomConfig, MambaConfig
from transformers.pytorch_utils import Conv1D

from pp_assets.packaging.deploy import PromptText, write_deploy
from pp_assets.task.causal_prompt import prompt_of
from pp_assets.training import causal_attention, loop
from pp_assets.training.causal import CausalRun
from pp_assets.training.causal_batches import SharedPrefix, loss_of
from pp_assets.training.labels import encode_rows
from pp_assets.training.predictors import load_predictor
from pp_assets.training.recipes import RECIPES
from pp_resources.errors import UserError
from pp_resources.models.causal import load_model, load_tokenizer
from pp_resources.models.causal_prompt import PromptEncoder

NAMES = list(architectures(8))


@pytest.mark.parametrize(("chat", "eager_up_to"), [(False, 512), (True, 512), (True, 0)], ids=["plain", "chat", "chat-fused"])
@pytest.mark.parametrize("name", NAMES)
def test_a_shared_prefix_changes_neither_loss_nor_gradients(name, chat, eager_up_to, tmp_path, monkeypatch):
    monkeypatch.setattr(causal_attention, "EAGER_UP_TO", eager_up_to)
    base = write_architecture(tmp_path, name, chat=chat)
    spec, tokenizer, model = spec_on(base), load_tokenizer(base), load_model(base, attention="eager")
    encoder = PromptEncoder(tokenizer, prompt_of(spec))
    rows = encode_rows(spec, encoder, examples(4), 512)
    made = {}
    for shared in (False, True):
        loss, count = loss_of(model, SharedPrefix(encoder.prefix_ids, shared=shared), rows, tokenizer.pad_token_id)
        loss.backward()
        made[shared] = loss.item(), count, {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}
        model.zero_grad()
    assert made[True][0] == pytest.approx(made[False][0], abs=1e-5)
    assert made[True][1] == made[False][1] == sum(len(row.answer) for row in rows)
    for weight, grad in made[False][2].items():
        torch.testing.assert_close(made[True][2][weight], grad, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_is_written_out_and_answers_again_from_the_folder(name, tmp_path):
    _train_and_reload(name, NAMES.index(name) % 2 == 1, "lora-r8", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["lora-r8", "lora-r64-rs", "dora-r16", "alora-r16"])
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_trains_on_it_and_answers_again_from_the_folder(name, chat, recipe, tmp_path):
    _train_and_reload(name, chat, recipe, tmp_path)


def _train_and_reload(name: str, chat: bool, variant: str, folder: Path) -> None:
    base, out, val = write_architecture(folder / "base", name, chat=chat), folder / "out", examples(2, seed=9)
    recipe = RECIPES[variant]
    recipe = replace(recipe, params=replace(recipe.params, r=4, lr=1e-2, epochs=1, batch_size=4))
    spec = spec_on(base)
    run = CausalRun(spec, recipe, examples(8), val, 0, 1)
    assert run.prefix.shared and run.trainable
    loop.train(run, out, work=folder / "work")
    if not recipe.params.activated:
        # Also with the trained adapter, and with the layers that skip what is not asked for.
        run.model.eval()
        shared = loss_of(run.model, run.prefix, run.rows[:4], run.pad_id)[0].item()
        assert shared == pytest.approx(loss_of(run.model, replace(run.prefix, shared=False), run.rows[:4], run.pad_id)[0].item(), abs=2e-5)
    run.predictor.forget_prefix()
    before = [answer.text for answer in run.predictor.predict([e.input_text for e in val])]
    again = load_predictor(out, spec, 1).predict([e.input_text for e in val])
    assert [answer.text for answer in again] == before
    training, config = (json.loads((out / n).read_text()) for n in ("training.json", "adapter/adapter_config.json"))
    assert training["effect"]["max_logit_change"] > 0
    # Every linear layer but the one that gives the logits.
    layers = {n for n, m in load_model(base).named_modules() if isinstance(m, torch.nn.Linear | Conv1D) and n != "lm_head"}
    weights = load_file(out / "adapter" / "adapter_model.safetensors")
    assert {n.partition(".lora_")[0].removeprefix("base_model.model.") for n in weights} == layers
    prompt = PromptText.of(spec, training, out / "tokenizer", base)
    base_config = json.loads((base / "config.json").read_text())
    table = write_deploy(folder / "deploy", spec, training, config, base_config, prompt, val[0].input_text)
    assert next(row for row in table if row["runtime"] == "transformers")["ok"]


@pytest.mark.parametrize(
    ("config", "targets"),
    [
        (BloomConfig(hidden_size=32, n_layer=2, n_head=4), "all-linear"),
        (MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4), r".*\.(in_proj|x_proj)"),
    ],
    ids=["bloom", "mamba"],
)
def test_an_architecture_that_cannot_share_a_prefix_trains_on_whole_rows(config, targets, tmp_path):
    """Positions in the attention's scores; no attention at all."""
    base, out = tmp_path / "base", tmp_path / "out"
    config.vocab_size, config.eos_token_id, config.pad_token_id, config.bos_token_id = len(write_tokenizer(base)), 0, 1, None
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    recipe, spec, val = RECIPES["lora-r8"], spec_on(base), examples(2, seed=9)
    recipe = replace(recipe, params=replace(recipe.params, lr=1e-2, epochs=2, batch_size=4, targets=targets))
    run = CausalRun(spec, recipe, examples(8), val, 0, 1)
    assert not run.prefix.shared
    loop.train(run, out, work=tmp_path / "work")
    record = json.loads((out / "training.json").read_text())
    assert record["attention"] == "sdpa" and record["history"][1]["train_loss"] < record["history"][0]["train_loss"]
    assert all(answer.text for answer in load_predictor(out, spec, 1).predict([e.input_text for e in val]))
    with pytest.raises(UserError, match="nothing can stay with the base: the model cannot share a prefix between rows"):
        CausalRun(spec, RECIPES["alora-r16"], examples(8), val, 0, 1)
