"""One system's rows, read and counted: what every metric and every test starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from pp_assets.evaluation.outputs import Answer, OutputReader
from pp_assets.evaluation.predictions import PredictionRow
from pp_assets.evaluation.stats.groups import Clusters, generator
from pp_assets.evaluation.stats.resampling import bootstrap_weights
from pp_assets.evaluation.tables import Table, lower_is_better, metric_tables
from pp_assets.task.spec import default_compare
from pp_resources.errors import UserError, nearest
from pp_resources.json_schema import Field, leaf_fields

BLOCKS = 4000
UNPAIRED = ("latency_ms_p50", "latency_ms_p95")  # quantiles, which have an interval but no paired test


@dataclass(frozen=True)
class Scoring:
    """What a TaskSpec says about scoring. `Scoring.of` takes a TaskSpec, its dict (`model_dump`), a Task or a Scoring."""

    task: str
    seed: int
    schema: Mapping[str, Any]
    compare: Mapping[str, str]
    primary: str
    higher_is_better: bool
    alpha: float
    min_effect: float
    gates: tuple[Mapping[str, Any], ...]
    rules: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Any) -> "Scoring":
        if isinstance(spec, cls):
            return spec
        inner = getattr(spec, "spec", spec)
        raw: Mapping[str, Any] = inner if isinstance(inner, Mapping) else inner.model_dump(mode="json")
        schema = raw["io_schema"]["output"]
        primary = raw.get("primary_metric") or {}
        rules = {path: (rule or {}).get("compare") for path, rule in ((raw.get("rubric") or {}).get("fields") or {}).items()}
        return cls(
            task=raw["name"],
            seed=int(raw.get("seed") or 0),
            schema=schema,
            compare={f.path: rules.get(f.path) or default_compare(f) for f in leaf_fields(schema)},
            primary=primary.get("name", "object_exact_match"),
            higher_is_better=bool(primary.get("higher_is_better", True)),
            alpha=float(primary.get("alpha", 0.05)),
            min_effect=float(primary.get("min_effect", 0.0)),
            gates=tuple(raw.get("gates") or ()),
            rules=raw.get("validation_rules") or {},
        )


@dataclass(frozen=True)
class Scored:
    """One system's rows in the order of their ids, read and counted."""

    scoring: Scoring
    rows: tuple[PredictionRow, ...]
    answers: tuple[Answer, ...]
    expected: tuple[Answer, ...]
    tables: Mapping[str, Table]
    fields: Sequence[Field]

    @cached_property
    def clusters(self) -> Clusters:
        return Clusters.of([row.group for row in self.rows])

    @cached_property
    def blocks(self) -> Clusters:
        """What is resampled: the groups, pooled where they are more than BLOCKS, which bounds the memory and changes no expectation."""
        return self.clusters.pooled(BLOCKS)

    @property
    def weights(self) -> np.ndarray:
        """Bootstrap weights (resamples, blocks)."""
        return resampling_weights(self.blocks.count, self.scoring.seed)

    @cached_property
    def exact(self) -> np.ndarray:
        """Whole-object match per item, bool."""
        return self.tables["object_exact_match"].counts[:, 0] > 0


def score_rows(spec: Any, rows: Sequence[PredictionRow], reader: OutputReader | None = None) -> Scored:
    """Read and count one system's rows. A `reader` shared between systems reads equal outputs once.

    Raises UserError for no rows, an item given twice, an expected output that breaks the schema, or a primary metric that is none.
    """
    scoring = Scoring.of(spec)
    check_primary(scoring)
    ordered = sorted(rows, key=lambda row: row.item_id)
    if not ordered:
        raise UserError("no predictions to score", where=scoring.task, how="the test split must have items")
    for a, b in pairwise(ordered):
        if a.item_id == b.item_id:
            raise UserError(f"item {a.item_id!r} was answered twice", where=scoring.task, how="keep one prediction an item")
    reader = reader or OutputReader(scoring.schema, scoring.compare)
    answers = [reader.read(row.output) for row in ordered]
    expected = [reader.expected(row.expected, f"{scoring.task}, item {row.item_id}") for row in ordered]
    tables = metric_tables(ordered, answers, expected, reader.fields)
    return Scored(scoring, tuple(ordered), tuple(answers), tuple(expected), tables, reader.fields)


@lru_cache(maxsize=1)
def resampling_weights(blocks: int, seed: int) -> np.ndarray:
    """Bootstrap weights (resamples, blocks): the same draws for every system that answered the same items."""
    weights = bootstrap_weights(blocks, generator(seed, "bootstrap"))
    weights.setflags(write=False)
    return weights


def metric_names(output_schema: Mapping[str, Any]) -> list[str]:
    """Every metric that a task with this output schema has: what gates and the primary metric may name."""
    whole = ["object_exact_match", "field_exact_mean", "value_f1", "json_valid_rate", "schema_valid_rate", "valid_but_wrong_rate"]
    whole += ["forbidden_keys_rate", "out_of_enum_rate", "not_in_input_rate", "length_stop_rate"]
    whole += ["latency_ms_mean", "latency_ms_p50", "latency_ms_p95", "tokens_per_s"]
    return whole + [f"{kind}.{leaf.path}" for leaf in leaf_fields(output_schema) for kind in ("field_exact", "field_f1")]


def check_primary(spec: Any) -> None:
    """Raise UserError when systems cannot be compared by the spec's primary metric, or when it says the wrong direction."""
    scoring = Scoring.of(spec)
    where = f"{scoring.task}: primary_metric"
    known = [name for name in metric_names(scoring.schema) if name not in UNPAIRED]
    if scoring.primary not in known:
        raise UserError(f"systems cannot be compared by {scoring.primary!r}", where=f"{where}.name", how=nearest(scoring.primary, known))
    if scoring.higher_is_better == lower_is_better(scoring.primary):
        less = "less" if lower_is_better(scoring.primary) else "more"
        raise UserError(f"{less} of {scoring.primary} is better", where=f"{where}.higher_is_better", how="correct it")
