"""Constrained decoding: ours against Transformers `generate` with llguidance, with xgrammar and unconstrained.

    .venv/bin/python -m bench.decode [--repeats 5] [--only 10m] [--device cuda] [--record]

Random Llamas of about 10 M (fp32) and 100 M parameters (bf16, where the device has it), seeded, with the tokenizer of the shipped base;
64 inputs behind one instruction of 200 to 300 tokens; a schema of five fields. Every peer gets all inputs in one batch, fused attention and
the static cache (faster here than eager attention and the growing cache), and stops with the longest answer. Grammars are compiled
beforehand for all; our shared prefix is computed anew in every run. Texts are compared in fp32 with `generate` under the same masks, one
token at a time.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from jsonschema import Draft202012Validator
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessor, LogitsProcessorList

from bench.timing import medians
from pp_assets.training.hardware import has_bf16
from pp_resources.device import described, find_device
from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import CausalPredictor, load_tokenizer
from pp_resources.models.causal_grammar import Grammar
from pp_resources.models.causal_prompt import Prompt

RESULTS = Path(__file__).parent / "RESULTS.md"
SIZES = {
    "10m": {"hidden_size": 320, "intermediate_size": 864, "num_hidden_layers": 7, "num_attention_heads": 5},
    "100m": {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 14, "num_attention_heads": 12},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "team": {"enum": ["billing", "delivery", "returns", "account", "other"]},
        "priority": {"enum": ["low", "normal", "high"]},
        "language": {"enum": ["en", "de", "fr", "es", "pt"]},
        "items": {"type": "integer", "minimum": 0, "maximum": 9999},
        "order_id": {"type": "string", "pattern": "^[A-Z0-9-]{3,8}$"},
    },
    "required": ["team", "priority", "language", "items", "order_id"],
    "additionalProperties": False,
}
INSTRUCTION = f"""Read the customer's message and answer with one line of JSON with these fields:
{json.dumps(SCHEMA["properties"])}
billing: payments and invoices. delivery: parcels on their way. items is 1 when the message does not say how many.
Copy the order id from the message, letter by letter; add nothing else.

