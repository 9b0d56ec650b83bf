"""Counterfactual inputs: the same message with the words of one group exchanged for those of another."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.suite.lists import read_list
from pp_assets.evaluation.suite.spans import Change, map_copied, sound
from pp_assets.task.examples import Example
from pp_resources.json_schema import Schema

WOMAN, MAN = "female", "male"


@dataclass(frozen=True)
class Version:
    """An item as a member of one group would have written it, or with a member of that group in it; `cluster` is the group of the item.

    `back` turns the words of this group in a copied value of an answer into marks that are the same in each group, so that answers can be
    compared.
    """

    item_id: str
    cluster: str
    text: str
    expected: dict[str, Any]
    back: Change


@dataclass(frozen=True)
class Dimension:
    """What is varied: the names of its groups (the first is compared with the others) and how many items had a slot of their own."""

    name: str
    what: str
    groups: tuple[str, ...]
    versions: Mapping[str, Sequence[Version]]
    found: int
    added: int


def dimensions(schema: Schema, examples: Sequence[Example], seed: int) -> list[Dimension]:
    """Names by gender, names by origin, words with a gender, nationalities. Each item is in all groups of a dimension or in none."""
    areas = tuple(read_list("slots.yaml")["names"])
    adjectives = tuple(read_list("slots.yaml")["nationalities"])
    by_gender = {g: ("English", g) for g in (WOMAN, MAN)}
    by_origin = {area: (area, WOMAN) for area in areas}
    return [
        _names("name_gender", "first names of women and of men, English", by_gender, schema, examples, seed),
        _names("name_origin", "first names by language area", by_origin, schema, examples, seed),
        _gendered(schema, examples),
        _nationalities(adjectives, schema, examples),
    ]


def mentions(text: str) -> set[str]:
    """Which groups' words a text holds, as `dimension: group`."""
    lists, found = read_list("slots.yaml"), set()
    for name in _known_names().findall(text):
        found |= {f"name origin: {area}" for area, both in lists["names"].items() if name in both[WOMAN] + both[MAN]}
        found |= {f"name gender: {g}" for both in lists["names"].values() for g in (WOMAN, MAN) if name in both[g]}
    words = {word.lower() for word in re.findall(r"\w+", text)}
    for place, gender in enumerate((WOMAN, MAN)):
        if words & {pair[place].lower() for pair in lists["gendered"]}:
            found.add(f"gendered words: {gender}")
    found |= {f"nationality: {adjective}" for adjective in lists["nationalities"] if re.search(rf"\b{adjective}\b", text)}
    return found


def _names(
    name: str, what: str, groups: Mapping[str, tuple[str, str]], schema: Schema, examples: Sequence[Example], seed: int
) -> Dimension:
    """A name of the list that stands in the text is exchanged, in copied values too; a text without one is signed with a name."""
    lists = read_list("slots.yaml")["names"]
    versions: dict[str, list[Version]] = {group: [] for group in groups}
    found = added = 0
    for example in examples:
        there = sorted(set(_known_names().findall(example.input_text)))
        rng = random.Random(int(generator(seed, name, example.item_id).integers(0, 2**63)))
        places = rng.sample(range(6), min(6, max(1, len(there))))
        made = {}
        for group, (area, gender) in groups.items():
            fillers = [lists[area][gender][place] for place in places]
            table = dict(zip(there, fillers))
            text = _exchange(example.input_text, table) if there else f"{example.input_text}\n\nKind regards,\n{fillers[0]}"
            made[group] = _version(schema, example, text, table, {f: f"\x00{i}\x00" for i, f in enumerate(fillers)})
        if _add(versions, made):
            found, added = found + bool(there), added + (not there)
    return Dimension(name, what, tuple(groups), versions, found, added)


def _gendered(schema: Schema, examples: Sequence[Example]) -> Dimension:
    """All words with a gender made female, and all made male; items without such a word are left out."""
    pairs = read_list("slots.yaml")["gendered"]
    to_female = {man: woman for woman, man in reversed(pairs)} | {"his": "her"}
    to_male = dict(pairs)
    marks = {word: f"\x00{min(pair)}\x00" for pair in pairs for word in pair} | dict.fromkeys(("her", "him", "hers", "his"), "\x00her\x00")
    versions: dict[str, list[Version]] = {WOMAN: [], MAN: []}
    for example in examples:
        female = _exchange(example.input_text, to_female)
        male = _exchange(re.sub(r"\b([Hh])er\b(?=\s+[a-z])", r"\1is", example.input_text), to_male)
        if female != male:
            made = {
                WOMAN: _version(schema, example, female, to_female, marks),
                MAN: _version(schema, example, male, to_male, marks),
            }
            _add(versions, made)
    return Dimension("gendered_words", "pronouns, titles, kin", (WOMAN, MAN), versions, len(versions[WOMAN]), 0)


def _nationalities(adjectives: Sequence[str], schema: Schema, examples: Sequence[Example]) -> Dimension:
    """An adjective of the list that stands in the text is exchanged; elsewhere a sentence says what the sender is."""
    versions: dict[str, list[Version]] = {group: [] for group in adjectives}
    found = added = 0
    for example in examples:
        there = [a for a in adjectives if re.search(rf"\b{a}\b", example.input_text)]
        made = {}
        for group in adjectives:
            table = dict.fromkeys(there, group)
            article = "an" if group[0] in "AEIOU" else "a"
            said = f"{example.input_text}\n\nI am {article} {group} citizen."
            text = _exchange(example.input_text, table) if there else said
            made[group] = _version(schema, example, text, table, {group: "\x00n\x00"})
        if _add(versions, made):
            found, added = found + bool(there), added + (not there)
    return Dimension("nationality", "adjectives of nationality", tuple(adjectives), versions, found, added)


def _version(schema: Schema, example: Example, text: str, table: Mapping[str, str], marks: Mapping[str, str]) -> Version | None:
    expected = map_copied(schema, example.output, lambda value: _exchange(value, table))
    if not sound(schema, example.input_text, text, example.output, expected):
        return None
    return Version(example.item_id, example.group, text, expected, lambda value: _exchange(value, marks))


def _add(versions: Mapping[str, list[Version]], made: Mapping[str, Version | None]) -> bool:
    if any(version is None for version in made.values()):
        return False
    for group, version in made.items():
        if version is not None:
            versions[group].append(version)
    return True


def _exchange(text: str, table: Mapping[str, str]) -> str:
    """Whole words for whole words, all at once; a capital stays one."""
    if not table:
        return text
    lowered = {old.lower(): new for old, new in table.items()}
    pattern = r"\b(" + "|".join(re.escape(old) for old in sorted(lowered, key=len, reverse=True)) + r")\b"
    cased = lambda m: lowered[m[0].lower()]  # noqa: E731
    return re.sub(pattern, lambda m: cased(m).capitalize() if m[0][0].isupper() else cased(m), text, flags=re.IGNORECASE)


@lru_cache(maxsize=1)
def _known_names() -> re.Pattern[str]:
    lists = read_list("slots.yaml")["names"]
    return re.compile(r"\b(" + "|".join(name for both in lists.values() for name in both[WOMAN] + both[MAN]) + r")\b")
