"""What a step does, by its mode: from the work at hand to its output, a JSON value."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pp_assets.workflows import row_modes
from pp_assets.workflows.asking import ask_json, ask_text, messages_of, system_of
from pp_assets.workflows.functions import Called, call_schema, perform
from pp_assets.workflows.schemas import closed
from pp_assets.workflows.statistics import Measured, statistical_analysis
from pp_assets.workflows.suite import INPUTS, Row, text_of
from pp_assets.workflows.template import as_text
from pp_assets.workflows.work import Work, read_file
from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.progress import steps

FACTS = ("winner", "confidence", "p_value", "effect_size")
ANNOTATION = {"label": {"type": "string"}, "explanation": {"type": "string"}}


def ask(work: Work) -> Any:
    """One answer, text or JSON; with functions, which to call first, then an answer that knows their results."""
    role, prompt, form = _role(work), work.prompt(), work.planned.form
    if work.planned.functions:
        calls = _calls(work, role, prompt, work.planned.functions)
        prompt = f"{prompt}\n\nResults of the functions:\n{json.dumps(calls, ensure_ascii=False)}".strip()
        answer = _answer(work, role, prompt, form)
        return {"answer": answer, "calls": calls}
    if not prompt:
        raise UserError("has nothing to ask", where=work.where, how="give it a prompt")
    return _answer(work, role, prompt, form)


def instructor(work: Work) -> Any:
    """An object by the schema. Where answers of steps before were scored, what statistics say of them is asked for as a constant: no number
    comes from a model that can be computed."""
    form = dict(work.planned.form or {})
    role, prompt = _role(work), work.prompt()
    data = work.measured()
    if work.planned.functions:
        calls = _calls(work, role, prompt, work.planned.functions)
        prompt += f"\n\nResults of the functions:\n{json.dumps(calls, ensure_ascii=False)}"
    elif data.compared:
        facts = {key: value for key, value in statistical_analysis(data).items() if key in (*FACTS, "n", "metric", "alpha")}
        prompt += f"\n\nMeasured on the same items, by paired tests: {json.dumps(facts, ensure_ascii=False)}"
        known = {key: {"const": facts[key]} for key in FACTS if key in form.get("properties", {}) and facts[key] is not None}
        form["properties"] = {**form.get("properties", {}), **known}
    return _answer(work, role, prompt, form)


def extract(work: Work) -> Any:
    """Rows out of sources by criteria. What is extracted must stand in its source; what does not is kept apart, with the reason."""
    config = work.planned.step.extraction_config
    assert config is not None
    model, how = work.model()
    criteria, form = as_text(work.evaluated(config.criteria)), closed({"rows": {"type": "array", "items": {"type": "string"}}})
    system = system_of(_role(work), work.rendered(work.planned.prompt), form)
    sources = _sources(work, work.evaluated(config.source), config.chunk)
    rows: list[Row] = []
    rejected: list[Row] = []
    with steps("extracting", len(sources)) as advance:
        for source, text in sources:
            asked = f"Copy from the text, letter for letter, each passage that meets these criteria: {criteria}\n\nText:\n{text}"
            said = ask_json(model, messages_of(system, asked), form, how)
            folded = " ".join(text.split())
            for passage in dict.fromkeys(said["rows"]):
                stands = bool(passage.strip()) and " ".join(passage.split()) in folded
                row = {"source": source, "input": passage}
                (rows if stands else rejected).append(row if stands else row | {"reason": "does not stand in the source"})
            advance(source)
    seen: dict[str, Row] = {}
    for row in rows:
        seen.setdefault(row["input"], row)
    kept = [{"id": f"{i:05d}", **row} for i, row in enumerate(seen.values())]
    return {"rows": kept, "rejected": rejected, "duplicates": len(rows) - len(kept), "sources": len({name for name, _ in sources})}


def session(work: Work) -> Any:
    """Annotations of all rows, in batches of one conversation. Each batch is on the disk when it is done: a run that was ended goes on
    behind it."""
    config = work.planned.step.session_config
    assert config is not None
    model, how = work.model()
    rows, task = work.rows(), as_text(work.evaluated(config.task))
    from pp_assets.workflows.schemas import full

    fields = full(config.form)["properties"] if config.form else ANNOTATION
    system = system_of(_role(work), "\n\n".join(filter(None, [task, work.rendered(work.planned.prompt)])))
    batches = [rows[i : i + config.batch_size] for i in range(0, len(rows), config.batch_size)]
    key = digest(
        [
            model.identity,
            system,
            fields,
            [(row["id"], row["input"]) for row in rows],
            config.batch_size,
            config.history,
            [how.temperature, how.max_tokens, how.seed],
        ]
    )
    file = work.kept / "sessions" / f"{key[:32]}.json"
    told: list[dict[str, Any]] = json.loads(file.read_text("utf-8")) if config.save_progress and file.is_file() else []
    with steps("annotating", len(batches), len(told)) as advance:
        for batch in batches[len(told) :]:
            ids = [row["id"] for row in batch]
            listed = {"type": "array", "minItems": len(ids), "maxItems": len(ids), "items": closed({"id": {"enum": ids}, **fields})}
            form = closed({"annotations": listed})
            shown = json.dumps([{"id": row["id"], "input": row["input"]} for row in batch], ensure_ascii=False)
            user = f"Annotate each of these rows once, by its id. Answer with JSON by this schema: {json.dumps(form)}\n{shown}"
            talk = [m for one in told[len(told) - config.history :] if config.history for m in one["talk"]]
            messages = [*messages_of(system, user)[:-1], *talk, {"role": "user", "content": user}]
            said = ask_json(model, messages, form, how, lambda value, ids=ids: _each_once(value, ids))
            answer = {"role": "assistant", "content": json.dumps(said, ensure_ascii=False)}
            told.append({"annotations": said["annotations"], "talk": [{"role": "user", "content": user}, answer]})
            if config.save_progress:
                write_atomic(file, json.dumps(told, ensure_ascii=False))
            advance(f"{len(told)} of {len(batches)}")
    notes = {note["id"]: {key: value for key, value in note.items() if key != "id"} for one in told for note in one["annotations"]}
    return {"rows": [{**row, **_as_row(notes[row["id"]])} for row in rows], "batches": len(batches)}


MODES: Mapping[str, Callable[[Work], Any]] = {
    "ask": ask,
    "instructor": instructor,
    "extract": extract,
    "session": session,
    "parallel": row_modes.parallel,
    "batch": row_modes.batch,
    "robust": row_modes.robust,
    "calculate": row_modes.calculate,
}


def _answer(work: Work, role: str, prompt: str, form: Mapping[str, Any] | None) -> Any:
    model, how = work.model()
    if form is None:
        return ask_text(model, messages_of(system_of(role), prompt), how)
    return ask_json(model, messages_of(system_of(role, "", form), prompt), form, how)


def _calls(work: Work, role: str, prompt: str, functions: tuple[Called, ...]) -> list[dict[str, Any]]:
    """Ask which functions to call, and call them."""
    model, how = work.model()
    data = work.measured()
    form = call_schema(functions, list(data.answers))
    listed = "\n".join(f"- {one.name}: {one.description}" for one in functions)
    question = (
        f"{prompt}\n\nFirst say which of these functions to call. Arguments that you leave out have their defaults.\n{listed}".strip()
    )
    said = ask_json(model, messages_of(system_of(role, "", form), question), form, how)
    by_name = {one.name: one for one in functions}
    wanted = {digest(call): call for call in said["calls"]}  # the same call is made once
    return [_performed(work, by_name[call["function"]], call["arguments"], data) for call in wanted.values()]


def _performed(work: Work, function: Called, arguments: Mapping[str, Any], data: Measured) -> dict[str, Any]:
    fixed = {name: work.evaluated(value) for name, value in function.arguments.items()}
    return perform(function, {**arguments, **fixed}, data)


def _sources(work: Work, given: Any, chunk: int) -> list[tuple[str, str]]:
    """Pieces of text with the name of their source: files by name or path, or texts as they are."""
    found = []
    for i, one in enumerate(given if isinstance(given, list) else [given]):
        named = (
            isinstance(one, str) and len(one) < 500 and "\n" not in one and any((f / one).is_file() for f in (work.workspace, work.folder))
        )
        name = one if named else f"source {i + 1}"
        found += [(name, piece) for piece in _pieces(_text(work, one) if named else text_of(one), chunk)]
    if not found:
        raise UserError(
            "there is no text to extract from", where=f"step {work.planned.name}", how="give extraction_config.source files or texts"
        )
    return found


def _text(work: Work, name: str) -> str:
    file = work.file(name)
    if file.suffix in (".txt", ".md", ".html", ".json", ".yaml", ".yml"):
        return file.read_text("utf-8")
    return "\n".join(text_of(next((row[k] for k in INPUTS if row.get(k) is not None), row)) for row in read_file(file))


def _pieces(text: str, chunk: int) -> list[str]:
    """Whole lines, at most `chunk` characters at a time; a longer line is a piece of its own."""
    found: list[str] = []
    for line in text.splitlines(keepends=True):
        if found and len(found[-1]) + len(line) <= chunk:
            found[-1] += line
        else:
            found.append(line)
    return [piece for piece in found if piece.strip()]


def _each_once(value: Mapping[str, Any], ids: list[str]) -> str:
    missing = sorted(set(ids) - {note["id"] for note in value["annotations"]})
    return f"rows {', '.join(missing)} have no annotation, others more than one" if missing else ""


def _as_row(note: Mapping[str, Any]) -> Row:
    """An annotation as a part of its row: the label is what is expected of it."""
    return {**note, "expected": text_of(note["label"])} if "label" in note else dict(note)


def _role(work: Work) -> str:
    return as_text(work.evaluated(work.planned.step.role)) if work.planned.step.role else ""
