"""The modes that ask for many inputs: instances beside each other, a test suite with metrics, damaged inputs, variations of rows."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pp_assets.workflows.asking import Behind, ask_json, ask_text, messages_of, system_of
from pp_assets.workflows.grammar import Instance
from pp_assets.workflows.keys import METRICS, SCENARIOS, STRATEGIES
from pp_assets.workflows.suite import ANSWER, TEXT, Row, Suite, rows_of
from pp_assets.workflows.template import as_text
from pp_assets.workflows.work import Work, read_file
from pp_resources.errors import UserError
from pp_resources.progress import steps

LIMIT = 20_000  # characters of a damaged input
SHOWN = 3


def parallel(work: Work) -> Any:
    """Each instance answers all rows, by its own prompt and model; without rows, once."""
    if work.planned.step.augmentation_strategies:
        return augment(work)
    instances = work.planned.step.instances or [Instance()]
    rows = work.rows() if work.planned.rows is not None else None
    names = _names(work, instances)
    found = []
    with steps("instances", len(instances)) as advance:
        for i, (name, instance) in enumerate(zip(names, instances)):
            own = {"role": name, "input": "{input}"}
            text = work.planned.instances[i] if i < len(work.planned.instances) else None
            prompt = work.prompt(own, text)
            if rows is None:
                found.append({"name": name, **_once(work, instance, name, prompt)})
            else:
                found.append(_answered(work, instance, name, prompt, rows))
            advance(name)
    return {"instances": found}


def batch(work: Work) -> Any:
    """All rows of a test suite, and the metrics of the answers."""
    config = work.planned.step.batch_config
    rows = work.rows()[: config.limit]
    if any("expected" not in row for row in rows):
        raise UserError("a row has no expected answer", where=f"step {work.planned.name}: test_suite", how='give each row "expected"')
    found = _answered(work, Instance(), "answers", work.prompt({"input": "{input}"}), rows)
    return {"instances": [found], "metrics": found["metrics"]}


def robust(work: Work) -> Any:
    """What damaged inputs do to the answers, by the families of edits of the comprehensive suite: paired with the answers to clean ones."""
    from pp_assets.evaluation.suite.asking import Asked
    from pp_assets.evaluation.suite.cases import FAMILIES
    from pp_assets.evaluation.suite.paired import Judge
    from pp_assets.evaluation.suite.robustness import robustness

    step = work.planned.step
    rows = [row for row in work.rows() if "expected" in row][: step.batch_config.limit]
    if not rows:
        raise UserError("no row has an expected answer", where=f"step {step.name}", how='give rows "expected"')
    suite = Suite(step.name, rows, work.seed)
    wanted = {family for name in step.error_scenarios or SCENARIOS for family in SCENARIOS[name]}
    behind = _behind(work, Instance(), step.role, work.prompt({"input": "{input}"}), suite)
    asked = Asked(_Read(work.predictor(behind)))
    clean = {row.item_id: row for row in suite.predictions(suite.answered(asked.answers([row["input"] for row in rows])))}
    judge = Judge.of(suite.spec(suite.schema), [(row["input"], {ANSWER: row["expected"]}) for row in rows])
    families = [family for family in FAMILIES if family.name in wanted]
    found, _ = robustness(judge, suite.examples, clean, asked, limit=LIMIT, families=families)
    scenarios = {
        name: {family: found["families"][family] for family in SCENARIOS[name] if family in found["families"]}
        for name in step.error_scenarios or SCENARIOS
    }
    from pp_assets.evaluation.rounding import rounded

    return rounded({"scenarios": scenarios, "cases": found["cases"], "rows": len(rows), "model": behind.name})


def calculate(work: Work) -> Any:
    """Metrics of answers that are there: of each instance of a step, or of rows that hold `output` and `expected`."""
    config, component = work.planned.step.batch_config, work.planned.component
    value = work.evaluated(work.planned.rows)
    value = read_file(work.file(value)) if isinstance(value, str) else value
    instances = value.get("instances") if isinstance(value, Mapping) else None
    if instances is None:
        rows = value.get("rows") if isinstance(value, Mapping) else value
        instances = [{"name": "answers", "rows": rows}]
    listed = [name for some in (component.metrics.values() if component else ()) for name in some]
    names = config.metrics if "metrics" in config.model_fields_set or not listed else listed
    found = {}
    for one in instances:
        answers = {row["id"]: row for row in _with_ids(one["rows"], work)}
        suite = Suite(work.planned.name, [row for row in answers.values() if row.get("expected") is not None], work.seed)
        if not suite.rows:
            raise UserError(
                f"the rows of {one['name']} have no expected answer", where=f"step {work.planned.name}", how="give each 'expected'"
            )
        found[one["name"]] = _metrics(suite, suite.rows, names, config.scorers)
    return {"metrics": found}


def augment(work: Work) -> Any:
    """Other rows like those that are there: each instance makes as many as there are, by the strategies in turn, with a seed of its own."""
    from pp_assets.data.generation.asked import ask as ask_rows
    from pp_assets.data.generation.made import as_row
    from pp_assets.data.generation.methods import Source, synonym
    from pp_assets.task.examples import Example
    from pp_assets.task.spec import Generation

    step = work.planned.step
    rows = work.rows()
    given = [{**row, "expected": row.get("expected", "")} for row in rows]
    suite = Suite(step.name, given, work.seed)
    examples, schema = suite.examples, suite.schema
    strategies = [STRATEGIES[name] for name in step.augmentation_strategies]
    asked_for = [name for name in strategies if name != "synonyms"]
    made: list[Row] = []
    dropped: Counter[str] = Counter()
    seen = {row["input"] for row in rows}
    instances = step.instances or [Instance()]
    for i, instance in enumerate(instances):
        model, how = work.model(instance)
        share = len(rows) * len(asked_for) // len(strategies) or 1
        if asked_for:
            spec = Generation(ask=asked_for, ask_rows=share)  # type: ignore[arg-type]
            found = ask_rows(cast(Any, _Buying(model)), schema, examples, spec, how.seed + i, work.prompt())
            dropped.update(found.dropped)
            drafts = [(one.example, one.method, one.parent) for one in found.rows]
        else:
            drafts = []
        if "synonyms" in strategies:
            drafts += _exchanged(Source(schema, examples), synonym, as_row, how.seed + i, len(rows) - (share if asked_for else 0), dropped)
        for example, method, parent in cast(list[tuple[Example, str, str]], drafts):
            if example.input_text in seen:
                dropped["says what another row says"] += 1
                continue
            seen.add(example.input_text)
            row = {"id": f"{len(rows) + len(made):05d}", "input": example.input_text, "method": method, "parent": parent, "instance": i + 1}
            made.append(row | ({"expected": example.output[ANSWER]} if example.output[ANSWER] else {}))
    return {"rows": [*rows, *made], "made": len(made), "by_method": dict(Counter(row["method"] for row in made)), "dropped": dict(dropped)}


class _Buying:
    """A counted model as the generation of rows asks it."""

    budget, spent = None, 0

    def __init__(self, model: Any) -> None:
        self.model, self.url, self.ask = model.name, model.identity, model.ask


class _Read:
    """A predictor whose answers are read as those of a suite: what is around the JSON is not theirs."""

    def __init__(self, predictor: Any) -> None:
        self.name, self.predict = predictor.name, predictor.predict


def _exchanged(source: Any, method: Any, as_row: Any, seed: int, count: int, dropped: Counter[str]) -> list[Any]:
    """Rows with words exchanged for synonyms, made without a model."""
    rng, found = random.Random(seed), []
    rows = source.rows
    try:
        for i in range(max(0, count)):
            row = rows[(seed + i) % len(rows)]
            draft = method(source, row, rng)
            if draft is None:
                dropped["no word has a synonym"] += 1
            else:
                found.append((as_row(source.schema, row, draft, "synonyms", seed).example, "token_replacement", row.item_id))
    except UserError as error:
        dropped[f"token_replacement: {error.what}"] += count
    return found


def _answered(work: Work, instance: Instance, name: str, prompt: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The answers of one instance, scored where every row has an expected one."""
    scored = all("expected" in row for row in rows)
    suite = Suite(work.planned.name, [{"expected": "", **row} for row in rows], work.seed, work.planned.form)
    if not scored:
        suite = Suite(suite.name, suite.rows, suite.seed, work.planned.form or TEXT)
    behind = _behind(work, instance, name if instance.role else work.planned.step.role or name, prompt, suite)
    predictions = work.predictor(behind).predict([row["input"] for row in rows])
    answered = suite.answered(predictions)
    config = work.planned.step.batch_config
    metrics = _metrics(suite, answered, config.metrics, config.scorers) if scored else None
    if not scored:
        answered = [{key: value for key, value in row.items() if key != "expected" or value} for row in answered]
    how = behind.how
    asked: dict[str, Any] = {"model": behind.name, "system": behind.system, "user": behind.user, "schema": behind.form, "form": suite.form}
    asked |= {"temperature": how.temperature, "max_tokens": how.max_tokens, "seed": how.seed}
    return {"name": name, "model": behind.name, "asked": asked, "metrics": metrics, "rows": answered}


