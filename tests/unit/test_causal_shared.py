"""Several adapters on one causal model in memory."""

import shutil

import pytest
from causal_tiny import INPUTS, OUTPUT, spec_on, write_tiny_base
from peft import LoraConfig, get_peft_model

from pp_assets.task.causal_prompt import prompt_of
from pp_resources.errors import UserError
from pp_resources.models.causal import CausalPredictor, load_model, load_tokenizer
from pp_resources.models.causal_shared import SharedCausal

OPTIONS = {"max_new_tokens": 40}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_tiny_base(tmp_path_factory.mktemp("base"), layers=2)


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Adapters with random weights, one of another rank, one that an activation begins."""
    import torch

    found = {}
    for seed, rank in ((1, 4), (2, 8)):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        folder = tmp_path_factory.mktemp(f"adapter{seed}")
        get_peft_model(load_model(base), config).save_pretrained(folder)
        found[f"a{seed}"] = folder
    return found


def prompt(base):
    return prompt_of(spec_on(base))


def said(predictor):
    return [(p.text, pytest.approx(p.confidence, rel=1e-3)) for p in predictor.predict(INPUTS)]


def test_each_answers_as_it_does_alone_whichever_was_asked_before(base, adapters):
    shared, asked = SharedCausal(base), prompt(base)
    bare = shared.bare("bare", OUTPUT, asked, **OPTIONS)
    first = said(bare)
    assert first == said(CausalPredictor.from_base("bare", base, OUTPUT, asked, **OPTIONS))
    made = {name: shared.add(name, folder, OUTPUT, asked, tokenizer=base, **OPTIONS) for name, folder in adapters.items()}
    alone = {name: said(CausalPredictor.from_adapter(name, base, folder, OUTPUT, asked, **OPTIONS)) for name, folder in adapters.items()}
    assert len({str([text for text, _ in answers]) for answers in (first, *alone.values())}) > 1
    for name in ("a1", "a2", "a1"):
        assert said(made[name]) == alone[name] and said(bare) == first
    made["a1"].unload()
    assert said(made["a2"]) == alone["a2"] and said(bare) == first
    assert said(shared.add("again", adapters["a1"], OUTPUT, asked, tokenizer=base, **OPTIONS)) == alone["a1"]


def test_the_base_weights_are_in_memory_once(base, adapters):
    shared, asked = SharedCausal(base), prompt(base)
    before = {p.data_ptr() for p in shared.base.parameters()}
    for name, folder in adapters.items():
        shared.add(name, folder, OUTPUT, asked, tokenizer=base)
    after = {p.data_ptr() for name, p in shared.base.named_parameters() if "lora_" not in name}
    assert after == before and not any(p.requires_grad for name, p in shared.base.named_parameters() if "lora_" in name)


def test_an_adapter_of_another_base_is_refused(base, adapters, tmp_path):
    other = write_tiny_base(tmp_path / "other", layers=1)
    with pytest.raises(UserError, match="does not fit the base"):
        SharedCausal(other).add("x", adapters["a1"], OUTPUT, prompt(other), tokenizer=base)
    begun = shutil.copytree(adapters["a1"], tmp_path / "begun")
    file = begun / "adapter_config.json"
    file.write_text(file.read_text().replace('"r": 4', '"alora_invocation_tokens": [5, 6], "r": 4'))
    with pytest.raises(UserError, match="begins at other tokens"):
        SharedCausal(base).add("x", begun, OUTPUT, prompt(base), tokenizer=base)
    assert load_tokenizer(base).eos_token_id is not None
