"""Tiny random models of the causal architectures that the product must train, decode, package and reload."""

from pathlib import Path
from typing import Any

import torch
from causal_tiny import write_tokenizer
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)


def architectures(vocab_size: int) -> dict[str, Any]:
    """Name -> configuration: two layers of width 32, four heads on two for keys, a context of 512 tokens.

    Windows slide over 24 tokens, less than any prompt of the tests; Gemma, Qwen and SmolLM3 mix them with full attention, and SmolLM3
    leaves one layer without positions.
    """
    common: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "tie_word_embeddings": True,
        "eos_token_id": 0,
        "pad_token_id": 1,
        "bos_token_id": None,
    }
    mixed = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
    return {
        "llama": LlamaConfig(**common),
        "mistral": MistralConfig(**common, sliding_window=24),
        "qwen2": Qwen2Config(**common, **mixed, use_sliding_window=True),
        "qwen3": Qwen3Config(**common, head_dim=8),
        "gemma2": Gemma2Config(**common, **mixed, head_dim=8, query_pre_attn_scalar=8),
        "gemma3": Gemma3TextConfig(**common, **mixed, head_dim=8, query_pre_attn_scalar=8),
        "phi3": Phi3Config(**common, sliding_window=24),
        "gpt2": GPT2Config(
            vocab_size=vocab_size,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=512,
            initializer_range=0.3,
            eos_token_id=0,
            pad_token_id=1,
            bos_token_id=None,
        ),
        "smollm3": SmolLM3Config(**common, **mixed, use_sliding_window=True, no_rope_layers=[1, 0]),
        "olmo2": Olmo2Config(**common),
        "granite": GraniteConfig(**common, attention_multiplier=0.35, residual_multiplier=0.5, embedding_multiplier=2.0),
    }


def write_architecture(folder: Path, name: str, *, chat: bool = False) -> Path:
    """A base model folder of that architecture, with the tiny tokenizer; `chat` adds a chat template."""
    tokenizer = write_tokenizer(folder, chat=chat)
    torch.manual_seed(0)
    # As in many checkpoints, more rows of logits than tokens.
    AutoModelForCausalLM.from_config(architectures(len(tokenizer) + 8)[name]).save_pretrained(folder)
    return folder
