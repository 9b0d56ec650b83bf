"""What a causal model will be trained on, checked before the first step: the silent failures of fine-tuning are all visible here."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError
from pp_resources.json_schema import dump_output
from pp_resources.models.causal_grammar import Grammar
from pp_resources.models.causal_prompt import PromptEncoder, token_budget
from pp_resources.progress import steps


@dataclass(frozen=True)
class Row:
    """Token ids of one example: the prompt after the shared prefix, and the answer with its end token (the only trained tokens)."""

    item_id: str
    suffix: list[int]
    answer: list[int]

    @property
    def length(self) -> int:
        return len(self.suffix) + len(self.answer)


@dataclass(frozen=True)
class LabelReport:
    """Counts over the training rows, in tokens. `trained_share` is of all tokens of the rows, the shared prefix counted in every row."""

    rows: int
    prefix_tokens: int
    trained_tokens: int
    trained_share: float
    longest_row: int
    longest_answer: int
    max_new_tokens: int
    end_token_rows: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def encode_rows(spec: TaskSpec, encoder: PromptEncoder, examples: Sequence[Example], context: int) -> list[Row]:
    """Token ids of every example. Raises UserError naming rows that do not fit the context, that the tokenizer cannot write, or
    that have nothing to train on."""
    rows = []
    too_long, unwritable, empty, endless = [], [], [], []
    for example in examples:
        answer = dump_output(spec.io_schema.output, example.output)
        row = Row(example.item_id, encoder.suffix_ids(example.input_text), encoder.completion_ids(answer))
        rows.append(row)
        if len(encoder.prefix_ids) + row.length > context:
            too_long.append(row.item_id)
        elif row.answer[-1:] != [encoder.tokenizer.eos_token_id]:
            endless.append(row.item_id)
        elif len(row.answer) < 2:
            empty.append(row.item_id)
        elif encoder.tokenizer.decode(row.answer[:-1], clean_up_tokenization_spaces=False).strip() != answer:
            unwritable.append(row.item_id)
    _refuse(
        too_long,
        f"do not fit the model's context of {context} tokens and would be cut",
        "shorten them, lower limits.max_input_chars, or use another base",
    )
    _refuse(
        endless, "do not end in the end token, so that answers would never stop", "use a tokenizer whose eos_token is a token of its own"
    )
    _refuse(empty, "have no trained token before the end token", "give every row an output")
    _refuse(unwritable, "hold text that the base model's tokenizer cannot write", "use a base with a byte-level tokenizer")
    return rows


def refuse_outside_grammar(grammar: Grammar, rows: Sequence[Row], examples: Sequence[Example]) -> None:
    """Raise UserError naming the rows whose answer constrained decoding could never give: they would be trained on in vain. `examples`
    are what the rows were made of."""
    outside = []
    with steps("audit", len(rows)) as advance:  # milliseconds a row where each has a grammar of its own
        for row, example in zip(rows, examples, strict=True):
            if not grammar.accepts(row.answer, example.input_text):
                outside.append(row.item_id)
            advance("")
    _refuse(
        outside,
        "have an output that constrained decoding could never give",
        "mend the rows or the output schema, or set decoding.constrained to false",
    )


def label_report(encoder: PromptEncoder, rows: Sequence[Row]) -> LabelReport:
    """The report on encoded rows; no rows at all is a UserError."""
    if not rows:
        raise UserError("there is no row to train on", where="training split", how="add data or change eval_split.ratios")
    prefix = len(encoder.prefix_ids)
    trained = sum(len(row.answer) for row in rows)
    return LabelReport(
        rows=len(rows),
        prefix_tokens=prefix,
        trained_tokens=trained,
        trained_share=trained / sum(prefix + row.length for row in rows),
        longest_row=prefix + max(row.length for row in rows),
        longest_answer=max(len(row.answer) for row in rows),
        max_new_tokens=token_budget([len(row.answer) for row in rows]),
        end_token_rows=sum(row.answer[-1] == encoder.tokenizer.eos_token_id for row in rows),
    )


def _refuse(items: list[str], what: str, how: str) -> None:
    if items:
        named = ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
        raise UserError(f"{len(items)} training rows {what}: {named}", where="training split", how=how)
