"""What a server of experiments does, without the server: finds steps and models by name, makes sure that they are the same, calls them.

Only functions at the top of allowed modules are called, and only when their code is that of whoever asks; nothing that is sent is run.
"""

import importlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from types import FunctionType
from typing import Any

import orjson

from pp_assets.experiment.calls import Pace, one_by_one, together
from pp_assets.experiment.exchange import BAD, FORBIDDEN, OTHER, UNKNOWN, Refusal, answered, document, failed, late, objects_of
from pp_assets.experiment.fingerprint import Fingerprint
from pp_assets.experiment.ops import Op, as_op, label
from pp_assets.experiment.systems import TrainedModel, models, trained
from pp_assets.experiment.wire import CODE, unpack
from pp_assets.pipeline import Pipeline
from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError, nearest
from pp_resources.settings import Settings

# Always allowed: asking trained models, reading what they say, scoring it by a task.
OURS = {"pp_assets.experiment.systems": ("ask", "parsed"), "pp_assets.experiment.item_scores": ("score_answer",)}
STEPS = 1000  # different ones (a scorer with other rules is another one) that are remembered


class Served:
    """The steps and models that one server offers: of modules that are `allowed` (a package allows its modules), the variants that were
    trained in this installation, and `packages` by their folders. Raises UserError for a module that cannot be imported."""

    def __init__(self, allowed: Sequence[str], packages: Sequence[Path] = ()) -> None:
        self.allowed = tuple(allowed)
        self._lock = threading.RLock()
        self._modules: dict[str, dict[str, Any]] = {}
        self._code: dict[str, dict[str, str] | UserError] = {}
        self._ops: dict[bytes, tuple[Op, dict[str, str], Pace]] = {}
        self._models: dict[str, TrainedModel] = {model.identity: model for model in models(*map(str, packages))}
        for name in (*allowed, *OURS):
            self._learn(name)

    @property
    def steps(self) -> list[str]:
        """What may be called in the modules that have been imported, as module:name."""
        return sorted(f"{module}:{name}" for module, names in self._modules.items() if module not in OURS for name in names)

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises Refusal for a step that is not here, or of which this process has other code, and then says what differs."""
        for asked in objects_of(request, "ops"):
            self._op(asked, asked.get("parts"))

    def answer(self, request: Mapping[str, Any], seconds: float) -> bytes:
        """Make the calls of a request; those that were not begun after so many seconds fail. Raises Refusal for a request that is none of
        ours, UserError where a step does."""
        until = time.monotonic() + seconds
        op, pace = self._op(request.get("op"), None)
        shared = self._arguments(request.get("shared"))
        calls = [shared | self._arguments(call) for call in objects_of(request, "calls")]
        self._fit(op, calls)
        if request.get("together") and op.batch:
            return document(together(op, calls, pace, answered, failed))
        made = []
        for told in one_by_one(op, calls, pace, answered, failed):
            made.append(told)
            if time.monotonic() > until:
                break
        return document([*made, *[late(seconds)] * (len(calls) - len(made))])

    def _fit(self, op: Op, calls: Sequence[Mapping[str, Any]]) -> None:
        arguments = op.arguments
        for call in calls[:1]:
            wrong = sorted(call.keys() - arguments.keys()) + sorted(
                name for name, needed in arguments.items() if needed and name not in call
            )
            if wrong:
                raise Refusal(BAD, f"argument {wrong[0]!r} is missing or unknown", where=op.name)

    def _op(self, asked: Any, theirs: Mapping[str, str] | None) -> tuple[Op, Pace]:
        try:
            at, name, digest, bound, many = (asked[key] for key in ("at", "name", "digest", "bound", "many"))
            known = orjson.dumps([at, name, bound])
        except (KeyError, TypeError) as error:
            raise Refusal(BAD, f"a step that is none ({error})", where="request") from error
        with self._lock:
            if len(self._ops) > STEPS:
                self._ops.clear()
            if known not in self._ops:
                op = as_op(self._find(at))
                values = self._arguments(bound)
                op = replace(op, name=str(name), function=partial(op.function, **values) if values else op.function)
                self._ops[known] = op, self._code_of(at, op, bool(values)), Pace(op.per_minute)
            op, code, pace = self._ops[known]
        mine = Fingerprint(code | op.files())
        if mine.digest != digest:
            differs = mine.changed(theirs) if isinstance(theirs, dict) else []
            how = f"{'; '.join(differs) or 'its fingerprint is another'}: bring both to one version, and start the server again"
            raise Refusal(OTHER, f"the server has other code of {at}", where=f"step {name!r}", how=how)
        if many != (op.batch[0] if op.batch else None):
            how = "say it by @op where the function is defined"
            raise Refusal(OTHER, f"on the server {at} takes {'other ' if op.batch else 'no '}batches", where=f"step {name!r}", how=how)
        return op, pace

    def _code_of(self, at: str, op: Op, bound: bool) -> dict[str, str]:
        """The parts of the code that was imported. Where values are bound to it they have to be made anew, from files that may have been
        edited meanwhile."""
        before = self._code[at]
        if isinstance(before, UserError):
            raise before
        if not bound:
            return before
        if as_op(self._find(at)).code() != before:
            raise Refusal(
                OTHER, f"a file of {at} was changed after the server had imported it", where=op.name, how="start the server again"
            )
        return op.code()

    def _find(self, at: Any) -> Any:
        module, _, name = str(at).partition(":")
        if not any(module == one or module.startswith(f"{one}.") for one in (*self.allowed, *OURS)):
            told = f"allowed are {', '.join(self.allowed)}" if self.allowed else "none is"
            raise Refusal(
                FORBIDDEN, f"the module {module!r} is not allowed on the server", where=str(at), how=f"{told}; start it with --allow"
            )
        with self._lock:
            if module not in self._modules:
                self._learn(module)
            names = self._modules[module]
        if name not in names:
            raise Refusal(UNKNOWN, f"the server's module {module} has no function {name!r}", where=str(at), how=nearest(name, names))
        return names[name]

    def _learn(self, module: str) -> None:
        """Import a module and take the fingerprints of all its functions, before anybody edits its file."""
        try:
            found = vars(importlib.import_module(module))
        except ImportError as error:
            raise Refusal(UNKNOWN, f"cannot be imported ({error})", where=module, how="start the server where its file is") from error
        self._modules[module] = {}
        for value in list(found.values()):
            function = value.function if isinstance(value, Op) else value
            if not isinstance(function, FunctionType) or function.__module__ != module:
                continue
            name = function.__qualname__
            if "." not in name and name in OURS.get(module, (name,)):
                self._modules[module][name] = value
                try:
                    self._code[f"{module}:{name}"] = as_op(value).code()
                except UserError as error:
                    self._code[f"{module}:{name}"] = error

    def _arguments(self, packed: Any) -> dict[str, Any]:
        try:
            return {name: unpack(value, self._named) for name, value in dict(packed).items()}
        except (TypeError, ValueError, RecursionError) as error:
            raise Refusal(BAD, f"the arguments cannot be read ({error})", where="request") from error

    def _named(self, tag: str, words: Mapping[str, Any]) -> Any:
        return self._function(words) if tag == CODE else self._model(words)

    def _function(self, words: Mapping[str, Any]) -> Any:
        found = self._find(words.get("at"))
        code = self._code[str(words.get("at"))]
        if isinstance(code, UserError):
            raise code
        if Fingerprint(code | as_op(found).files()).digest != words.get("digest"):
            raise Refusal(OTHER, f"the server has other code of {words.get('at')}", where="argument", how="bring both to one version")
        return found

    def _model(self, words: Mapping[str, Any]) -> Any:
        """A model of this name and identity: a trained one, or one at the top of an allowed module."""
        name, key, identity, kind = (words.get(word) for word in ("name", "key", "identity", "type"))
        trained_one = kind == TrainedModel.__qualname__
        with self._lock:
            if trained_one and str(identity) in self._models:
                return self._models[str(identity)]
            same = [_trained(str(key))] if trained_one else [m for m in self._objects() if str(label(m)) == name]
            for model in same:
                if model.identity == identity and type(model).__qualname__ == kind:
                    return self._models.setdefault(model.identity, model) if trained_one else model
        if same:
            how = "train, package or configure it alike on both sides"
            raise Refusal(OTHER, f"the server's {name!r} is another model under the same name", where="model", how=how)
        names = {str(label(m)) for m in self._objects()}
        raise Refusal(
            UNKNOWN, f"the server has no model {name!r}", where="model", how=f"in its allowed modules: {nearest(str(name), names)}"
        )

    def _objects(self) -> Iterator[Any]:
        """What has an identity at the top of an allowed module, or in a list or dict there."""
        for module in self._modules:
            for value in list(vars(importlib.import_module(module)).values()):
                inner = value if isinstance(value, list | tuple) else value.values() if isinstance(value, dict) else ()
                for one in chain([value], inner):
                    if not isinstance(one, type | Op) and isinstance(getattr(one, "identity", None), str):
                        yield one


def _trained(key: str) -> TrainedModel:
    if not all(map(SLUG.match, key.split("/"))) or key.count("/") != 1:
        raise Refusal(UNKNOWN, f"{key!r} is no TASK/VARIANT", where="model")
    try:
        return trained(Pipeline(Settings.from_env()), key)
    except UserError as error:
        raise Refusal(UNKNOWN, error.what, where="model on the server", how=error.how) from error
