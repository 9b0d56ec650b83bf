"""Cross-references inside a TaskSpec: schemas, label enums, rubric, template, splits. The first fault is raised."""

import json
from typing import TYPE_CHECKING

from pp_assets.flywheel.policy import CANDIDATE, PREVIOUS
from pp_assets.task.prompt import labels, template_fault
from pp_assets.task.schema_check import schema_fault
from pp_assets.task.spec_file import FieldProblem
from pp_resources.errors import nearest
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import Field, leaf_fields

if TYPE_CHECKING:
    from pp_assets.task.spec import TaskSpec


def check_cross_references(spec: "TaskSpec") -> None:
    """Raise FieldProblem for the first fault that spans fields."""
    _check_schemas(spec)
    leaves = {field.path: field for field in leaf_fields(spec.output_schema)}
    for path, values in spec.label_enums.items():
        _check_enum(path, values, leaves)
    for path, rule in spec.rubric.fields.items():
        _check_known(f"rubric.fields.{path}", path, leaves)
        is_array = leaves[path].kind.startswith("array") or leaves[path].schema.get("type") == "array"
        if rule.compare in ("set", "ordered") and not is_array:
            raise FieldProblem(f"rubric.fields.{path}.compare", f"{rule.compare!r} compares arrays, the field is {leaves[path].kind}")
    fault = template_fault(spec.instruction_template, json.dumps(labels(spec)))
    if fault:
        raise FieldProblem("instruction_template", *fault)
    _check_split(spec, leaves)
    _check_flywheel(spec)
    if len(set(spec.variants)) < len(spec.variants):
        twice = next(v for v in spec.variants if spec.variants.count(v) > 1)
        raise FieldProblem("variants", f"{twice!r} stands twice")


def _check_flywheel(spec: "TaskSpec") -> None:
    """Where variants are named, one of them must answer with what the flywheel makes the champion."""
    if not (spec.flywheel and spec.flywheel.enabled and spec.serving and spec.serving.variants):
        return
    for name in (CANDIDATE, PREVIOUS):
        if name in spec.serving.variants:
            raise FieldProblem(f"serving.variants.{name}", "is what the flywheel calls a package on trial", "give it another name")
    packages = [one for one in spec.serving.variants.values() if one.kind == "package"]
    if spec.flywheel.prompts and not packages:
        return  # its prompts alone are renewed
    if all(one.stage != "champion" for one in packages) and set(spec.variants) - {one.recipe for one in packages if one.stage is None}:
        how = "write {kind: package, stage: champion} for one"
        raise FieldProblem("serving.variants", "no variant answers with what the flywheel may make the champion", how)


def _check_schemas(spec: "TaskSpec") -> None:
    for side, schema in (("input", spec.io_schema.input), ("output", spec.io_schema.output)):
        try:
            canonical_json(schema)
        except TypeError as error:
            raise FieldProblem(f"io_schema.{side}", f"not JSON: {error}") from error
        fault = schema_fault(schema, output=side == "output")
        if fault:
            raise FieldProblem(f"io_schema.{side}.{fault.at}".rstrip("."), fault.what, fault.how)
    if spec.io_schema.input.get("type", "string") != "string":
        raise FieldProblem("io_schema.input.type", "the input is text", "type: string")


def _check_known(field: str, path: str, leaves: dict[str, Field]) -> None:
    if path not in leaves:
        raise FieldProblem(field, f"{path!r} is no field of the output schema", nearest(path, leaves))


def _check_enum(path: str, values: list[str], leaves: dict[str, Field]) -> None:
    field = f"label_enums.{path}"
    _check_known(field, path, leaves)
    leaf = leaves[path]
    if leaf.kind not in ("enum", "array_enum"):
        enums = [p for p, f in leaves.items() if f.kind in ("enum", "array_enum")]
        raise FieldProblem(field, f"the output schema has no enum there (kind {leaf.kind})", nearest(path, enums))
    known = [str(v) for v in leaf.values]
    for value in values:
        if value not in known:
            raise FieldProblem(field, f"{value!r} is not in the schema's enum", nearest(value, known))
    missing = [v for v in known if v not in values]
    if missing:
        raise FieldProblem(field, f"lacks {', '.join(map(repr, missing))} of the schema's enum", "list all of them, or leave the field out")
    if len(set(values)) < len(values):
        raise FieldProblem(field, f"{next(v for v in values if values.count(v) > 1)!r} stands twice")


def _check_split(spec: "TaskSpec", leaves: dict[str, Field]) -> None:
    split = spec.eval_split
    total = split.ratios.train + split.ratios.val + split.ratios.test
    if abs(total - 1) > 1e-6:
        raise FieldProblem("eval_split.ratios", f"train, val and test add up to {total:g}", "make it 1")
    if split.stratify_by is not None:
        _check_known("eval_split.stratify_by", split.stratify_by, leaves)
        if split.strategy not in ("stratified", "files"):
            raise FieldProblem("eval_split.stratify_by", f"strategy {split.strategy!r} does not use it", "strategy: stratified")
    elif split.strategy == "stratified" and not any(f.kind in ("enum", "boolean") for f in leaves.values()):
        how = "name a field, or use strategy: random"
        raise FieldProblem("eval_split.stratify_by", "the output has no enum or boolean to stratify by", how)
    for name, strategy in (("time_field", "time"), ("files", "files")):
        given = getattr(split, name) is not None
        if given != (split.strategy == strategy):
            what = f"strategy {split.strategy!r} does not use it" if given else f"strategy {strategy!r} needs it"
            raise FieldProblem(f"eval_split.{name}", what, f"strategy: {strategy}" if given else "")