def _behind(work: Work, instance: Instance, role: str, prompt: str, suite: Suite) -> Behind:
    model, how = work.model(instance)
    return work.behind(model, how, prompt, role, suite.asked_form)


def _once(work: Work, instance: Instance, role: str, prompt: str) -> dict[str, Any]:
    model, how = work.model(instance)
    form = work.planned.form
    if not prompt:
        raise UserError(
            f"instance {role} has nothing to ask", where=f"step {work.planned.name}", how="give it a prompt_template or test_data"
        )
    messages = messages_of(system_of(role, "", form), prompt)
    output = ask_text(model, messages, how) if form is None else ask_json(model, messages, form, how)
    return {"model": model.name, "output": output}


def _metrics(suite: Suite, answered: Sequence[Row], names: Sequence[str], scorers: Mapping[str, str]) -> dict[str, Any]:
    """Those of the evaluation, and those of the user's own functions: the mean of function(output, expected)."""
    import numpy as np

    from pp_assets.evaluation.rounding import rounded
    from pp_assets.task.contract.spec import resolve_scorer

    known = [name for name in names if name not in scorers or name in METRICS]
    found = suite.metrics(answered, known)
    for name in (name for name in names if name not in known):
        score = resolve_scorer(scorers[name])
        values = [float(score(row["output"], row["expected"])) for row in answered if row["output"] is not None]
        reason = "" if values else "no answer could be read"
        found[name] = {
            "value": float(np.mean(values)) if values else None,
            "n": len(values),
            "method": f"mean of {scorers[name]}",
            "reason": reason,
        }
    return dict(rounded({name: found[name] for name in names}))


def _names(work: Work, instances: Sequence[Instance]) -> list[str]:
    """The role of each, numbered where it is none or another's."""
    names: list[str] = []
    for i, one in enumerate(instances):
        role = as_text(work.evaluated(one.role)) if one.role else f"instance_{i + 1}"
        names.append(role if role not in names else f"{role}_{i + 1}")
    return names


def _with_ids(rows: Any, work: Work) -> list[Row]:
    """Rows that hold an answer already, in `output`."""
    found = []
    for row, plain in zip(rows, rows_of([{**row, "output": None} for row in rows], f"step {work.planned.name}")):
        if "output" not in row:
            raise UserError("a row has no output", where=f"step {work.planned.name}", how="give test_data that was answered")
        found.append({**plain, "output": None if row["output"] is None else as_text(row["output"]), "raw": row.get("raw", "")})
    return found
