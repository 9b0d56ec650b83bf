"""Pages of HTML in one file: pictures inline, no script, nothing loaded from anywhere, every value escaped. They print, and fit a phone."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

PHONE = "@media (max-width:640px)"
_INTERVAL = re.compile(r"([+-]?[0-9.e-]+)( %)? (\([0-9.e+-]+ to [0-9.e+-]+\))")
_NUMBERS = re.compile(r"[-+<>=0-9.e% ]+(to [-+0-9.e% ]+)?")
WIDE = 700  # pixels of a picture beyond which a phone scrolls it in its box instead of making it too small to read
CSS = (
    """
:root{--ink:#1e293b;--soft:#64748b;--line:#e2e8f0;--back:#f8fafc;--good:#15803d;--bad:#b42318;--open:#a16207}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1180px;padding:24px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#fff;overflow-wrap:anywhere}
h1{font-size:22px;margin:0 0 12px} h2{font-size:17px;margin:36px 0 10px;border-bottom:1px solid var(--line);padding-bottom:4px}
h3{font-size:14px;margin:18px 0 6px;color:var(--soft)}
.banner{border-left:8px solid;border-radius:6px;padding:14px 20px;background:var(--back)}
.banner b{font-size:24px;letter-spacing:.5px} .banner ul{margin:8px 0 0;padding-left:20px}
.ship{border-color:var(--good)} .ship b{color:var(--good)} .stop{border-color:var(--bad)} .stop b{color:var(--bad)}
.wait{border-color:var(--open)} .wait b{color:var(--open)}
nav{margin:12px 0 0;font-size:13px} nav a{color:var(--soft);margin-right:14px;display:inline-block}
.scroll{overflow-x:auto} .scroll th,.scroll td{overflow-wrap:normal}
.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;background:inherit}
.scroll td:first-child{min-width:120px;max-width:340px;overflow-wrap:break-word} .scroll td:last-child{min-width:190px}
.scroll td.n{white-space:nowrap} .span{display:block;white-space:nowrap;color:var(--soft);font-size:12px}
table{border-collapse:collapse;font-size:13px;width:100%} tr{background:#fff}
th,td{border-bottom:1px solid var(--line);padding:5px 9px;text-align:left;vertical-align:top} th{color:var(--soft);font-weight:600}
tr.candidate{background:#eff6ff} tr.bad{background:#fef2f2} tr.good{background:#f0fdf4}
figure{margin:14px 8px 14px 0;display:inline-block;max-width:100%;vertical-align:top} img{max-width:100%;height:auto}
.soft{color:var(--soft)} pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:12.5px/1.45 ui-monospace,monospace}
.example{border:1px solid var(--line);border-radius:6px;padding:12px 16px;margin:12px 0} .example table{table-layout:fixed;margin-top:8px}
.example .soft,.example summary{font-size:12px} .example details td:first-child{width:120px}
.same{color:var(--good)} .differs{background:#fef2f2;color:var(--bad)} details{margin-top:8px} summary{cursor:pointer;color:var(--soft)}
code{font:12.5px/1.45 ui-monospace,monospace;background:var(--back);padding:1px 4px;border-radius:3px}
"""
    + PHONE
    + """{
body{padding:14px} h1{font-size:19px} .banner{padding:10px 14px} .banner b{font-size:20px}
figure{overflow-x:auto} figure.wide img{max-width:none}
.example{padding:10px} .example tr{display:block;border-bottom:1px solid var(--line);padding:4px 0} .example thead{display:none}
.example td{display:block;border:0;padding:2px 0} .example td[data-of]::before{content:attr(data-of);color:var(--soft);font-size:11px}
}
@media print{
@page{margin:13mm}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{padding:0;max-width:none;font-size:11px} nav,summary::marker{display:none}
details::details-content{content-visibility:visible;display:block;height:auto} summary{list-style:none}
.scroll{overflow:visible} .scroll th,.scroll td{overflow-wrap:break-word;position:static!important;min-width:0!important}
.span{white-space:normal;font-size:8px}
table{font-size:9px} th,td{padding:3px 5px} thead{display:table-header-group} tr,figure,.example,.banner{break-inside:avoid}
.example .soft,.example summary{font-size:8.5px}
h2,h3,summary{break-after:avoid} section{break-before:page} section.flow{break-before:auto} pre,code{font-size:9px}
figure img{max-height:230mm}
}
"""
)


class Section(NamedTuple):
    """A part of a page with a heading; `flow`: in print it follows on the same page."""

    title: str
    parts: Sequence[str]
    flow: bool = False


def page(title: str, sections: Sequence[str | Section]) -> str:
    """A whole page from pieces of HTML and sections, empty ones left out. The list of its sections stands before the first of them."""
    # The policy lets nothing load or run, whatever a model may have written.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += '<meta name="viewport" content="width=device-width,initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>{CSS}</style>"
    body = [part for part in sections if part and (isinstance(part, str) or any(part.parts))]
    first = next((i for i, part in enumerate(body) if isinstance(part, Section)), len(body))
    listed = [_contents([part.title for part in body if isinstance(part, Section)])]
    lines = [_section(part) if isinstance(part, Section) else part for part in body]
    text = "\n".join(filter(None, [*lines[:first], *listed, *lines[first:]]))
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{text}\n</body></html>\n'


def banner(title: str, soft: str, kind: str, label: str, facts: str, lines: Sequence[str]) -> str:
    """The heading and the verdict: `kind` is "ship", "stop" or "wait"."""
    said = f'<div class="banner {kind}"><b>{escape(label)}</b> <span class="soft">{escape(facts)}</span>{items(lines)}</div>'
    return f'<h1>{escape(title)} <span class="soft">{escape(soft)}</span></h1>{said}'


def picture(plots: Mapping[str, bytes], name: str, alt: str) -> str:
    """A plot inline, nothing where there is none of that name."""
    if name not in plots:
        return ""
    width, height = (int.from_bytes(plots[name][i : i + 4], "big") for i in (16, 20))  # of a PNG's header
    wide = ' class="wide"' if width > WIDE else ""
    size = f'width="{width}" height="{height}"'
    return f'<figure{wide}><img alt="{escape(alt)}" {size} src="data:image/png;base64,{b64encode(plots[name]).decode()}"></figure>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], marks: Mapping[int, str] | None = None) -> str:
    """A table of escaped cells; `marks` gives rows by number the class that they stand out with."""
    top = "".join(f"<th>{escape(name).replace('_', '_<wbr>')}</th>" for name in head)
    lines = []
    for i, row in enumerate(rows):
        mark = f" class={marks[i]}" if marks and i in marks else ""
        lines.append(f"<tr{mark}>{''.join(map(_cell, row))}</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def items(lines: Sequence[str]) -> str:
    """A list of escaped lines."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def folded(summary: str, inside: str, *, opened: bool = False) -> str:
    """Something to be opened; in print it is open. Nothing where nothing is inside."""
    return f"<details{' open' if opened else ''}><summary>{escape(summary)}</summary>{inside}</details>" if inside else ""


def soft(text: str) -> str:
    """A sentence in the background."""
    return f"<p class=soft>{escape(text)}</p>" if text else ""


def verbatim(text: str) -> str:
    """Text with its own lines."""
    return f"<pre>{escape(text)}</pre>"


def commands(entries: Sequence[Mapping[str, str]]) -> str:
    """Commands with what each does."""
    rows = "".join(f"<tr><td><code>{escape(one['command'])}</code></td><td>{escape(one['what'])}</td></tr>" for one in entries)
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>' if rows else ""


def _cell(text: str) -> str:
    """A cell; numbers are not broken, and the interval of one stands below it."""
    found = _INTERVAL.fullmatch(text)
    if found:
        return f'<td>{found[1]}{found[2] or ""} <span class="span">{found[3]}</span></td>'
    return f"<td{' class=n' if _NUMBERS.fullmatch(text) else ''}>{escape(text)}</td>"


def _section(part: Section) -> str:
    inside = "\n".join(filter(None, part.parts))
    return f'<section id="{_slug(part.title)}"{" class=flow" if part.flow else ""}><h2>{escape(part.title)}</h2>\n{inside}</section>'


def _contents(titles: Sequence[str]) -> str:
    links = "".join(f'<a href="#{_slug(title)}">{escape(title.partition(":")[0])}</a> ' for title in titles)
    return f"<nav>{links}</nav>" if links else ""


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
