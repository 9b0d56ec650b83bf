"""Prompt engineering: searches of wordings, reasoning and examples, each under one gate."""

from pp_assets.pipelines.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
