"""The rows of an experiment, from whatever holds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pp_assets.experiment.values import encode
from pp_resources.errors import UserError


def read_rows(data: Any, key: str) -> dict[str, list[Any]]:
    """Columns of a table (pandas), a list of dicts or a file (JSON lines, CSV, Parquet), `key` unique; numbered where there is none.

    Raises UserError for no rows, a file that cannot be read, or two rows of one id that differ.
    """
    import pandas as pd

    table = _read(data) if isinstance(data, str | Path) else data
    if isinstance(table, pd.DataFrame):
        columns = {str(name): [None if _nothing(v) else v for v in table[name].tolist()] for name in table.columns}
    else:
        rows = list(table)
        names = {name: None for row in rows for name in row}
        columns = {name: [row.get(name) for row in rows] for name in names}
    count = len(next(iter(columns.values()), []))
    if not count:
        raise UserError("has no rows", where="data", how="give a table with at least one row")
    if key not in columns:
        columns = {key: list(range(count)), **columns}
    # The same row twice is no second item; two rows of one id would be one item with two truths.
    first: dict[bytes, int] = {}
    kept = []
    for place, name in enumerate(columns[key]):
        before = first.setdefault(encode(name), place)
        if before == place:
            kept.append(place)
        elif any(encode(values[before]) != encode(values[place]) for values in columns.values()):
            raise UserError(
                f"{name!r} stands there twice, with other values", where=f"data: column {key!r}", how="give each row an id of its own"
            )
    return columns if len(kept) == count else {name: [values[i] for i in kept] for name, values in columns.items()}


def _read(file: Path | str) -> Any:
    import pandas as pd

    path = Path(file)
    readers: dict[str, Callable[..., Any]] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix in (".jsonl", ".json", ".ndjson"):
        import orjson

        try:
            return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        except (OSError, orjson.JSONDecodeError) as error:
            raise UserError(f"cannot be read ({error})", where=str(path), how="one JSON object a line") from error
    if path.suffix not in readers:
        raise UserError(f"a file of kind {path.suffix!r}", where=str(path), how="use .jsonl, .csv or .parquet")
    try:
        return readers[path.suffix](path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=str(path), how="check the path and the content") from error


def _nothing(value: Any) -> bool:
    return isinstance(value, float) and value != value
