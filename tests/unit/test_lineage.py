"""The lineage of a task on small real artifacts: edges by digest, reasons, prompts, events; the tree, the JSON and the page."""

import json
import re

import pytest
from command_line import command_line
from small_task import write_task

from pp_assets.champion import promote
from pp_assets.lineage.events import events
from pp_assets.lineage.graph import PROMPT, lineage
from pp_assets.lineage.page import LONGEST, SHOWN, write_page
from pp_assets.pipeline import ADAPTERS, DATASETS, EVALUATIONS, PACKAGES, Pipeline
from pp_assets.task.prompt import prompt_words
from pp_assets.task.spec import load_task
from pp_resources.settings import Settings
from pp_resources.store.work import Decision

HOSTILE = '</script><script>alert("x")</script>'


@pytest.fixture
def place(tmp_path):
    write_task(tmp_path / "tasks", "alpha")
    return Pipeline(Settings(home=tmp_path / "pp", tasks=tmp_path / "tasks", threads=1))


def make(p, kind, key, inputs, content, **metadata):
    def build(out):
        (out / "content.txt").write_text(content)
        return metadata

    return p.store.produce(kind, key, inputs, build)


def chain(p, round_, variant="encoder-lora", system_prompt="Route it."):
    """Data, an adapter, its evaluation and the package, of one round."""
    words = prompt_words(load_task("alpha", p.settings.tasks).spec.model_copy(update={"system_prompt": system_prompt}))
    data = make(p, DATASETS, "alpha", {"data": f"file {round_}", "code": "c"}, f"data {round_}", kept=96 + round_)
    rows = {"train": f"rows {round_}", "code": "c"}
    adapter = make(p, ADAPTERS, f"alpha/{variant}", rows, f"{variant} {round_}", made_from={"dataset": data.digest}, train_rows=50)
    inputs = {"dataset": data.digest, "adapter": adapter.digest, "spec": "s"}
    report = make(
        p, EVALUATIONS, f"alpha/{variant}", inputs, f"r {variant} {round_}", verdict="SHIP", value=0.5 + round_ / 10, prompt=words
    )
    packed = make(
        p, PACKAGES, f"alpha/{variant}", {"evaluation": report.digest, "adapter": adapter.digest}, f"p {variant} {round_}", verdict="SHIP"
    )
    return data, adapter, report, packed


def by(found, kind, version=None):
    return [node for node in found.nodes if node.kind == kind and version in (None, node.version)]


def sources(node):
    return {source.name: source.node for source in node.made_from}


def test_each_version_knows_what_it_was_made_from_and_why_it_was_made_again(place):
    first, second = chain(place, 1), chain(place, 2)
    found = lineage(place, "alpha")
    ids = {node.id for node in found.nodes}
    for made in (first, second):
        data, adapter, report, packed = (f"{one.kind}/{one.key}/{one.path.name}" for one in made)
        assert {data, adapter, report, packed} <= ids
        known = found.by_id()
        assert sources(known[report]) | {"prompt": None} == {"dataset": data, "adapter": adapter, "spec": None, "prompt": None}
        assert sources(known[packed]) == {"evaluation": report, "adapter": adapter}
        assert sources(known[adapter])["dataset"] == data and sources(known[adapter])["train"] is None, "rows are no artifact"
    old, new = by(found, ADAPTERS)
    assert (old.why, new.why) == ("first version", "changed: train") and (old.current, new.current) == (False, True)
    assert by(found, DATASETS)[1].why == "changed: data" and by(found, EVALUATIONS)[1].why == "changed: adapter, dataset"
    assert by(found, EVALUATIONS)[1].says == "SHIP; value 0.7" and by(found, DATASETS)[0].says == "kept 97"


def test_equal_content_is_linked_to_the_version_that_was_there_before(place):
    one = make(place, "clusters", "alpha", {"a": "1"}, "same")
    user = make(place, "drifts", "alpha", {"clusters": one.digest}, "d")
    make(place, "clusters", "alpha", {"a": "2"}, "same")
    found = lineage(place, "alpha")
    assert user.inputs["clusters"] == by(found, "clusters")[1].digest
    assert sources(by(found, "drifts")[0])["clusters"] == f"clusters/alpha/{one.path.name}"


def test_kinds_that_nobody_has_heard_of_appear_by_themselves_and_other_tasks_do_not(place):
    data, *_ = chain(place, 1)
    write_task(place.settings.tasks, "alpha-2")
    make(place, "prompts", "alpha", {"dataset": data.digest}, "search", gain=0.04, reason="not proven")
    make(place, "pipelines", "alpha/prompt-engineering-iterative", {"x": "1"}, "report")
    make(place, "pipelines", "alpha-2", {"x": "1"}, "other")
    found = lineage(place, "alpha")
    (search,) = by(found, "prompts")
    assert sources(search)["dataset"].startswith("datasets/alpha/") and search.says == "gain 0.04; not proven"
    assert [node.key for node in by(found, "pipelines")] == ["alpha/prompt-engineering-iterative"]


def test_prompts_are_told_by_their_words(place):
    chain(place, 1)
    chain(place, 2, system_prompt="Route it well.")
    found = lineage(place, "alpha")
    today, first, second = by(found, PROMPT)  # the file was written before
    assert (first.metadata["system_prompt"], second.metadata["system_prompt"]) == ("Route it.", "Route it well.")
    assert second.why == "changed: system_prompt" and not second.current
    assert today.current and today.digest == prompt_words(load_task("alpha", place.settings.tasks).spec)["digest"]
    assert [sources(node)["prompt"] for node in by(found, EVALUATIONS)] == [first.id, second.id]
    (place.settings.tasks / "alpha" / "task.yaml").write_text("broken: [")
    assert len(by(lineage(place, "alpha"), PROMPT)) == 2, "what was made is still there"


