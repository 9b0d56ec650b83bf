"""A causal model small enough to train in a second, with a tokenizer trained on the spot."""

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, parse_spec

OUTPUT = {
    "type": "object",
    "properties": {
        "order": {"type": ["string", "null"], "x-verbatim": True, "maxLength": 12},
        "topic": {"type": "string", "enum": ["bill", "parcel", "other"]},
        "urgent": {"type": "boolean"},
    },
    "required": ["order", "topic", "urgent"],
    "additionalProperties": False,
}
INPUTS = [
    "My parcel A12 is late.",
    "The bill is wrong, please look at it today!",
    "Hello",
    "Where is B7? I need it now, it was meant for Monday.",
]
CHAT = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<end>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"


def write_tokenizer(folder: Path, *, chat: bool = False, start: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of about 300 tokens; `chat` adds a chat template, `start` has it write a start token."""
    words = ["bill", "parcel", "other", "urgent", "order", "topic", "true", "false", "null", *INPUTS]
    words += [json.dumps({"a": text}) for text in INPUTS]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=["<end>", "<pad>", "<start>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(words * 3, trainer)
    if start:
        from tokenizers.processors import TemplateProcessing

        bpe.post_processor = TemplateProcessing(single="<start> $A", special_tokens=[("<start>", 2)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", pad_token="<pad>", bos_token="<start>" if start else None)
    if chat:
        tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_tiny_base(folder: Path, *, chat: bool = False, start: bool = False, layers: int = 1) -> Path:
    """A random Llama with a context of 512 tokens; `chat` adds a chat template, `start` a tokenizer that writes a start token."""
    tokenizer = write_tokenizer(folder, chat=chat, start=start)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 8,  # as in many checkpoints: more rows of logits than tokens
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=0,
        pad_token_id=1,
        bos_token_id=2 if start else None,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def one_at_a_time(made: Any, text: str) -> str:
    """What a CausalPredictor should say, in the plainest way: the whole sequence anew for every token, one input at a time."""
    ids, answer = made.encoder.prefix_ids + made.encoder.suffix_ids(text), []
    matcher = made.grammar.start(text) if made.grammar else None
    with torch.inference_mode():
        while len(answer) < made.max_new_tokens:
            logits = made.model(input_ids=torch.tensor([ids + answer]), use_cache=False).logits[0, -1]
            if matcher:
                logits = logits[: made.grammar.vocab_size].masked_fill(~torch.from_numpy(made.grammar.allowed([matcher])[0]), -torch.inf)
            token = int(logits.argmax())
            if token == made.tokenizer.eos_token_id:
                break
            answer.append(token)
            if matcher:
                matcher.consume_token(token)
                if matcher.is_stopped():
                    break
    return str(made.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def spec_on(base: Path | str, **changes: Any) -> TaskSpec:
    raw: dict[str, Any] = {
        "name": "tiny",
        "base_model_id": str(base),
        "system_prompt": "Answer with JSON.",
        "instruction_template": "Keys: order, topic, urgent.\n\nMessage: {{ input_text }}\n\nJSON:",
        "io_schema": {"output": OUTPUT},
    }
    return parse_spec(raw | changes, "test")


def examples(count: int, seed: int = 0) -> list[Example]:
    r = random.Random(seed)
    made = []
    for i in range(count):
        order = r.choice([None, f"{r.choice('ABC')}{r.randint(1, 99)}"])
        topic, urgent = r.choice(["bill", "parcel", "other"]), r.random() < 0.5
        text = f"{r.choice(['My', 'The'])} {topic} {order or ''} is {r.choice(['late', 'wrong'])}{', I need it now' if urgent else ''}."
        made.append(Example(f"row-{seed}-{i}", text, {"order": order, "topic": topic, "urgent": urgent}))
    return made
