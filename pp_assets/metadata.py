"""From an artifact to what people see in the Dagster UI: numbers that are plotted over time, tables, pictures, the MLflow link.

Belongs here: presentation of metadata. Does not belong here: which numbers a stage returns (its builder decides).
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from pp_assets.pipeline import Pipeline
from pp_resources.artifacts import Artifact
from pp_resources.dagster_resources import Installation


def pipeline_of(installation: Installation) -> Pipeline:
    return Pipeline(installation.settings(), installation.tracker())


def materialized(
    pipeline: Pipeline,
    artifact: Artifact,
    *,
    leave_out: Sequence[str] = (),
    plots: Mapping[str, Path] | None = None,
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    checks: Sequence[dg.AssetCheckResult] = (),
    more: Mapping[str, dg.MetadataValue] | None = None,
) -> dg.MaterializeResult:
    """The result of an asset: the content digest as data version, so that unchanged content keeps everything downstream fresh."""
    shown = {name: value for name, value in artifact.metadata.items() if name not in (*leave_out, "mlflow")}
    values: dict[str, Any] = {name: metadata_value(value) for name, value in shown.items()}
    values |= {
        "path": dg.MetadataValue.path(str(artifact.path)),
        "digest": artifact.digest,
        "made_at": artifact.created_at,
        "inputs": dg.MetadataValue.json(dict(artifact.inputs)),
        "reused": artifact.reused,
        "stale_because": ", ".join(artifact.stale_because) or ("nothing changed" if artifact.reused else "first version"),
    }
    values |= {name: table(rows) for name, rows in (tables or {}).items() if rows}
    values |= {name: picture(path) for name, path in (plots or {}).items() if path.exists()}
    values |= more or {}
    url = pipeline.tracker.url(artifact.metadata.get("mlflow") or {})
    if url:
        values["mlflow_run"] = dg.MetadataValue.url(url)
    return dg.MaterializeResult(metadata=values, data_version=dg.DataVersion(artifact.digest), check_results=list(checks))


def metadata_value(value: Any) -> Any:
    """Numbers and texts as they are, lists of records as tables, other lists and mappings as JSON, None in words."""
    if value is None:
        return "none"
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        return table(value)
    if isinstance(value, Mapping | list | tuple):
        return dg.MetadataValue.json(dict(value) if isinstance(value, Mapping) else list(value))
    return value


def table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """A table of flat records with the same keys; a column of numbers stays one."""
    columns = list(rows[0])
    kinds = {}
    for name in columns:
        values = [row.get(name) for row in rows if row.get(name) is not None]
        number = bool(values) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        kinds[name] = "float" if number else "string"
    records = [dg.TableRecord({name: _cell(row.get(name), kinds[name]) for name in columns}) for row in rows]
    return dg.MetadataValue.table(records, dg.TableSchema([dg.TableColumn(name, kinds[name]) for name in columns]))


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """A PNG file inside the metadata; it lives in the event log, so it should be small."""
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})")


def _cell(value: Any, kind: str) -> Any:
    if kind == "float":
        return None if value is None else float(value)
    return "" if value is None else str(value)