def test_a_variant_alone_keeps_what_the_task_shares(place):
    chain(place, 1)
    chain(place, 1, "lora-r8")
    assert {node.key for node in lineage(place, "alpha", "lora-r8").nodes} == {"alpha", "alpha/lora-r8"}


def test_openings_champions_and_decisions_are_events_of_their_artifacts(place):
    (data, _, report, packed), (_, _, report2, packed2) = chain(place, 1), chain(place, 2)
    promote(place, "alpha", "encoder-lora", packed, report)
    promote(place, "alpha", "encoder-lora", packed2, report2)
    place.ledger.parent.mkdir(parents=True)
    entry = {"at": "2026-01-01T00:00:00.000+00:00", "task": "alpha", "dataset": data.path.name, "reason": "baselines"}
    lines = [entry, entry | {"task": "beta"}, entry | {"reason": "evaluation", "dataset": "gone"}]
    place.ledger.write_text("\n".join(map(json.dumps, lines)) + '\n{"at": "half a li')
    place.inbox.store.write(
        Decision(task="alpha", kind="rollback", data={"reason": "it misses urgent mail", "was": {"package": packed2.digest}})
    )
    told = events(place, lineage(place, "alpha"))
    assert [(one["kind"], one["text"]) for one in told[:2]] == [("test opening", "baselines"), ("test opening", "evaluation")]
    assert [one["node"] for one in told[:2]] == [f"datasets/alpha/{data.path.name}", None]
    champions = [one for one in told if one["kind"] == "champion"]
    assert {one["node"] for one in champions} == {f"packages/alpha/encoder-lora/{one.path.name}" for one in (packed, packed2)}
    (decision,) = [one for one in told if one["kind"] == "decision: rollback"]
    assert decision["text"] == "it misses urgent mail" and decision["node"].endswith(packed2.path.name)


def test_nothing_is_opened_or_made_by_looking(place):
    chain(place, 1)
    before = sorted(path for path in place.settings.home.rglob("*"))
    events(place, lineage(place, "alpha"))
    assert sorted(path for path in place.settings.home.rglob("*")) == before


def test_the_page_holds_every_version_once_and_loads_nothing(place, tmp_path):
    for round_ in range(SHOWN + 3):
        chain(place, round_)
    make(place, "prompts", "alpha", {"x": HOSTILE}, "h", reason=HOSTILE, long="y" * 5000)
    found = lineage(place, "alpha")
    write_page(tmp_path / "a.html", found, events(place, found))
    text = (tmp_path / "a.html").read_text("utf-8")
    assert HOSTILE not in text and "default-src 'none'" in text and not re.search(r"(?:src|href)=", text)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert set(data["nodes"]) == {node.id for node in found.nodes}
    assert data["chosen"] == by(found, PACKAGES)[-1].id and len(data["nodes"][by(found, "prompts")[0].id]["metadata"]["long"]) == LONGEST
    drawn = re.findall(r'class="node(?: now)?" data-id="([^"]+)"', text)
    assert len(drawn) == len(set(drawn)) and sum(one.startswith("adapters/") for one in drawn) == SHOWN
    edges = re.findall(r'data-from="([^"]+)" data-to="([^"]+)"', text)
    assert edges and {end for edge in edges for end in edge} <= set(drawn)
    places = {one: int(x) for one, x in re.findall(r'data-id="([^"]+)"[^>]*translate\((\d+),', text)}
    assert all(places[a] < places[b] for a, b in edges), "what is made stands to the right of what it is made from"
    write_page(tmp_path / "b.html", found, events(place, found))
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()


def test_kinds_that_are_made_from_each_other_are_drawn_all_the_same(place, tmp_path):
    one = make(place, "ones", "alpha", {"a": "1"}, "1")
    two = make(place, "twos", "alpha", {"one": one.digest}, "2")
    make(place, "ones", "alpha", {"two": two.digest}, "3")
    write_page(tmp_path / "a.html", lineage(place, "alpha"), [])
    assert (tmp_path / "a.html").read_text("utf-8").count('class="edge"') == 2


def test_the_command_shows_the_tree_the_versions_and_the_page(place, tmp_path, capfd):
    pp = command_line(tmp_path, capfd)
    nothing = pp("lineage", "alpha")
    assert nothing.code == 2 and "nothing was made yet; run 'pp run alpha'" in nothing.err
    chain(place, 1)
    _, adapter, report, packed = chain(place, 2)
    promote(place, "alpha", "encoder-lora", packed, report)
    said = pp("lineage", "alpha", "--out", str(tmp_path / "page.html"))
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert "in force, each above what it was made from" in lines[0] and f"packages encoder-lora {packed.path.name[:8]}" in lines[1]
    assert any(f"adapters encoder-lora {adapter.path.name[:8]}" in line and "changed: train" in line for line in lines)
    assert f"encoder-lora {packed.digest[:8]} became champion" in said.out and (tmp_path / "page.html").stat().st_size > 5000
    found = pp("lineage", "alpha", "-v", "encoder-lora", "--json").json
    assert found["variant"] == "encoder-lora"
    assert {node["kind"] for node in found["nodes"]} == {DATASETS, ADAPTERS, EVALUATIONS, PACKAGES, PROMPT}
    assert pp("lineage", "alpha", "-v", "encoder-lra").code == 2 and pp("lineage", "alpa").code == 2
