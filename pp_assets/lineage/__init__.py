"""Everything that was made for a task as one graph: prompts, data, adapters, evaluations, packages, and what was decided on them."""
