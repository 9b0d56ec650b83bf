"""What a user should know about a data set, collected while it is written: counts, duplicates, contradictions, leakage, classes."""

from collections import Counter
from typing import Any

import numpy as np
import orjson

from pp_assets.task.grouping import DUPLICATE, OVERLAP, Plan, contradictions, leakage
from pp_assets.task.scan import Facts
from pp_assets.task.spec import TaskSpec
from pp_assets.task.splits import SPLITS
from pp_resources.json_schema import get_path, leaf_fields

SHOWN = 50
FEW_TEST_ROWS = 30


class ReportBuilder:
    """`add` takes each row once, as it is written; `finish` gives report.json."""

    def __init__(self, spec: TaskSpec, facts: Facts, plan: Plan) -> None:
        self._spec, self._facts, self._plan = spec, facts, plan
        leaves = [f for f in leaf_fields(spec.output_schema) if f.kind in ("enum", "boolean", "array_enum")]
        self._fields = {f.path: list(f.values) or [False, True] for f in leaves}
        self._classes: dict[str, dict[str, Counter[str]]] = {path: {split: Counter() for split in SPLITS} for path in self._fields}
        self._contradictions = contradictions(plan, facts)
        self._edges = sorted(plan.edges, key=lambda edge: -edge.similarity)[:SHOWN]
        rows = [row for part in self._contradictions[:SHOWN] for row in part.tolist()]
        rows += [row for edge in self._edges for row in (edge.a, edge.b)]
        self._wanted, self._seen = set(rows), dict[int, tuple[str, str]]()

    def add(self, row: int, input_text: str, output_json: str) -> None:
        """Count one kept row."""
        if row in self._wanted:
            self._seen[row] = (input_text, output_json)
        if not self._fields:
            return
        output, split = orjson.loads(output_json), SPLITS[self._plan.code[row]]
        for path, counts in self._classes.items():
            value = get_path(output, path)
            for one in value if isinstance(value, list) else [value]:
                counts[split][_name(one)] += 1

    def finish(self, item_ids: np.ndarray) -> dict[str, Any]:
        """The report; `item_ids` (uint64) are the final ids by row."""
        facts, plan, tally = self._facts, self._plan, self._facts.tally
        kept = plan.code >= 0
        by_split = {split: int((plan.code == i).sum()) for i, split in enumerate(SPLITS)}
        repeated, overlapping = int((plan.code == DUPLICATE).sum()), int((plan.code == OVERLAP).sum())
        quarantine = dict(tally.rejected) | {k: v for k, v in (("duplicate", repeated), ("evaluation_overlap", overlapping)) if v}
        _, near_sizes = np.unique(plan.near[kept], return_counts=True)
        groups, group_sizes = np.unique(plan.group[kept], return_counts=True)
        chars = facts.chars[kept]
        report = {
            "report_version": 1,
            "task": self._spec.name,
            "split": self._spec.eval_split.model_dump(mode="json"),
            "rows": {"read": tally.read, "blank": tally.blank, "kept": int(kept.sum()), **by_split},
            "quarantine": {"lines": sum(quarantine.values()), "by_code": quarantine},
            "groups": {"count": len(groups), "largest": int(group_sizes.max(initial=0))},
            "exact_duplicates": {"removed": repeated, "kept_in_given_splits": int((plan.occurrence > 0).sum())},
            "near_duplicates": {
                "threshold": self._spec.eval_split.near_duplicate_threshold,
                "pairs": len(plan.edges),
                "disturbed_pairs": sum(edge.similarity < self._spec.eval_split.near_duplicate_threshold for edge in plan.edges),
                "groups": int((near_sizes > 1).sum()),
                "rows": int(near_sizes[near_sizes > 1].sum()),
                "largest_group": int(near_sizes.max(initial=0)),
                "coarse_buckets": plan.coarse_buckets,
                "closest": [self._pair(edge.a, edge.b, edge.similarity, item_ids) for edge in self._edges],
            },
            "contradictions": {
                "inputs": len(self._contradictions),
                "rows": sum(map(len, self._contradictions)),
                "first": [self._contradiction(part, item_ids) for part in self._contradictions[:SHOWN]],
            },
            "leakage": {pair: {kind: _ids(item_ids[rows]) for kind, rows in kinds.items()} for pair, kinds in leakage(plan, facts).items()},
            "input_chars": {"p50": _quantile(chars, 0.5), "p95": _quantile(chars, 0.95), "max": int(chars.max(initial=0))},
            "classes": {path: self._class_table(path) for path in self._fields},
        }
        return report | {"warnings": self._warnings(report)}

    def _pair(self, a: int, b: int, similarity: float, item_ids: np.ndarray) -> dict[str, Any]:
        rows = [row for row in (a, b) if row in self._seen]
        return {
            "similarity": round(similarity, 4),
            "item_ids": [hex16(item_ids[row]) for row in (a, b)],
            "places": [self._facts.place(row) for row in (a, b)],
            "inputs": [self._seen[row][0][:200] for row in rows],
        }

    def _contradiction(self, rows: np.ndarray, item_ids: np.ndarray) -> dict[str, Any]:
        shown = rows.tolist()[:SHOWN]
        return {
            "input_text": self._seen[shown[0]][0][:200],
            "item_ids": [hex16(item_ids[row]) for row in shown],
            "places": [self._facts.place(row) for row in shown],
            "outputs": sorted({self._seen[row][1] for row in shown}),
        }

    def _class_table(self, path: str) -> dict[str, dict[str, int]]:
        seen = {value for counts in self._classes[path].values() for value in counts}
        names = [_name(value) for value in self._fields[path]]
        names += sorted(seen - set(names))
        return {name: {split: self._classes[path][split][name] for split in SPLITS} for name in names}

    def _warnings(self, report: dict[str, Any]) -> list[str]:
        rows, found = report["rows"], []
        if report["quarantine"]["lines"]:
            by_code = ", ".join(f"{count} {code}" for code, count in sorted(report["quarantine"]["by_code"].items()))
            found.append(f"{report['quarantine']['lines']} of {rows['read']} lines are in quarantine ({by_code})")
        if rows["test"] < FEW_TEST_ROWS:
            found.append(f"test has {rows['test']} rows: only large effects can be shown")
        if report["contradictions"]["inputs"]:
            count = report["contradictions"]
            found.append(f"{count['inputs']} inputs have contradicting outputs ({count['rows']} rows)")
        for path, table in report["classes"].items():
            unseen = [name for name, counts in table.items() if not counts["train"]]
            if unseen:
                found.append(f"{path}: no training row has {', '.join(unseen[:10])}{' …' if len(unseen) > 10 else ''}")
        for pair, kinds in report["leakage"].items():
            leaks = [f"{entry['rows']} {kind}" for kind, entry in kinds.items() if entry["rows"]]
            if leaks:
                left, right = pair.split("/")
                kept = "given splits are kept as they are"
                found.append(f"leakage: rows of {left} that are also in {right}: {', '.join(leaks)} ({kept})")
        if report["groups"]["largest"] > max(20, rows["kept"] * 0.05):
            found.append(f"one group of near-duplicates or of one source_id holds {report['groups']['largest']} of {rows['kept']} rows")
        if report["near_duplicates"]["coarse_buckets"]:
            count = report["near_duplicates"]["coarse_buckets"]
            found.append(f"{count} set(s) of similar texts were too large to compare pair by pair; some near-duplicates may be missed")
        return found


def hex16(value: Any) -> str:
    return f"{int(value):016x}"


def _ids(ids: np.ndarray) -> dict[str, Any]:
    return {"rows": len(ids), "item_ids": [hex16(value) for value in np.sort(ids)[: 2 * SHOWN]]}


def _name(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _quantile(values: np.ndarray, share: float) -> int:
    return int(np.quantile(values, share, method="inverted_cdf")) if len(values) else 0
