"""A contract as a person writes it: a tree (dimension, sub-dimension) or flat questions. Both forms say the same and are turned into each
other without loss."""

import importlib
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pp_assets.task.contract.aggregate import Aggregation
from pp_assets.task.spec_file import FieldProblem, user_error
from pp_resources.errors import nearest
from pp_resources.fingerprint import digest

# What each kind reads: settings that it must have, settings that it may have.
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "schema": ((), ()),
    "enum": (("field", "values"), ()),
    "range": (("field",), ("minimum", "maximum")),
    "regex": (("field", "pattern"), ()),
    "length": (("field",), ("minimum", "maximum")),
    "format": (("field", "format"), ()),
    "match": ((), ("field", "compare")),
    "grounding": (("field",), ()),
    "forbidden": ((), ("keys",)),
    "semantic": ((), ("field", "against")),
    "python": (("scorer",), ("kwargs",)),
    "judge": ((), ()),
}
SETTINGS = ("field", "values", "minimum", "maximum", "pattern", "format", "compare", "keys", "against", "scorer", "kwargs")
FORMATS = ("date", "time", "date-time", "email", "uri", "uuid")
_T = TypeVar("_T", bound=BaseModel)
SCORER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^/\n]+$")]
Share = Annotated[float, Field(ge=0, le=1)]
Point = Annotated[tuple[Share, Share], Field(strict=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Rule(_Strict):
    """What is scored. Which settings belong to which kind is in KINDS."""

    kind: Literal[
        "schema", "enum", "range", "regex", "length", "format", "match", "grounding", "forbidden", "semantic", "python", "judge"
    ] = "judge"
    lower_is_better: bool = False
    field: str | None = Field(default=None, min_length=1, description="dotted path in the output")
    values: list[str | int | float | bool | None] | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    format: Literal["date", "time", "date-time", "email", "uri", "uuid"] | None = None
    compare: Literal["exact", "casefold", "set", "ordered", "partial"] | None = None
    keys: list[str] | None = Field(default=None, description="default: every key that the output schema does not name")
    against: Literal["label", "input"] | None = Field(default=None, description="default: label")
    scorer: str | None = Field(default=None, description="module:function of an installed module")
    kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _settings(self) -> Self:
        needed, allowed = KINDS[self.kind]
        given = [name for name in SETTINGS if getattr(self, name) is not None]
        for name in given:
            if name not in (*needed, *allowed):
                raise FieldProblem(name, f"is no setting of kind {self.kind!r}", nearest(name, (*needed, *allowed)))
        for name in needed:
            if name not in given:
                raise FieldProblem(name, f"kind {self.kind!r} needs it")
        if self.kind in ("range", "length"):
            if self.minimum is None and self.maximum is None:
                raise FieldProblem("minimum", f"kind {self.kind!r} needs minimum, maximum or both")
            if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
                raise FieldProblem("minimum", f"{self.minimum:g} is above the maximum {self.maximum:g}")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise FieldProblem("pattern", f"is no regular expression: {error}") from error
        if self.scorer is not None and not SCORER.fullmatch(self.scorer):
            raise FieldProblem("scorer", f"{self.scorer!r} is not module:function", "name a function of an installed module")
        return self


class Gate(_Rule):
    """The node below it counts only where this rule scores above `at` (with `on_low`: at most `at`); elsewhere the node has no score."""

    label: Label
    description: str = ""
    at: Share = 0.5
    on_low: bool = False


class _Node(_Rule):
    label: Label
    weight: float = Field(default=1.0, ge=0)
    hard_gate: Share | None = Field(default=None, description="the total is 0 where this node's score, before its map, is below")
    map: list[Point] | None = Field(default=None, min_length=1, description="calibration: points (score, calibrated score)")
    gate: Gate | None = None

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        check_map(self.map)
        return self


class Node(_Node):
    """A sub-dimension: one score of 0..1, or none with a reason."""

    description: str = ""


class Question(_Node):
    """The same in the flat form, under a heading (`tag`)."""

    question: str = ""
    tag: Label = "questions"


class _Heading(_Strict):
    label: Label
    description: str = ""
    weight: float = Field(default=1.0, ge=0)
    aggregation: Aggregation | None = Field(default=None, description="default: the contract's")
    map: list[Point] | None = Field(default=None, min_length=1)
    gate: Gate | None = None

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        check_map(self.map)
        return self


class Dimension(_Heading):
    sub_dimensions: list[Node] = Field(min_length=1)


class Tag(_Heading):
    """What the flat form keeps of a dimension beside its questions."""


class _Whole(_Strict):
    version: Literal[1] = 1
    name: str = ""
    description: str = ""
    aggregation: Aggregation = "arithmetic"
    output_schema: dict[str, Any] | None = Field(default=None, description="default: the task's")


class Contract(_Whole):
    """The tree form, which is the one that is scored. Weights are normalised within a dimension, and among the dimensions; with `flat`
    dimensions are headings alone: all nodes are weighed against each other."""

    flat: bool = False
    dimensions: list[Dimension] = Field(min_length=1)

    @model_validator(mode="after")
    def _levels(self) -> Self:
        _distinct([d.label for d in self.dimensions], "dimensions")
        for place, dimension in enumerate(self.dimensions):
            where = f"dimensions.{place}.sub_dimensions"
            _distinct([node.label for node in dimension.sub_dimensions], where)
            if not self.flat:
                _weighed([node.weight for node in dimension.sub_dimensions], where)
            elif dimension.model_dump(exclude={"label", "sub_dimensions"}) != Tag(label="x").model_dump(exclude={"label"}):
                raise FieldProblem(f"dimensions.{place}", "with 'flat: true' a dimension is a heading alone", "leave out flat")
        weights = [n.weight for _, n in self.nodes()] if self.flat else [d.weight for d in self.dimensions]
        _weighed(weights, "dimensions")
        return self

    def nodes(self) -> Iterator[tuple[str, Node]]:
        """(path, node) in order; the path is ``dimension/sub-dimension``."""
        for dimension in self.dimensions:
            yield from ((f"{dimension.label}/{node.label}", node) for node in dimension.sub_dimensions)

    def plain(self) -> dict[str, Any]:
        """What stands in a file: everything that is not as by default."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"version": 1}

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))


class Questions(_Whole):
    """The flat form. Without `tags` the questions are weighed against each other; with them first within their tag. Questions of one tag
    stand together, tags in order of their first question."""

    questions: list[Question] = Field(min_length=1)
    tags: list[Tag] | None = None

    @model_validator(mode="before")
    @classmethod
    def _together(cls, raw: Any) -> Any:
        asked = raw.get("questions") if isinstance(raw, dict) else None
        if not isinstance(asked, list) or not all(isinstance(q, dict) for q in asked):
            return raw
        order = list(dict.fromkeys(str(q.get("tag", "questions")) for q in asked))
        return raw | {"questions": sorted(asked, key=lambda q: order.index(str(q.get("tag", "questions"))))}

    @model_validator(mode="after")
    def _known(self) -> Self:
        used = list(dict.fromkeys(q.tag for q in self.questions))
        for place, tag in enumerate(self.tags or []):
            if tag.label not in used:
                raise FieldProblem(f"tags.{place}.label", f"no question has the tag {tag.label!r}", nearest(tag.label, used))
        if self.tags is not None and [t.label for t in self.tags] != used:
            raise FieldProblem("tags", f"the tags of the questions are {', '.join(used)}", "list each once, in this order")
        return self

    def plain(self) -> dict[str, Any]:
        """As for the tree."""
        found = self.model_dump(mode="json", exclude_defaults=True) | {"version": 1}
        return found if self.tags is None else found | {"tags": [tag.model_dump(mode="json", exclude_defaults=True) for tag in self.tags]}


def to_flat(contract: Contract) -> Questions:
    """The tree as flat questions."""
    shared = contract.model_dump(exclude={"dimensions", "flat"})
    asked, tags = [], []
    for dimension in contract.dimensions:
        tags.append(dimension.model_dump(exclude={"sub_dimensions"}))
        for node in dimension.sub_dimensions:
            said = node.model_dump()
            asked.append({"question": said.pop("description"), "tag": dimension.label, **said})
    return _parse(Questions, shared | {"questions": asked, "tags": None if contract.flat else tags}, "contract")


def to_tree(asked: Questions) -> Contract:
    """Flat questions as a tree: a dimension for each tag."""
    shared = asked.model_dump(exclude={"questions", "tags"})
    headings = {tag.label: tag.model_dump() for tag in asked.tags or []}
    dimensions: dict[str, dict[str, Any]] = {}
    for question in asked.questions:
        said = question.model_dump(exclude={"tag"})
        node = {"description": said.pop("question"), **said}
        heading = dimensions.setdefault(question.tag, {**headings.get(question.tag, {"label": question.tag}), "sub_dimensions": []})
        heading["sub_dimensions"].append(node)
    return _parse(Contract, shared | {"flat": asked.tags is None, "dimensions": list(dimensions.values())}, "contract")


def parse_contract(raw: dict[str, Any], where: str) -> Contract:
    """A contract from plain values in either form. Raises UserError with field and nearest match."""
    return to_tree(_parse(Questions, raw, where)) if "questions" in raw else _parse(Contract, raw, where)


def resolve_scorer(name: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises ImportError or AttributeError."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def check_map(points: list[tuple[float, float]] | None) -> None:
    """Raise FieldProblem unless the scores rise and the calibrated scores never fall."""
    for (x, y), (later_x, later_y) in pairwise(points or []):
        if later_x <= x or later_y < y:
            raise FieldProblem("map", f"({later_x:g}, {later_y:g}) after ({x:g}, {y:g}): scores must rise, calibrated scores never fall")


def _parse(model: type[_T], raw: dict[str, Any], where: str) -> _T:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise user_error(error, model, where) from error


def _distinct(labels: list[str], where: str) -> None:
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise FieldProblem(where, f"label {twice!r} stands twice")


def _weighed(weights: list[float], where: str) -> None:
    if not sum(weights):
        raise FieldProblem(where, "all weights are 0", "give at least one a weight")
