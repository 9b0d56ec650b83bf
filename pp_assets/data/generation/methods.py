"""The offline methods: each makes a draft of a training row and the others, or None where it cannot be sure of the output.

A value moves only between rows that agree in all that is not copied (a currency that goes with an amount stays right), and only where it
stands exactly once. A method draws from the generator that it is given and from nothing else, so a row can be made again.
"""

import random
import re
from collections.abc import Callable, Mapping
from functools import cached_property

from pp_assets.data.generation import synonyms
from pp_assets.data.generation.cues import Cues, learn_cues
from pp_assets.data.generation.damage import CASES, DAMAGE
from pp_assets.data.generation.made import Draft
from pp_assets.data.generation.slots import Slots, copy_of, exchange, in_order, independent, place_of, sentences, values_of
from pp_assets.evaluation.suite.spans import kept_characters, map_copied
from pp_assets.task.examples import Example
from pp_resources.json_schema import get_path, set_path

LEAST_WORDS = 3  # of a sentence that is put into another row
_DIGITS = re.compile(r"\d+")


class Source(Slots):
    """The training rows, with what only some methods want of them."""

    @cached_property
    def cues(self) -> list[Cues]:
        """Of the boolean fields that have some."""
        learnt = [learn_cues(leaf.path, self.rows) for leaf in self.labels if leaf.kind == "boolean"]
        return [cues for cues in learnt if cues.words]

    @cached_property
    def wordnet(self) -> synonyms.WordNet:
        return synonyms.load()


Method = Callable[[Source, Example, random.Random], Draft | None]


