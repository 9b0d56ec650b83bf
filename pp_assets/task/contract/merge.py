"""Three ways into one: what was generated before, what a person made of it, and what is generated now."""

from typing import Any, NamedTuple

Plain = dict[str, Any]


class Merged(NamedTuple):
    """`value` in plain form, and in words what became of each place where the three differ."""

    value: Plain
    notes: list[str]


def merge(before: Plain, mine: Plain, now: Plain) -> Merged:
    """A contract in plain form (tree). What a person changed, added or removed stays; elsewhere what is generated now holds."""
    notes: list[str] = []
    return Merged(_mapping(before, mine, now, "", notes), notes)


def _mapping(before: Plain, mine: Plain, now: Plain, at: str, notes: list[str]) -> Plain:
    found: Plain = {}
    for key in dict.fromkeys([*now, *mine]):
        here = f"{at}/{key}" if at else key
        was, own, new = (side.get(key) for side in (before, mine, now))
        if key in ("dimensions", "sub_dimensions"):
            found[key] = _labelled(was or [], own or [], new or [], at, notes)
        elif own == was:
            if new is not None:
                found[key] = new
            if new != was:
                notes.append(f"{here}: generated anew")
        else:
            if own is not None:
                found[key] = own
            notes.append(f"{here}: yours is kept" + (f" (generated now: {new!r})" if new not in (was, own) else ""))
    return found


def _labelled(before: list[Plain], mine: list[Plain], now: list[Plain], at: str, notes: list[str]) -> list[Plain]:
    was, own, new = ({part["label"]: part for part in side} for side in (before, mine, now))
    found = []
    # In the person's order; what is new goes behind.
    for label in dict.fromkeys([*own, *new]):
        here = f"{at}/{label}" if at else label
        if label not in own:
            if label in was:
                notes.append(f"{here}: removed by you, stays out")
                continue
            notes.append(f"{here}: new")
            found.append(new[label])
        elif label not in new:
            if own[label] == was.get(label):
                notes.append(f"{here}: not generated any more, taken out")
                continue
            notes.append(f"{here}: " + ("yours is kept" if label not in was else "not generated any more, kept since you changed it"))
            found.append(own[label])
        else:
            found.append(_mapping(was.get(label, {"label": label}), own[label], new[label], here, notes))
    return [part for part in found if part.get("sub_dimensions", True)]
