"""The map as a file: whole, loading nothing, equal bytes, safe whatever the texts hold; the picture beside it."""

import base64
import json
import re

import numpy as np
from blobs import blobs

from pp_assets.data.clusters.fit import fit
from pp_assets.data.clusters.page import write_map
from pp_assets.data.clusters.picture import draw_map
from pp_assets.data.clusters.tables import topic_table


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found.group(1))


def test_the_page_holds_every_row_and_loads_nothing(tmp_path):
    vectors, ids, labels = blobs([30, 30])
    found, places = fit(vectors, ids), np.arange(120, dtype=np.float32).reshape(60, 2)
    texts = ["</script><script>alert(1)</script> <!-- & \u2028", *(f"text {i}" for i in range(59))]
    for name in ("a.html", "b.html"):
        write_map(tmp_path / name, found, places, texts, title="<b>", fields={"kind": labels.tolist(), "many": ids, "none": [None] * 60})
    page = (tmp_path / "a.html").read_text("utf-8")
    assert page == (tmp_path / "b.html").read_text("utf-8")
    assert "alert(1)</script>" not in page and "<title>&lt;b&gt;</title>" in page
    assert "default-src 'none'" in page and not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    data = data_of(page)
    assert data["texts"] == texts and data["ids"] == ids
    assert np.array_equal(np.frombuffer(base64.b64decode(data["y"]), "<f4"), places[:, 1])
    topic, kind, many, none = data["fields"]
    codes = np.frombuffer(base64.b64decode(kind["codes"]), "<i4")
    assert [kind["words"][c] for c in codes] == [str(v) for v in labels.tolist()]
    assert topic["colours"] and kind["colours"] and many["colours"] and none["words"] == ["(none)"]


def test_very_many_characters_are_cut_and_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr("pp_assets.data.clusters.page.CHARACTERS", 100)
    vectors, ids, _ = blobs([10])
    write_map(tmp_path / "a.html", fit(vectors, ids), np.zeros((10, 2), dtype=np.float32), ["x" * 500] * 10)
    data = data_of((tmp_path / "a.html").read_text("utf-8"))
    assert data["cut"] and {len(t) for t in data["texts"]} == {120}


def test_the_picture_has_equal_bytes_for_equal_input(tmp_path):
    vectors, ids, _ = blobs([30, 30])
    found = fit(vectors, ids)
    table, places = topic_table(found, ids, vectors), np.arange(120, dtype=np.float32).reshape(60, 2)
    for name in ("a.png", "b.png"):
        draw_map(tmp_path / name, found.labels, places, table)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
