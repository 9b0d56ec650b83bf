"""`pp clusters` on a small task, and on files of texts; a second version of the data keeps the ids of the first."""

import io
import json
from pathlib import Path

import pytest
from causal_tiny import write_tiny_base
from model_server import model_server
from small_task import write_task

from pp_assets.data.clusters.model import load
from pp_assets.pipeline import Pipeline
from pp_resources.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose task `alpha` has its clusters."""
    root = tmp_path_factory.mktemp("installation")
    write_task(root / "tasks", "alpha")
    make(root)
    return root


def make(root: Path):
    p = Pipeline(Settings(root / "pp", root / "tasks", 1))
    return [stage("alpha") for stage in (p.seeds, p.contract, p.generated_data, p.clusters)][-1]


def test_topics_are_shown_with_sizes_names_and_the_path_of_the_map(pp):
    said = pp("clusters", "alpha", "--json")
    assert said.code == 0, said.err
    found = said.json
    assert sum(t["size"] for t in found["topics"]) == found["rows"] and Path(found["map"]).stat().st_size > 1_000_000
    text = pp("clusters", "alpha")
    assert text.code == 0 and found["topics"][0]["name"] in text.out and f"{found['rows']} rows in" in text.out
    assert pp("clusters", "alpha", "--map").out.strip() == found["map"]


def test_texts_get_the_topic_that_like_rows_have_and_strange_ones_none(pp, home, monkeypatch):
    item = load(Path(pp("clusters", "alpha", "--json").json["map"]).parent)
    asked = "hello, where is the driver\nThe mitochondria of a eukaryotic cell\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(asked.encode())))
    said = pp("clusters", "assign", "alpha")
    assert said.code == 0, said.err
    first, second = said.lines
    assert first["topic"] in item.ids and first["input_text"] == "hello, where is the driver"
    assert (second["topic"], second["name"]) == (-1, "unassigned") and second["similarity"] < first["similarity"]
    assert "2 lines, 1 outside of every topic" in said.err


def test_a_map_of_any_file_of_texts(pp, tmp_path):
    lines = [json.dumps({"text": f"the parcel {i} is late"}) for i in range(15)] + [f"please refund {i} dollars" for i in range(15)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    said = pp("clusters", "map", str(tmp_path / "texts.jsonl"), "--out", str(tmp_path / "page.html"), "--json")
    assert said.code == 0, said.err
    assert said.json["rows"] == 30 and "the parcel 3 is late" in (tmp_path / "page.html").read_text("utf-8")
    again = pp("clusters", "map", str(tmp_path / "texts.jsonl"), "--out", str(tmp_path / "again.html"), "--json")
    assert again.code == 0 and (tmp_path / "page.html").read_bytes() == (tmp_path / "again.html").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"), [("{broken\n", ":1: not JSON"), ('a text\n{"title": "x"}\n', ":2: no text in this line"), ("\n", "holds no text")]
)
def test_a_file_that_is_no_texts_is_refused_in_one_line(pp, tmp_path, content, said):
    (tmp_path / "bad.jsonl").write_text(content)
    found = pp("clusters", "map", str(tmp_path / "bad.jsonl"))
    assert found.code == 2 and said in found.err and found.err.count("\n") == 1 and not (tmp_path / "bad.html").exists()


def test_a_task_without_clusters_says_what_makes_them(pp, home):
    write_task(home / "tasks", "beta")
    found = pp("clusters", "beta")
    assert found.code == 2 and "pp run beta" in found.err


def test_other_data_keeps_ids_and_tells_what_changed(tmp_path):
    write_task(tmp_path / "tasks", "alpha", rows=160)
    first = make(tmp_path)
    data = tmp_path / "tasks" / "alpha" / "data.jsonl"
    kept = data.read_text().splitlines()[:144]
    data.write_text("\n".join(kept) + "\n")
    second = make(tmp_path)
    old, new = load(first.path), load(second.path)
    was = dict(zip(old.item_ids, old.labels.tolist()))
    shared = [(was[i], t) for i, t in zip(new.item_ids, new.labels.tolist()) if i in was]
    assert len(shared) > 50 and sum(a == b for a, b in shared) / len(shared) >= 0.9
    assert second.inputs["before"] == first.digest and len(new.history) == 1 and second.metadata["changes"]
    assert make(tmp_path).reused, "the same data changes nothing"


def test_a_provider_gives_titles_and_places_members_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_task(tmp_path / "tasks", "alpha", rows=220)
    make(tmp_path)
    place = Pipeline(Settings(tmp_path / "pp", tmp_path / "tasks", 1))
    with model_server(write_tiny_base(tmp_path / "base")) as server:
        monkeypatch.setenv("PP_PROVIDER_URL", server.url)
        monkeypatch.setenv("PP_PROVIDER_MODEL", "ours")
        monkeypatch.setenv("PP_HOME", str(tmp_path / "pp"))
        made = place.clusters("alpha")
        asked = len(server.seen)
        assert not made.reused and "provider" in made.stale_because
        told = json.loads(made.file("topics.json").read_text())
        assert told["names"]["asked"] > 0 and 0 <= told["names"]["accuracy"] <= 1
        assert asked == len([t for t in told["topics"] if t["topic"] >= 0]) + told["names"]["asked"]
        assert place.clusters("alpha").reused and len(server.seen) == asked
