"""Items with what each system said, side by side, as HTML; and the wins, losses and ties of a comparison with the rows behind them."""

from collections.abc import Mapping
from html import escape
from typing import Any

from pp_assets.evaluation.webpage import folded, soft

OUTCOMES = (("wins", "wins"), ("losses", "losses"), ("both_wrong", "ties that both have wrong"))


def example_html(example: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    """One item; `titles` names each side of it in the order of the columns. What a side has wrong is marked."""
    shown = {name: title for name, title in titles.items() if name in example["sides"]}
    top = "".join(f"<th>{escape(title)}</th>" for title in ("field", "expected", *shown.values()))
    rows = "".join(_row(field, example["sides"], shown) for field in example["fields"])
    listed = f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
    whole = [("expected", example["expected"]), *((title, example["sides"][name]["output"]) for name, title in shown.items())]
    outputs = "".join(f"<tr><td>{escape(title)}</td><td><pre>{escape(text)}</pre></td></tr>" for title, text in whole)
    return (
        f'<div class="example"><pre>{escape(example["input_text"])}</pre><span class="soft">{escape(_facts(example, shown))}</span>{listed}'
        f"{folded('whole outputs', f'<table><tbody>{outputs}</tbody></table>')}</div>"
    )


def outcomes_html(found: Mapping[str, Any], titles: Mapping[str, str], opened: str = "losses") -> str:
    """The counts in a sentence, then the rows of each outcome, folded but for `opened`."""
    first, second = titles.values()
    won = f"{first} wins {found['wins']} and loses {found['losses']} against {second}"
    said = f"By {found['metric']}, item by item: {won}; {found['ties']} ties, {found['both_wrong']} of them wrong in both."
    parts = [f"<p>{escape(said)}</p>", soft(found["reason"])]
    for key, name in OUTCOMES:
        rows = found["rows"][key]
        count = f"{found[key]} {name}" + (f", {len(rows)} of them" if len(rows) < found[key] else "")
        parts.append(folded(count, "".join(example_html(one, titles) for one in rows), opened=key == opened))
    return "\n".join(filter(None, parts))


def _row(field: Mapping[str, Any], sides: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    cells = [f"<td>{escape(field['path'])}</td>", f'<td data-of="expected"><pre>{escape(field["expected"])}</pre></td>']
    for name, title in titles.items():
        mark = "differs" if field["path"] in sides[name]["wrong_fields"] else "same"
        value = "<i>none</i>" if field[name] is None else escape(field[name])
        cells.append(f'<td class="{mark}" data-of="{escape(title)}"><pre>{value}</pre></td>')
    return f"<tr>{''.join(cells)}</tr>"


def _facts(example: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    facts = [f"item {example['item_id']}"]
    for name, title in titles.items():
        side = example["sides"][name]
        sure = "" if side["confidence"] is None else f", confidence {side['confidence']:.3f}"
        facts.append(f"{title}: {'right' if side['right'] else 'wrong'}{sure}" + (f", {side['problem']}" if side["problem"] else ""))
    return "; ".join(facts)
