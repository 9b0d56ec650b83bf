"""The pages of an evaluation and of comparisons in a real headless browser, at the width of a phone and of a desk, and as printed.

The systems are really fitted: the classical baselines of the example task, learnt from its training rows, that answer its test rows.
Screenshots are kept in the test's folder.
"""

import json
import os
from pathlib import Path

import pytest

from pp_assets.evaluation.baselines import DESCRIPTIONS, classical_baselines
from pp_assets.evaluation.predictions import System, make_rows, read_systems, write_systems
from pp_assets.evaluation.report import build_report, write_report
from pp_assets.pipeline import BASELINES, Pipeline
from pp_assets.task.examples import open_test_split, read_split
from pp_gateway.cli import main
from pp_resources.json_schema import dump_output
from pp_resources.models.bases import find_base
from pp_resources.models.embedder import Embedder
from pp_resources.settings import PROJECT_ROOT, Settings

TASK = "support-triage"
WIDTHS = {390: 844, 1280: 900}  # of a window, with its height

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(tmp_path_factory.mktemp("home"), PROJECT_ROOT / "tasks", 1)


@pytest.fixture(scope="module")
def pages(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of an evaluation, of `pp compare` and of `pp ab --sequential`."""
    pipeline = Pipeline(settings)
    dataset, task = pipeline.seeds(TASK), pipeline.task(TASK)
    train, test = read_split(dataset.path, "train"), open_test_split(dataset.path, pipeline.ledger, TASK, "a page to look at")
    fitted = classical_baselines(task.spec, train, test, Embedder(find_base(task.spec.encoder_model_id)).embed)
    systems = [
        System(
            name=name,
            kind="baseline",
            description=DESCRIPTIONS[name],
            rows=make_rows(test, found, lambda output: dump_output(task.output_schema, output)),
        )
        for name, found in fitted.items()
    ]
    stored = pipeline.store.produce(BASELINES, TASK, {"v": "1"}, lambda out: write_systems(out / "predictions", systems) or {})
    out = tmp_path_factory.mktemp("pages")
    shown = [{**s, "kind": "candidate"} if s["name"] == "embedding-logreg" else s for s in read_systems(stored.file("predictions"))]
    found = {"evaluation": write_report(build_report(task.spec, shown, "embedding-logreg"), out)["html"]}
    os.environ.update(PP_HOME=str(settings.home), PP_TASKS=str(settings.tasks))
    for name, words in (("compare", ["--margin", "0.02"]), ("ab", ["--sequential"])):
        found[name] = out / f"{name}.html"
        assert main([name, f"{TASK}/embedding-logreg", f"{TASK}/majority", *words, "--report", str(found[name])]) == 0
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["evaluation", "compare", "ab"])
def test_a_page_fits_the_window_loads_nothing_and_begins_with_the_verdict(pages, new_page, tmp_path: Path, name: str, width: int) -> None:
    page = new_page({"width": width, "height": WIDTHS[width]})
    page.goto(pages[name].as_uri())
    page.screenshot(path=tmp_path / f"{name}-{width}.png")
    page.screenshot(path=tmp_path / f"{name}-{width}-whole.png", full_page=True)
    assert page.faults == [] and [url for url in page.asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width, "the page does not scroll sideways"
    verdict = page.locator(".banner b").first.bounding_box()
    assert verdict["y"] + verdict["height"] < WIDTHS[width] / 2, "the verdict is in the first screen"
    assert page.locator("img").count() >= 5 and page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    small = page.evaluate("[...document.querySelectorAll('p,td,li')].filter(e => parseFloat(getComputedStyle(e).fontSize) < 11).length")
    assert small == 0, "text is large enough to read"
    page.close()


def test_links_of_the_contents_lead_to_their_sections(pages, new_page) -> None:
    page = new_page({"width": 390, "height": 844})
    page.goto(pages["compare"].as_uri())
    for link in page.locator("nav a").all():
        link.click()
        place = page.locator(link.get_attribute("href")).bounding_box()
        assert place is not None and place["y"] < 844
    page.close()


def test_in_print_everything_is_open_and_nothing_is_cut(pages, new_page, tmp_path: Path) -> None:
    page = new_page({"width": 718, "height": 1000})  # the paper's width between its margins
    page.goto(pages["compare"].as_uri())
    hidden = "[...document.querySelectorAll('details:not([open]) .example')].filter(e => !e.checkVisibility()).length"
    folded = page.evaluate(hidden)
    page.emulate_media(media="print")
    page.screenshot(path=tmp_path / "print.png", full_page=True)
    assert folded > 0 and page.evaluate(hidden) == 0, "what is folded on a screen is printed"
    wide = "[...document.querySelectorAll('table, figure, pre')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    assert page.evaluate(wide) == 0
    page.pdf(path=tmp_path / "compare.pdf", format="A4")
    assert (tmp_path / "compare.pdf").read_bytes().startswith(b"%PDF")
    page.close()


def test_the_numbers_on_the_page_are_those_of_the_command(settings, pages, new_page, capfd, monkeypatch) -> None:
    monkeypatch.setenv("PP_HOME", str(settings.home))
    monkeypatch.setenv("PP_TASKS", str(settings.tasks))
    assert main(["compare", f"{TASK}/embedding-logreg", f"{TASK}/majority", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    page = new_page({"width": 1280, "height": 900})
    page.goto(pages["compare"].as_uri())
    text = page.locator("body").inner_text()
    assert found["conclusion"] in text and f"A wins {found['wins']} and loses {found['losses']} against B" in text
    page.close()
