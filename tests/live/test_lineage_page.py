"""The page of a lineage in a browser: a version is chosen, its details are told, what it has to do with is marked; on a phone too."""

from pathlib import Path

import pytest

from pp_assets.lineage.graph import lineage
from pp_assets.lineage.page import write_page
from pp_assets.pipeline import Pipeline
from pp_resources.settings import Settings

pytestmark = [pytest.mark.live]
EVENTS = [{"at": "2026-01-01T00:00:00.000+00:00", "kind": "champion", "text": "a became <b>champion</b>", "node": None}]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lineage")
    p = Pipeline(Settings(home=folder / "pp", tasks=folder / "tasks", threads=1))

    def make(kind, key, inputs, **metadata):
        return p.store.produce(kind, key, inputs, lambda out: (out / "x").write_text(str(inputs)) and metadata)

    for round_ in range(3):
        data = make("datasets", "alpha", {"data": str(round_)}, kept=round_)
        adapter = make("adapters", "alpha/lora-r8", {"rows": str(round_)}, made_from={"dataset": data.digest})
        report = make("evaluations", "alpha/lora-r8", {"adapter": adapter.digest, "dataset": data.digest}, verdict="SHIP", why="<i>x</i>")
        make("packages", "alpha/lora-r8", {"evaluation": report.digest}, verdict="SHIP")
    write_page(folder / "page.html", lineage(p, "alpha"), EVENTS)
    return folder / "page.html"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_a_version_is_chosen_and_told(browser, page: Path, width: int, height: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": height})
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("request", lambda asked: wrong.append(asked.url) if not asked.url.startswith("file:") else None)
    tab.goto(page.as_uri())
    assert tab.inner_text("#details h2").startswith("packages") and tab.locator(".node.on").count() == 4
    tab.locator(".node[data-id^='evaluations/']").last.focus()
    tab.keyboard.press("Enter")
    told = tab.inner_text("#details")
    assert told.startswith("evaluations") and "first version" in told and "<i>x</i>" in told and "an earlier version" in told
    tab.locator("#details button").filter(has_text="").first.click()
    assert tab.inner_text("#details h2").startswith("adapters") and "adapters" in tab.evaluate("decodeURIComponent(location.hash)")
    tab.locator("td button").first.click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "nothing hangs over the edge"
    assert "a became <b>champion</b>" in tab.inner_text("body") and wrong == []
    tab.close()
