"""Prompt engineering: searches of wordings, reasoning and examples, each under one gate."""

from pp_assets.pipelines import prompt_cot, prompt_fewshot, prompt_iterative
from pp_assets.pipelines.entry import Entry

ENTRIES: tuple[Entry, ...] = (prompt_iterative.ENTRY, prompt_cot.ENTRY, prompt_fewshot.ENTRY)
