"""The dashboard in a real headless browser over a real gateway: the figures of the rows, keys, news without a reload, a phone's width."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_place import artifacts, rows
from gateway_place import Place, ask, running
from upstream_stub import stub

from pp_gateway.serve.keys import new_key

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SECTIONS = ["now", "next", "trends", "variants", "weights", "complaints", "drift", "queue", "flywheel"]

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A gateway with a key, a remote model behind it, ten days of rows, decisions, and artifacts of complaints and of drift."""
    where = Place(tmp_path_factory.mktemp("dashboard"))
    where.settings.tasks.mkdir(parents=True)
    where.settings.home.mkdir()
    key, kept = new_key()
    with stub() as upstream:
        config = {"models": {"toy": {"url": upstream.url, "model": "m"}}, "keys": {"ann": kept.model_dump(exclude_none=True)}}
        (where.settings.home / "gateway.yaml").write_text(json.dumps(config))
        rows(where)
        artifacts(where)
        with running(where) as made:
            made.key = key
            yield made


def opened(new_page, server, size: dict[str, int], query: str = "", scheme: str = "light"):
    """A page that has been given the key: asked without it, the gateway refuses; left for another range, a page ends its stream."""
    page = new_page(size, known=("401 (Unauthorized)", "/api/live?range=30d: net::ERR_ABORTED"), color_scheme=scheme)
    page.goto(server.url + "/" + query)
    page.fill("#door-key", server.key)
    page.click("dialog button")
    page.wait_for_selector("#now .tile")
    return page


def test_the_page_shows_the_figures_of_the_rows(new_page, server, tmp_path: Path) -> None:
    page = opened(new_page, server, WIDE, "?range=30d")
    variants = {row.split()[0]: " ".join(row.split()) for row in page.locator("#variants tbody tr").all_inner_texts()}
    assert "50.0 % of 200" in variants["a"] and "73.0 % [63.6 %, 80.7 %] n 100" in variants["a"], "Wilson's interval of 73 of 100"
    assert "no feedback" in variants["b"] and "unpriced" in variants["b"] and "7 copies" in variants["copy"]
    assert "whole time: 73.0 % [63.6 %, 80.7 %], n 100" in page.inner_text("#trend-right .readout")
    assert "n 200" in page.inner_text("#trend-requests .readout") and "1.5 % [0.51 %, 4.3 %], n 200" in page.inner_text(
        "#trend-escalated .readout"
    )
    page.click("#trend-requests summary")
    counts = [int(text) for text in page.locator("#trend-requests tbody td:nth-child(2)").all_inner_texts()]
    assert sum(counts) == 200 and len(counts) in (8, 9)
    assert page.locator("#trend-right .whisker").count() == page.locator("#trend-right circle").count() in (8, 9), (
        "each value has its interval"
    )
    assert "reason 3" in page.inner_text("#weights") and "c was worse than a" in page.inner_text("#weights")
    assert page.locator("#weights-chart .area").count() >= 7 and page.locator("#weights-chart tbody tr").count() == 4
    assert "3 open" in page.inner_text("#queue") and "<b>unsure</b>" in page.inner_text("#queue"), "words of the data stay words"
    assert sum(map(int, re.findall(r" n (\d+)", page.inner_text("#complaints .topics")))) == 30
    assert page.locator("#drift-chart circle").count() == page.locator("#drift-chart .whisker").count() == 2
    assert "Nothing has been decided yet" in page.inner_text("#next") and "has not turned yet" in page.inner_text("#flywheel")
    assert "live" in page.inner_text("#line") and page.inner_text("#latency .value").startswith("–"), "no requests now: no figure"
    assert all(page.locator(f"section#{name}[aria-labelledby]").count() == 1 for name in SECTIONS)
    assert all(label for label in page.eval_on_selector_all("svg[role=img]", "all => all.map(one => one.getAttribute('aria-label'))"))
    assert not page.faults and all(address.startswith((server.url, "data:")) for address in page.asked)
    page.screenshot(path=tmp_path / "wide.png", full_page=True)
    page.close()


def test_a_request_and_its_rating_arrive_without_a_reload(new_page, server) -> None:
    page = opened(new_page, server, WIDE, "?range=30d")
    page.click("#trend-requests summary")
    page.evaluate("window.same = true")
    before = int(re.findall(r"\d+", page.inner_text("#rate .under"))[0])
    key = {"Authorization": f"Bearer {server.key}"}
    asked = ask(server.url, "/v1/chat/completions", {"model": "toy", "messages": [{"role": "user", "content": "hello"}]}, **key)
    assert asked.status == 200, asked.body
    said = {"metric_name": "right", "value": True, "inference_id": asked.json["id"]}
    assert ask(server.url, "/feedback", said, **key).status == 200
    # Told by the stream: the page's policy lets nobody evaluate text in it, a test neither.
    page.locator("#rate .under", has_text=re.compile(rf"^{before + 1} in the last")).wait_for()
    page.locator("#accuracy .under", has_text=re.compile("^n 1, right")).wait_for()
    page.locator("#variants tbody th", has_text=re.compile(r"^m\b")).wait_for()
    assert page.evaluate("window.same && document.querySelector('#trend-requests details').open"), "what was opened stays open"
    assert not page.faults
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(new_page, server, tmp_path: Path, scheme: str) -> None:
    page = opened(new_page, server, PHONE, "?range=30d", scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for one in page.locator("details summary").all():
        one.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "with all tables opened, too"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is (scheme == "dark")
    page.select_option("#range", "24h")
    page.wait_for_url("**range=24h**")
    page.locator("#trends > .note", has_text="One value an hour").wait_for()
    assert not page.faults
    page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)
    page.close()


def test_a_wrong_key_is_asked_for_again(new_page, server) -> None:
    page = new_page(WIDE)
    page.goto(server.url)
    page.fill("#door-key", "pp-wrong")
    page.click("dialog button")
    page.wait_for_selector("dialog p:not(:empty)")
    assert page.locator("#figures").is_hidden()
    page.fill("#door-key", server.key)
    page.click("dialog button")
    page.wait_for_selector("#now .tile")
    page.close()


def test_while_the_store_is_away_the_page_says_from_when_its_figures_are(new_page, server) -> None:
    page = opened(new_page, server, PHONE, "?range=7d")
    shown, file = page.inner_text("#trend-right .readout"), server.place.settings.home / "store" / "store.db"
    file.rename(file.with_suffix(".away"))
    try:
        page.locator("#banner-stale", has_text="The store cannot be read. Figures are those of").wait_for()
        assert page.inner_text("#trend-right .readout") == shown, "what was read stays"
    finally:
        file.with_suffix(".away").rename(file)
    page.locator("#banner-stale").wait_for(state="detached")
    assert not page.faults
    page.close()


def test_an_empty_installation_is_told_what_to_do(new_page, tmp_path: Path) -> None:
    where = Place(tmp_path)
    where.settings.tasks.mkdir(parents=True)
    where.settings.home.mkdir()
    with running(where) as made:
        page = new_page(PHONE)
        page.goto(made.url)
        page.wait_for_selector("#start li")
        assert "pp task init my-task" in page.inner_text("#start") and page.locator("#figures").is_hidden()
        page.close()
