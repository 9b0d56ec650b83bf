"""The map of topics in a real headless browser: it draws, searches, colours, lassos to a file, and fits a phone. Nothing is loaded."""

import json
from pathlib import Path

import numpy as np
import pytest
from blobs import blobs

from pp_assets.data.clusters.fit import fit
from pp_assets.data.clusters.page import write_map

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    vectors, ids, labels = blobs([40, 40, 40])
    places = np.column_stack([labels * 10.0 + vectors[:, 7], vectors[:, 9]]).astype(np.float32)
    file = tmp_path_factory.mktemp("map") / "map.html"
    texts = [f"row {i} of group {g} <b>&amp;" for i, g in enumerate(labels.tolist())]
    write_map(file, fit(vectors, ids), places, texts, title="A map", fields={"group": labels.tolist()})
    return file


def opened(new_page, file: Path, size: dict[str, int]):
    page = new_page(size, known=("GL Driver Message",))
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    return page


def test_search_colours_and_the_lasso_give_the_rows_that_they_show(new_page, page_file: Path) -> None:
    page = opened(new_page, page_file, WIDE)
    assert page.locator("#legend li").count() >= 3 and "120 rows" in page.inner_text("#legend-head")
    page.fill("#search", "group 1 <B>")
    page.wait_for_function("document.getElementById('found').textContent === '40 found'")
    page.click("#clear")
    page.select_option("#colour", label="group")
    page.click("#legend li:first-child")
    assert page.locator("#legend li.on").count() == 1 and page.locator("#legend li").count() == 3
    page.click("#lasso")
    box = page.locator("#map").bounding_box()
    corners = [(0.02, 0.02), (0.3, 0.02), (0.3, 0.98), (0.02, 0.98), (0.02, 0.04)]
    points = [(box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()
    page.wait_for_selector("#save:visible")
    with page.expect_download() as download:
        page.click("#save")
    rows = [json.loads(line) for line in Path(download.value.path()).read_text("utf-8").splitlines()]
    assert len(rows) == 40 and {row["group"] for row in rows} == {"0"} and rows[0]["input_text"].endswith("<b>&amp;")
    assert page.faults == [] and all(url.startswith(("file:", "blob:")) for url in page.asked)


def test_the_page_fits_a_phone(new_page, page_file: Path) -> None:
    page = opened(new_page, page_file, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("#map").bounding_box()["height"] > 300 and page.locator("#legend li").first.is_visible()
    assert page.faults == []
