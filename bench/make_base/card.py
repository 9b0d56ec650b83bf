"""Writes the model card and licence of the base from what was run and measured."""

import shutil
from pathlib import Path
from typing import Any

from bench.make_base import dialogues, texts
from bench.make_base.families import VARIANT
from pp_assets.evaluation.stats.intervals import wilson

SHIPPED = Path(__file__).resolve().parents[2] / "pp_resources" / "models" / "tiny_base"
# Weights that the first stage gave before, by their digest: a run that starts from them says where they are described.
KNOWN_STARTS = {
    "d593f79a24170734df0328c6616af0a7fdbac9aff464b7116bc9933c0889221a": "the base shipped before: seed 1, 14.1 M tokens, "
    "3660 steps, 73 minutes, bf16 autocast; its card is in the history of this file"
}
SETS = {
    "seen_kinds": "kinds of values seen in training, new examples",
    "unseen_kinds": "kinds of values never seen (badge, licence plate, species, dish), with sentences never seen",
    "unseen_nouns": "any noun as a key, or labels among nouns: nouns never seen",
}


def write_card(folder: Path, run: dict[str, Any], log: list[dict[str, Any]]) -> None:
    """``README.md`` and ``LICENSE`` in `folder`; every number is from `run` and `log`."""
    first, second = run["scores"]["first"], run["scores"]["second"]
    rows = "\n".join(
        f"| {SETS[name]} | {stage} | {found[name]['n']} | {share(found[name], 'valid')} | {share(found[name], 'exact')} | "
        f"{share(found[name], 'copied', 'strings')} | {share(found[name], 'chosen', 'choices')} |"
        for name in SETS
        for stage, found in (("first stage", first["rows"]), ("this base", second["rows"]))
    )
    services = "\n".join(
        f"| {name.replace('_', ' ')} | {stage} | {when}, {how} | {counts['n']} | {share(counts, 'valid')} | {share(counts, 'exact')} | "
        f"{share(counts, 'copied', 'strings')} |"
        for name in first["services"]
        for stage, scores in (("first stage", first), ("this base", second))
        for when in ("before", "after")
        for how, counts in scores["services"][name][when].items()
    )
    curve = "\n".join(
        f"| {e['tokens'] / 1e6:.1f} M | {e['loss']:.3f} | " + " | ".join(share(e[name], "copied", "strings", False) for name in SETS) + " |"
        for e in log
    )
    known = KNOWN_STARTS.get(run["start_sha256"], "given with `--start`")
    trained = next(iter(second["services"].values()))
    sources = {**texts.SOURCES, dialogues.SOURCE[0]: dialogues.SOURCE[1:]}
    (folder / "README.md").write_text(
        CARD.format(
            rows=rows,
            services=services,
            curve=curve,
            variant=VARIANT,
            trained=trained,
            sources="\n".join(f"| {name} | {licence} | {what} |" for name, (licence, what) in sources.items()),
            digests="\n".join(f"| {name} | `{sha}` |" for name, sha in run["corpus"].items()),
            start=staged(run["first"]) if run["first"] else f"weights with SHA-256 `{run['start_sha256']}` ({known})",
            second=staged(run["second"]),
            plan=run["second"]["plan"],
            texts=run["texts"],
            torch=run["second"]["torch"],
        ),
        "utf-8",
    )
    if folder.resolve() != SHIPPED.resolve():
        shutil.copyfile(SHIPPED / "LICENSE", folder / "LICENSE")


def share(counts: dict[str, int], hits: str, of: str = "n", interval: bool = True) -> str:
    """A share with its 95 % Wilson interval; a dash when there is nothing to count."""
    if not counts[of]:
        return "-"
    low, high = wilson(counts[hits], counts[of])
    return f"{counts[hits] / counts[of]:.3f}" + (f" [{low:.3f}, {high:.3f}]" if interval else "")


