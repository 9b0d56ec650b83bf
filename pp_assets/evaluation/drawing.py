"""How pictures look: PNG bytes, colours, bars with whiskers, rows of effects with intervals. Equal numbers give equal bytes with one
version of matplotlib."""

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_EMPTY: ContextVar[bool] = ContextVar("pictures are left empty", default=False)

BLUE, GREY, DARK, RED = "#2563a8", "#b4bcc8", "#334155", "#b42318"


class Bar(NamedTuple):
    """One row of a forest plot."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    colour: str | None = None


def draw(size: tuple[float, float], paint: Callable[[Figure], None]) -> bytes:
    """PNG bytes of a figure of `size` inches that `paint` fills."""
    # Labels are user data: `$` must not start a formula, and a letter that the font lacks is no reason for noise.
    look: Any = {"text.parse_math": False, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(look), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        if not _EMPTY.get():
            paint(figure)
        out = io.BytesIO()
        canvas.print_png(out, metadata={"Software": None})  # `savefig` would draw everything once more before it draws
    return out.getvalue()


@contextmanager
def left_empty() -> Iterator[None]:
    """Within it every picture has its size and nothing on it: for who compares pages without their pictures, which take seconds to draw."""
    before = _EMPTY.set(True)
    try:
        yield
    finally:
        _EMPTY.reset(before)


def bars(axes: Axes, names: Sequence[str], found: Sequence[Mapping[str, Any]], colours: Sequence[str]) -> None:
    """Horizontal bars with interval whiskers, the first on top; a metric without a value is a word, not a bar."""
    places = range(len(names), 0, -1)
    for place, metric, colour in zip(places, found, colours):
        if metric["value"] is None:
            axes.text(0, place, " not scored", va="center", color=DARK, fontstyle="italic")
            continue
        axes.barh(place, metric["value"], height=0.68, color=colour)
        if metric["low"] is not None and metric["high"] is not None:
            axes.plot([metric["low"], metric["high"]], [place, place], color=DARK, linewidth=1.4, marker="|", markersize=6)
    axes.set_yticks(list(places), [short(name) for name in names])


def forest(rows: Sequence[Bar], title: str, lines: Mapping[float, str], *, share: bool = False, width: float = 5.0) -> bytes | None:
    """Values with intervals below each other, the first on top; blue where an interval lies above zero, red where below, or each in its own
    colour. `lines` are drawn upright at these values in these styles. None where no row has a value."""
    shown = [(row, row.value) for row in rows if row.value is not None]
    if not shown:
        return None

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (row, value) in zip(range(len(shown), 0, -1), shown):
            sure = DARK if row.low is None or row.high is None else BLUE if row.low > 0 else RED if row.high < 0 else DARK
            colour = row.colour or sure
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2)
            axes.plot(value, place, "o", color=colour)
        for at, style in lines.items():
            axes.axvline(at, color=GREY, linewidth=1, linestyle=style)
        axes.set_yticks(range(len(shown), 0, -1), [short(row.name, 44) for row, _ in shown])
        axes.set_ylim(0.4, len(shown) + 0.6)
        if share:
            axes.set_xlim(0, 1)
        axes.set_title(title, fontsize=9)

    return draw((width, 0.28 * len(shown) + 0.9), paint)


def short(name: str, most: int = 28) -> str:
    """At most so many characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"
