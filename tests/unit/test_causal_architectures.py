import json

import pytest
import torch
from architectures import architectures, write_architecture
from causal_tiny import INPUTS, OUTPUT, one_at_a_time, write_tokenizer
from jsonschema import Draft202012Validator
from transformers import AutoModelForCausalLM as Model
from transformers import BloomConfig, GptOssConfig, MambaConfig

from pp_resources.errors import UserError
from pp_resources.models.causal import CausalPredictor
from pp_resources.models.causal_plain import shares_prefix
from pp_resources.models.causal_prompt import Prompt

PROMPT = Prompt("Answer with JSON.", "Keys: order, topic, urgent.\n\nMessage: ", "\n\nJSON:")


def check(made, *, shared):
    """Batches of two, the third input waiting: the same text as one token at a time, and valid where it is bound."""
    texts = INPUTS[:3]
    said = made.predict(texts)
    assert [p.text for p in said] == [one_at_a_time(made, text) for text in texts]
    assert [made.predict([text])[0].text for text in texts[1:]] == [p.text for p in said[1:]]
    assert shares_prefix(made.model) is shared
    for answer in said if made.grammar else []:
        Draft202012Validator(OUTPUT).validate(json.loads(answer.text))


@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
@pytest.mark.parametrize("name", architectures(300))
def test_an_architecture_decodes_on_a_shared_prefix_what_it_says_one_token_at_a_time(name, chat, tmp_path):
    made = CausalPredictor.from_base("x", write_architecture(tmp_path, name, chat=chat), OUTPUT, PROMPT, max_new_tokens=60, batch_size=2)
    attention = made.model.config._attn_implementation
    check(made, shared=True)
    assert made.model.config._attn_implementation == attention
    check(CausalPredictor("x", made.model, made.tokenizer, OUTPUT, PROMPT, constrained=False, max_new_tokens=8, batch_size=2), shared=True)


# Recurrent; positions in the attention scores; a softmax with a sink.
ODD = {
    "mamba": MambaConfig(hidden_size=32, num_hidden_layers=2, state_size=4),
    "bloom": BloomConfig(hidden_size=32, n_layer=2, n_head=4),
    "gpt-oss": GptOssConfig(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=2,
        num_experts_per_tok=1,
        sliding_window=24,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_an_architecture_that_cannot_share_a_prefix_is_run_its_own_way(name, tmp_path):
    tokenizer = write_tokenizer(tmp_path)
    torch.manual_seed(0)
    config = ODD[name]
    config.vocab_size, config.eos_token_id, config.pad_token_id, config.bos_token_id = len(tokenizer), 0, 1, None
    config.initializer_range = 0.3
    model = Model.from_config(config).eval()
    made = CausalPredictor("x", model, tokenizer, OUTPUT, PROMPT, max_new_tokens=60)
    check(made, shared=False)
    with pytest.raises(UserError, match="x: distributions need an architecture that can share a prefix"):
        made.predict(INPUTS, distributions=True)
    check(CausalPredictor("x", model, tokenizer, OUTPUT, PROMPT, constrained=False, max_new_tokens=8), shared=False)