def staged(run: dict[str, Any]) -> str:
    plan = run["plan"]
    return (
        f"seed {plan['seed']}; {run['tokens'] / 1e6:.1f} M tokens in {run['step']} steps of at most {plan['batch']} examples, "
        f"{run['wall_s'] / 60:.0f} minutes of wall time on {plan['threads']} thread(s) of a shared processor, bf16 autocast {run['bf16']}; "
        f"Muon (lr {plan['muon_lr']}) on matrices, AdamW (lr {plan['adam_lr']}) on the rest, linear decay from {plan['decay_from']:.0%} of "
        f"the run; ended by the {run['ended_by']} budget"
        + (f", bounded by {plan['minutes']:.0f} minutes of which the decay took account" if plan["minutes"] else "")
    )


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
from the input into it: those that stand beside the key's word. It is the base on which PromptPrecision trains LoRA adapters where no
larger model can be had: for tests, demonstrations and plain extraction.

**What it is not.** It has no knowledge of the world and little of English: it finds a value by the words of its key, not by their
meaning, unseen wordings of a topic are near chance until an adapter has seen their like, and copying is far from reliable (below). Use a
larger base for anything that needs language understanding.

## Measured
Computed in fp32 from the fp16 weights shipped here, beside the weights after the first stage alone. Shares with 95 % Wilson intervals, as
if rows and strings were independent. *Exact* is the whole object, *copied* the share of verbatim strings that are right, *chosen* that of
strings that do not stand in the input: mostly labels.

Free greedy decoding, no grammar, generated tasks that training never drew:

| tasks | weights | n | valid JSON | exact | copied | chosen |
| --- | --- | --- | --- | --- | --- | --- |
{rows}

Two services of Schema-Guided Dialogue that no training saw (no turn of any dialogue in which they occur): single turns that say at least
two fields, as a task with a fixed schema. *Before* is the base alone, *after* is `{variant}` of the product's trainer on
{trained[train]} rows ({trained[val]} more choose the epoch), one seed; no dialogue has rows in two splits. *Constrained* is bound to the
schema. Every turn says something, so an answer of nulls alone is never exact.

| service | weights | answers | n | valid | exact | copied |
| --- | --- | --- | --- | --- | --- | --- |
{services}

## How it was made
`make base CORPUS=folder` runs `bench/make_base`, in two stages.

1. A generator draws instruction tasks (keys, kinds of values, labels, distracting sentences, typos) from word lists written for it. The
   first two layers start with heads that look back and heads that copy (`heads.py` says why and how). Here: {start}.
2. A mixture of real rows, of tasks in which any noun may be a key and any string its value, with sentences of natural text around them,
   and of tasks of the first stage (`mix.py` has the shares). {texts[nouns]:,} nouns, {texts[sentences]:,} sentences, {texts[rows]:,} real
   rows. Here: {second}.

Loss on the answer and on {plan[input_share]:.0%} of the prompt tokens at weight {plan[input_weight]}. torch {torch}. A stage that
the clock bounded does not give the same bytes again.

| tokens of stage 2 | loss on answers | copied: seen kinds | unseen kinds | unseen nouns |
| --- | --- | --- | --- | --- |
{curve}

(the curve: 32 tasks each that are also among the measured ones; nothing was chosen by it)

Tokenizer: byte-level BPE in which spaces, line ends and digits are tokens of their own, so that a word has the same pieces wherever it
stands and copying it is copying its tokens.

Prompt: any text that ends in a line end; the answer follows, then `<|end|>`.

## Text that it was trained on, and licences
The weights and the recipe are the project's own work under Apache-2.0 as far as that work goes. The second stage read the texts below;
each stands under its own licence, and none of them is part of this folder. One of them, Schema-Guided Dialogue, is CC BY-SA 4.0: whoever
holds that weights are adapted material of their training text must pass these weights on under CC BY-SA 4.0, with this notice. The first
stage alone read no text from elsewhere.

| source | licence | what |
| --- | --- | --- |
{sources}

The files, for `--corpus`:

| file | SHA-256 |
| --- | --- |
{digests}
"""
