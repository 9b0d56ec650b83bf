"""The results of an experiment as one HTML file: what is decided first, then every number with its interval, and the rows behind them."""

from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.evaluation.webpage import items, page, picture, table

if TYPE_CHECKING:
    import pandas as pd

    from pp_assets.experiment.comparison import Compared, Many
    from pp_assets.experiment.results import Results

SHOWN = 10  # rows behind a comparison, and failed calls
CUT = 300  # characters of a cell
_BANNER = {"better": "ship", "worse": "stop", "equivalent": "ship", "undecided": "wait"}


def compare_dims(results: "Results") -> "dict[str, Many]":
    """All comparisons of each dimension with several values, on every metric."""
    varied = [dim for dim, values in results.dims.items() if len(values) > 1]
    return {dim: results.compare_all(dim, results.metrics) for dim in varied} if results.metrics else {}


def write_page(results: "Results", path: Path, title: str, *, margin: float = 0.0, compared: "Mapping[str, Many] | None" = None) -> Path:
    """Self-contained: pictures inline, no script, every value escaped. `margin` makes two values "equivalent" within it; `compared` is what
    `compare_dims` gave, where somebody has asked it already."""
    compared = compare_dims(results) if compared is None else compared
    parts = [f"<h1>{escape(title)}</h1>"]
    for dim, found in compared.items():
        parts += [_banner(dim, list(found.each), margin), _comparisons(found.df)]
    parts += ["<h2>What was compared</h2>", _facts(results)]
    parts += ["<h2>Metrics</h2>", _metrics(results)]
    for found in compared.values():
        parts += [_behind(each, results) for each in found.each]
    parts += [_errors(results), "<h2>Takes</h2>", _takes(results), "<h2>How to reproduce</h2>", _versions(results)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(title, parts), "utf-8", errors="backslashreplace")
    return path


def _facts(results: "Results") -> str:
    frame = results.df
    said = [f"{frame.index.get_level_values(results.key).nunique():,} items, {len(frame):,} rows"]
    said += [f"{dim}: {', '.join(map(str, values))}" for dim, values in results.dims.items()]
    if any(results.left.values()):
        said.append(f"not computed yet: {', '.join(f'{n:,} of {name}' for name, n in results.left.items() if n)}")
    return items(said)


def _banner(dim: str, each: "list[Compared]", margin: float) -> str:
    verdicts = [found.verdict(margin) for found in each]
    lines = [f"{verdict}: {found}" for verdict, found in zip(verdicts, each)]
    colour = _BANNER[verdicts[0]] if len(set(verdicts)) == 1 else "wait"
    head = verdicts[0] if len(set(verdicts)) == 1 else f"{len(verdicts)} comparisons"
    return f'<div class="banner {colour}"><b>{escape(head)}</b> <span class="soft">{escape(dim)}, paired by item</span>{items(lines)}</div>'


def _comparisons(frame: "pd.DataFrame") -> str:
    head = ["metric", "a", "b", "b - a", "95 %", "p", "p adjusted", "items", "wins", "losses", "ties", "detectable"]
    rows = []
    for row in frame.to_dict("records"):
        interval = "" if _none(row["low"]) else f"[{row['low']:+.4f}, {row['high']:+.4f}]"
        numbers = [_number(row["delta"], "+.4f"), interval, _number(row["p"], ".4g"), _number(row["p_adjusted"], ".4g")]
        counts = [str(row[name]) for name in ("n_items", "wins", "losses", "ties")]
        rows.append([str(row["metric"]), str(row["a"]), str(row["b"]), *numbers, *counts, _number(row["mde"], ".3f")])
    return table(head, rows)


def _metrics(results: "Results") -> str:
    if not results.metrics:
        return "<p class=soft>Nothing was scored.</p>"
    lines = (
        results.summary(results.metrics).reset_index() if len(results.metrics) > 1 else results.summary(results.metrics[0]).reset_index()
    )
    head = [str(name) for name in lines.columns if name != "method"]
    return table(head, [[_cell(row[name]) for name in head] for row in lines.to_dict("records")])


def _behind(found: "Compared", results: "Results") -> str:
    """The picture of a comparison, and the rows that one side loses, both sides beside each other."""
    buffer = BytesIO()
    found.plot().savefig(buffer, dpi=100, format="png")
    title = f"{found.metric}: {found.b} against {found.a}"
    parts = [f"<h2>{escape(title)}</h2>", picture({"plot": buffer.getvalue()}, "plot", title)]
    steps = [name for name in results.df.columns if name not in results.metrics and name in results.computed]
    for which in ("losses", "wins"):
        shown = found.rows(which).reset_index().head(2 * SHOWN)
        if len(shown):
            columns = [results.key, found.dim, *steps, found.metric]
            rows = [[_cell(row[name]) for name in columns] for row in shown[columns].to_dict("records")]
            count = found.losses if which == "losses" else found.wins
            opened = " open" if which == "losses" else ""
            parts.append(f"<details{opened}><summary>{count} {which} of {escape(str(found.b))}</summary>{table(columns, rows)}</details>")
    return "\n".join(parts)


def _errors(results: "Results") -> str:
    failed = results.errors
    if not len(failed):
        return ""
    names = [*failed.index.names, "status", "error"]
    rows = [[_cell(row[name]) for name in names] for row in failed.head(SHOWN).reset_index().to_dict("records")]
    return f"<h2>Failed calls ({len(failed):,})</h2>{table([str(name) for name in names], rows)}"


def _takes(results: "Results") -> str:
    names = ["seconds", "tokens_in", "tokens_out", "cost_usd"]
    dims = [dim for dim, values in results.dims.items() if len(values) > 1]
    if dims:
        sums = results.df.groupby(dims, sort=False)[names].sum(min_count=1).reset_index()
    else:
        sums = results.df[names].sum(min_count=1).to_frame().T
    return table([*dims, *names], [[_cell(row[name]) for name in [*dims, *names]] for row in sums.to_dict("records")])


def _versions(results: "Results") -> str:
    rows = [[name, code[:16], str(results.computed[name])] for name, code in results.codes.items()]
    return table(["step", "version of its code", "calls in this run"], rows)


def _cell(value: Any) -> str:
    if _none(value):
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CUT else f"{text[:CUT]}…"


def _number(value: Any, form: str) -> str:
    return "" if _none(value) else f"{value:{form}}"


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