Message:
"""
PROMPT = Prompt("You answer with JSON only.", INSTRUCTION, "\n\nJSON:\n")


def messages(count: int) -> list[str]:
    r = random.Random(0)
    things = ["parcel", "invoice", "kettle", "lamp", "refund", "jacket"]
    faults = ["is late", "arrived broken", "was charged twice", "is not what I ordered", "has not been sent yet"]
    ends = ["", " Please help.", " I need it by Friday.", " This is the second time.", " What can you do?"]
    return [
        f"My {r.choice(things)} from order {r.choice('ABCXZ')}{r.randint(10, 9999)} {r.choice(faults)}.{r.choice(ends)}"
        for _ in range(count)
    ]


class MaskByGrammar(LogitsProcessor):  # type: ignore[misc]
    """The usual way to bind `generate` to llguidance: one mask a step."""

    def __init__(self, grammar: Grammar, rows: int) -> None:
        self.grammar, self.matchers, self.begun = grammar, [grammar.start("") for _ in range(rows)], False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.begun:
            for matcher, token in zip(self.matchers, input_ids[:, -1].tolist(), strict=True):
                if not matcher.is_stopped():
                    matcher.consume_token(token)
        self.begun = True
        return scores.masked_fill_(~torch.from_numpy(self.grammar.allowed(self.matchers)).to(scores.device), float("-inf"))


class Setting(NamedTuple):
    """A model with all that the contestants share."""

    model: Any
    ours: CausalPredictor
    texts: list[str]
    ids: torch.Tensor
    mask: torch.Tensor


def setting(size: str, dtype: torch.dtype, count: int, device: torch.device) -> Setting:
    tokenizer = load_tokenizer(find_base(TINY_BASE))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=1, **SIZES[size]
    )
    model = LlamaForCausalLM(config).to(device, dtype).eval()
    texts, ours = messages(count), CausalPredictor("ours", model, tokenizer, SCHEMA, PROMPT, max_new_tokens=80)
    prompts = [ours.encoder.prefix_ids + ours.encoder.suffix_ids(text) for text in texts]
    width = max(map(len, prompts))
    ids = torch.tensor([[1] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = (torch.arange(width) >= torch.tensor([[width - len(p)] for p in prompts])).long()
    return Setting(model, ours, texts, ids.to(device), mask.to(device))


def generate(s: Setting, tokens: int, processor: Callable[[], LogitsProcessor] | None) -> list[str]:
    """Greedy texts of `generate`, at most `tokens` each; without a processor exactly as many."""
    fixed: dict[str, Any] = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 1, "cache_implementation": "static"}
    if processor is None:
        fixed["min_new_tokens"] = tokens
    with torch.inference_mode():
        processors = LogitsProcessorList([processor()] if processor else [])
        made = s.model.generate(input_ids=s.ids, attention_mask=s.mask, logits_processor=processors, **fixed)
    return [str(text) for text in s.ours.tokenizer.batch_decode(made[:, s.ids.shape[1] :], skip_special_tokens=True)]


def ours(s: Setting) -> list[str]:
    s.ours.forget_prefix()
    return [answer.text for answer in s.ours.predict(s.texts)]


def xgrammar_masks(s: Setting) -> Callable[[], LogitsProcessor]:
    import xgrammar
    import xgrammar.contrib.hf

    info = xgrammar.TokenizerInfo.from_huggingface(s.ours.tokenizer, vocab_size=s.model.config.vocab_size)
    compiled = xgrammar.GrammarCompiler(info).compile_json_schema(SCHEMA, any_whitespace=False, separators=(",", ":"))
    return lambda: xgrammar.contrib.hf.LogitsProcessor(compiled)


def contestants(s: Setting) -> dict[str, Callable[[], list[str]]]:
    longest = max(answer.tokens_out for answer in s.ours.predict(s.texts))
    grammar = s.ours.grammar
    assert grammar
    xgrammar = xgrammar_masks(s)
    return {
        "ours": lambda: ours(s),
        "generate, llguidance": lambda: generate(s, longest, lambda: MaskByGrammar(grammar, len(s.texts))),
        "generate, xgrammar": lambda: generate(s, longest, xgrammar),
        "generate, unconstrained": lambda: generate(s, longest, None),
    }


@dataclass
class Counted:
    """A contestant with what its latest run said and how many forward passes it took."""

    model: Any
    call: Callable[[], list[str]]
    passes: int = 0
    texts: list[str] = field(default_factory=list)

    def __call__(self) -> None:
        self.passes = 0
        hook = self.model.register_forward_pre_hook(self._count)
        self.texts = self.call()
        hook.remove()

    def _count(self, *_: Any) -> None:
        self.passes += 1


def valid(texts: list[str]) -> float:
    check = Draft202012Validator(SCHEMA)

    def holds(text: str) -> bool:
        try:
            return bool(check.is_valid(json.loads(text)))
        except ValueError:
            return False

    return sum(map(holds, texts)) / len(texts)


def compare(size: str, dtype: torch.dtype, inputs: int, repeats: int, device: torch.device) -> tuple[list[str], dict[str, float]]:
    """Table rows of one size, and: our speed-up over the fastest peer (in CPU time, on another device by the clock), the share of our
    texts that are valid, the share that `generate` says under the same masks."""
    s = setting(size, dtype, inputs, device)
    calls = {name: Counted(s.model, call) for name, call in contestants(s).items()}
    times = medians(calls, repeats)
    mine, said, parameters = times["ours"], calls["ours"].texts, sum(p.numel() for p in s.model.parameters()) / 1e6
    rows = []
    for name, call in calls.items():
        cpu, wall = times[name]
        shares = f"{valid(call.texts):.2f} | {share_equal(call.texts, said):.2f}"
        ratios = f"{cpu:.2f} | {wall:.2f} | {cpu / mine.cpu:.2f} | {wall / mine.wall:.2f}"
        rows.append(f"| {parameters:.0f} M {str(dtype).removeprefix('torch.')} | {name} | {call.passes} | {ratios} | {shares} |")
    clock = "cpu" if device.type == "cpu" else "wall"
    fastest = min(getattr(times[name], clock) for name in calls if name != "ours")
    equal = share_equal(said, calls["generate, llguidance"].texts) if dtype == torch.float32 else equal_fp32(size, inputs // 8, device)
    return rows, {f"speedup_{clock}_{size}": fastest / getattr(mine, clock), "valid": valid(said), "equal_fp32": equal}


def equal_fp32(size: str, inputs: int, device: torch.device) -> float:
    """Share of our texts that are those of `generate` under the same masks, in fp32, on fewer inputs."""
    s = setting(size, torch.float32, inputs, device)
    return share_equal(ours(s), contestants(s)["generate, llguidance"]())


def share_equal(texts: list[str], others: list[str]) -> float:
    return sum(a == b for a, b in zip(texts, others, strict=True)) / len(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--only", choices=SIZES, help="one size")
    parser.add_argument("--device", default="cpu", help="as PP_DEVICE")
    parser.add_argument("--record", action="store_true", help=f"append the table to {RESULTS.name}")
    args = parser.parse_args()
    device = find_device(args.device)
    transformers.logging.set_verbosity_error()
    heads = ["model", "way", "passes", "CPU s", "wall s", "CPU ratio", "wall ratio", "valid", "same text"]
    table = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    result = {"valid": 1.0, "equal_fp32": 1.0}
    for size in [args.only] if args.only else SIZES:
        dtype = torch.bfloat16 if size == "100m" and has_bf16(device) else torch.float32
        rows, found = compare(size, dtype, args.inputs, args.repeats, device)
        result |= {name: min(value, result.get(name, value)) for name, value in found.items()}
        table += rows
    line = "RESULT " + " ".join(f"{name}={value:.3g}" for name, value in sorted(result.items()))
    print("\n".join(table))
    if args.record:
        place = f"{torch.get_num_threads()} thread, {described(device)}"
        said = f"## bench/decode.py, {date.today()}, {place}, medians of {args.repeats}, {args.inputs} inputs\n\n"
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write("\n" + said + "\n".join(table) + f"\n\n`{line}`\n")
    print(line)


if __name__ == "__main__":
    main()