def recombination(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """A template with other values: from one row that fills it whole, else each value from a row of its own."""
    values = source.values(row)
    whole = _from_one_row(source, row, rng) if len(values) > 1 and rng.random() < 0.5 else {}
    text, output = row.input_text, copy_of(row.output)
    changes: list[dict[str, str]] = []
    donors: list[str] = []
    for leaf, value in values:
        others = [v for _, v in values if v != value] + [c["to"] for c in changes]
        options = [whole[leaf.path]] if leaf.path in whole else source.donors(row, leaf)
        free = [(d, of) for d, of in options if d != value and independent(d, [*others, value]) and d.casefold() not in text.casefold()]
        place = place_of(value, text, others)
        if not free or place is None:
            continue
        new, donor = rng.choice(free)
        text = text[: place.start()] + new + text[place.end() :]
        exchange(output, leaf.path, value, new)
        changes.append({"field": leaf.path, "from": value, "to": new})
        donors.append(donor)
    return Draft(text, output, tuple(donors), {"changes": changes, "filled": "by one row" if whole else "by many"}) if changes else None


def numbers(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """Other digits in copied values and in numbers of the output: a row that differs from its parent in these alone."""
    text, output = row.input_text, copy_of(row.output)
    changes: list[dict[str, str]] = []
    values = source.values(row)
    for leaf, value in values:
        others = [v for _, v in values if v != value] + [c["to"] for c in changes]
        place = place_of(value, text, others)
        new = _DIGITS.sub(lambda m: _other_digits(m[0], rng), value)
        if place is None or new == value or new in text or not independent(new, others):
            continue
        text = text[: place.start()] + new + text[place.end() :]
        exchange(output, leaf.path, value, new)
        changes.append({"field": leaf.path, "from": value, "to": new})
    for leaf in source.numbers:
        value = get_path(output, leaf.path)
        said = [m for m in re.finditer(r"(?<![\w.,])\d+(?![\w%]|[.,]\d)", text) if m[0] == str(value)]
        if isinstance(value, bool) or not isinstance(value, int) or len(said) != 1 or text.count(str(value)) != 1:
            continue
        other = _other_digits(str(value), rng)
        if other in text:
            continue
        text = text[: said[0].start()] + other + text[said[0].end() :]
        set_path(output, leaf.path, int(other))
        changes.append({"field": leaf.path, "from": str(value), "to": other})
    return Draft(text, output, (), {"changes": changes}) if changes else None


def composition(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """A sentence of a row that agrees in all that is not copied, put before, between or behind the parent's; its values come with it."""
    others = [o for o in source.alike[source.rest(row.output)] if o.item_id != row.item_id and o.input_text != row.input_text]
    if not others:
        return None
    donor = rng.choice(others)
    start, end = rng.choice(sentences(donor.input_text) or [(0, 0)])
    said, output, brought = donor.input_text[start:end], copy_of(row.output), []
    if len(said.split()) < LEAST_WORDS or said.startswith("[") or said in row.input_text:
        return None
    for leaf, value in source.values(donor):
        if value not in said:
            continue
        mine, place = values_of(output, leaf.path), donor.input_text.find(value)
        if donor.input_text.count(value) != 1 or not start <= place < end or value in row.input_text or value in mine:
            return None
        if leaf.kind == "string" and mine:
            return None
        set_path(output, leaf.path, value if leaf.kind == "string" else [*mine, value])
        brought.append(value)
    if any(v in said for _, v in source.values(row)):
        return None
    gaps = [0, *(e for _, e in sentences(row.input_text)[:-1]), len(row.input_text)]
    gap = rng.choice(gaps[1:] if row.input_text.startswith("[") else gaps)
    text = _joined(row.input_text, gap, said)
    in_order(source, [(row.input_text, row.output), (donor.input_text, donor.output)], text, output)
    return Draft(text, output, (donor.item_id,), {"sentence": said, "at": gap, "values": brought})


def reordering(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """The sentences of the row in another order; what stands between them stays where it was."""
    places = sentences(row.input_text)
    if len(places) < 2 or row.input_text.startswith("["):
        return None
    said = [row.input_text[a:b] for a, b in places]
    order = rng.sample(range(len(said)), len(said))
    if [said[i] for i in order] == said:
        return None
    text, end = "", 0
    for (start, stop), i in zip(places, order):
        # A full stop goes with its sentence; one that had none at the end of the text gets it where it stands now.
        text, end = text + row.input_text[end:start] + said[i], stop
        if not said[i].endswith((".", "!", "?", ",", ":")) and stop != places[-1][1] and "\n" not in row.input_text[stop : stop + 1]:
            text += "."
    text, output = text + row.input_text[end:], copy_of(row.output)
    in_order(source, [(row.input_text, row.output)], text, output)
    return Draft(text, output, (), {"order": order})


def synonym(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """Words exchanged for synonyms of WordNet, none of them in a value."""
    keep = kept_characters(source.schema, row.output, row.input_text)
    text, pairs = synonyms.with_synonyms(source.wordnet, row.input_text, keep, rng)
    return Draft(text, row.output, (), {"pairs": pairs, "generator": "WordNet 3.0"}) if pairs else None


def noise(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """Typing, scanning, spaces, punctuation."""
    kind = rng.choice(sorted(DAMAGE))
    keep = kept_characters(source.schema, row.output, row.input_text)
    text = DAMAGE[kind](row.input_text, keep, rng)
    return Draft(text, row.output, (), {"kind": kind}) if text != row.input_text else None


def casing(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """Lower, upper, title or mixed case, of the text and of the values copied from it."""
    kind, draw = rng.choice(sorted(CASES)), rng.getrandbits(32)
    change = CASES[kind](draw)
    keep = kept_characters(source.schema, row.output, row.input_text, free=True)
    text = "".join(c if kept else new for c, kept, new in zip(row.input_text, keep, change(row.input_text)))
    output = map_copied(source.schema, row.output, change)
    return Draft(text, output, (), {"kind": kind, "letters": draw}) if text != row.input_text else None


def flipped_cue(source: Source, row: Example, rng: random.Random) -> Draft | None:
    """A boolean changed on purpose: the sentence that tells it taken away, or one put in. Only where the rows show what tells it."""
    options = [cues for cues in source.cues if get_path(row.output, cues.path) is not None]
    if not options:
        return None
    cues, output = rng.choice(options), copy_of(row.output)
    donor: tuple[str, ...] = ()
    set_path(output, cues.path, not get_path(row.output, cues.path))
    if get_path(row.output, cues.path):
        told = [(a, b) for a, b in sentences(row.input_text) if cues.within(row.input_text[a:b])]
        if not cues.needed or len(told) != 1 or len(sentences(row.input_text)) < 2:
            return None
        (start, end), kind = told[0], "cue taken away"
        said = row.input_text[start:end]
        text = (row.input_text[:start].rstrip(" ") + " " + row.input_text[end:].lstrip(" ")).strip()
        if cues.within(text):
            return None
    else:
        same = [o for o in source.alike.get(source.rest(output), ()) if sentences(o.input_text)]
        other = rng.choice(same) if same else None
        told = [o for o in sentences(other.input_text) if cues.within(other.input_text[slice(*o)])] if other else []
        if other is None or not told or cues.within(row.input_text):
            return None
        said, donor, kind = other.input_text[slice(*rng.choice(told))], (other.item_id,), "cue put in"
        if any(value in said for _, value in source.values(other)):
            return None
        text = _joined(row.input_text, len(row.input_text), said)
    if any(value in said for _, value in source.values(row)):
        return None
    return Draft(text, output, donor, {"kind": kind, "field": cues.path, "sentence": said})


OFFLINE: Mapping[str, Method] = {
    "recombination": recombination,
    "numbers": numbers,
    "composition": composition,
    "reordering": reordering,
    "synonyms": synonym,
    "noise": noise,
    "casing": casing,
    "flipped_cue": flipped_cue,
}
# Rows that are meant to resemble their parents: no near-duplicates by that.
SURFACE = frozenset({"noise", "casing", "synonyms", "reordering"})
# Which of them a mode uses: CREATIVE puts rows together as well, ADVENTUROUS changes labels too.
_NEAR = ("recombination", "numbers", "casing", "noise", "synonyms")
MODES: Mapping[str, tuple[str, ...]] = {
    "CONSERVATIVE": ("casing", "noise", "synonyms"),
    "BALANCED": _NEAR,
    "CREATIVE": (*_NEAR, "composition", "reordering"),
    "ADVENTUROUS": (*_NEAR, "composition", "reordering", "flipped_cue"),
}


def _from_one_row(source: Source, row: Example, rng: random.Random) -> dict[str, tuple[str, str]]:
    """One value for each field from a single row that fills the same fields, none where there is no such row."""
    paths = [leaf.path for leaf, _ in source.values(row)]
    if len(set(paths)) < len(paths):
        return {}
    fits = [o for o in source.alike[source.rest(row.output)] if o.item_id != row.item_id and [p.path for p, _ in source.values(o)] == paths]
    other = rng.choice(fits) if fits else None
    return {leaf.path: (value, other.item_id) for leaf, value in source.values(other)} if other else {}


def _joined(text: str, at: int, said: str) -> str:
    before, after = text[:at].rstrip(), text[at:].lstrip()
    if before and before[-1].isalnum():
        before += "."
    if after and said[-1].isalnum():
        said += "."
    between = "\n" if "\n" in text[max(0, at - 1) : at + 1] else " "
    return f"{before}{' ' if before else ''}{said}{between if after else ''}{after}"


def _other_digits(digits: str, rng: random.Random) -> str:
    """As many digits, of a size that hours, days and months keep: up to 12 gives 1 to 12, up to 28 that, a year a near one, else any."""
    if len(digits) == 4 and 1980 <= int(digits) <= 2039:
        return str(int(digits) + rng.choice((-3, -2, -1, 1, 2, 3)))
    for most in (12, 28):
        if len(digits) <= 2 and 0 < int(digits) <= most:
            return str(rng.randint(10 if len(digits) == 2 and digits[0] != "0" else 1, most if len(digits) == 2 else 9)).zfill(len(digits))
    first = "0" if digits[0] == "0" else rng.choice("123456789")
    return first + "".join(rng.choice("0123456789") for _ in digits[1:])
