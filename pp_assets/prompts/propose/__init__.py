"""Who makes candidates of a prompt search: each a `Proposer`, each candidate with its origin.

`operators` and `demonstrations` need no model, `variation` works with and without one; `grounded`, `reflection` and `complaints` ask the
model of the ground to write. What may not be tried is not their concern (`pp_assets.prompts.guards`).
"""
