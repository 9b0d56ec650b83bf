"""Writes the model card and licence of the base from what was run and measured."""

import shutil
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parents[2] / "pp_resources" / "models" / "tiny_base"


def write_card(folder: Path, run: dict[str, Any], log: list[dict[str, Any]]) -> None:
    """``README.md`` and ``LICENSE`` in `folder`; every number is from `run` and `log`."""
    plan, scores = run["plan"], run["held_out"]
    rows = "\n".join(
        f"| {name} | {s['n']} | {s['valid']:.3f} | {s['exact']:.3f} | {s['copied']:.3f} (n {s['strings']}) |"
        for name, s in (
            ("kinds of values seen in training, new examples", scores["seen_kinds"]),
            ("kinds of values never seen in training", scores["unseen_kinds"]),
        )
    )
    curve = "\n".join(
        f"| {e['seen'] / 1e6:.1f} M | {e['loss']:.3f} | {e['valid']:.2f} | {e['exact']:.2f} | {e['copied']:.2f} |" for e in log
    )
    (folder / "README.md").write_text(
        CARD.format(rows=rows, curve=curve, run=run, plan=plan, tokens=run["tokens"] / 1e6, minutes=run["wall_s"] / 60)
    )
    if folder.resolve() != SHIPPED.resolve():
        shutil.copyfile(SHIPPED / "LICENSE", folder / "LICENSE")


CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [json, extraction]
---
# promptprecision/tiny-base

A decoder of 4.26 million parameters (Llama architecture, {plan[layers]} layers, width {plan[hidden]}, {plan[heads]} heads, vocabulary
{plan[vocab]}) that was trained on two things: to answer with compact JSON that has the keys an instruction names, and to copy strings
from the input into it. It is the base on which PromptPrecision trains LoRA adapters where no larger model can be had: for tests,
demonstrations and plain extraction.

**What it is not.** It has no knowledge of the world and little of English: unseen wordings of a topic are near chance until an adapter
has seen their like, it invents labels that an instruction merely lists, and copying is far from reliable, least of all for kinds of
values that it never saw (below). Use a larger base for anything that needs language understanding.

## Measured
Free greedy decoding, no grammar, computed in fp32 from the fp16 weights shipped here, on generated tasks that training never drew.
*Exact* is the whole object, *copied* the share of verbatim strings that are right.

| tasks | n | valid JSON | exact | copied |
| --- | --- | --- | --- | --- |
{rows}

## How it was made
`make base` runs `bench/make_base`: a generator draws instruction tasks (keys, kinds of values, labels, distracting sentences, typos)
from word lists written for it; no data set and no text from elsewhere is used. Seed {plan[seed]}; {tokens:.1f} M tokens in
{run[step]} steps of at most {plan[batch]} examples, {minutes:.0f} minutes of wall time on {plan[threads]} thread(s) of a shared
processor, bf16 autocast {run[bf16]}; ended by the {run[ended_by]} budget (ended by the clock, the recipe does not give the same bytes
again). The first two layers start with heads that look back and heads that copy (`heads.py` says why and how). Muon
(lr {plan[muon_lr]}) on matrices, AdamW (lr {plan[adam_lr]}) on the rest, linear decay from {plan[decay_from]:.0%} of the
run; key-and-value copy drills make up {plan[drill_start]:.0%} of the examples at first, {plan[drill_end]:.0%} from
{plan[drill_until]:.0%} of the run on; loss on the answer and
on {plan[input_share]:.0%} of the prompt tokens at weight {plan[input_weight]}. torch {run[torch]}.

| tokens | loss on answers | valid | exact | copied |
| --- | --- | --- | --- | --- |
{curve}

(the curve: 32 held-out tasks each, free greedy; the loss of the first rows is mostly that of the easier drills)

Tokenizer: byte-level BPE in which spaces, line ends and digits are tokens of their own, so that a word has the same pieces wherever it
stands and copying it is copying its tokens.

Prompt: any text that ends in a line end; the answer follows, then `<|end|>`.
"""
