"""The queue in a real headless browser: keys, forms of every kind of field, wrong answers, two people, taking back, a phone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway_place import running
from queue_place import SAID, put, queue_place, store_of, texts

from pp_gateway.serve.keys import new_key
from pp_resources.store.read_feedback import feedback_on
from pp_resources.store.read_queue import work

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
REFUSALS = ("409 (Conflict)", "422 (Unprocessable Entity)")  # answers of the gateway that Chromium tells on the console, too
pytestmark = pytest.mark.live


@pytest.fixture
def desk(new_page, tmp_path: Path) -> Iterator:
    """A queue, and pages on it, each of another person. No page may have faults, or ask anybody but the gateway."""
    where, pages = queue_place(tmp_path), []
    with running(where) as server:

        def opened(size: dict[str, int] = WIDE, **options: Any):
            page = new_page(size, known=REFUSALS, **options)
            pages.append(page)
            page.goto(f"{server.url}/queue")
            page.wait_for_function("() => document.getElementById('counts').textContent || document.querySelector('dialog')")
            return page

        yield server, store_of(where), opened
        faults = [text for page in pages for text in page.faults]
        for page in pages:
            page.close()
    assert faults == [] and {url.split("/")[2] for page in pages for url in page.asked} <= {server.url.removeprefix("http://")}


def take(page) -> None:
    page.keyboard.press("n")
    page.wait_for_selector(".field")


def around(page, name: str):
    """The fields of a name."""
    return page.locator(f".field:has(> .head .name:text-is('{name}'))")


def field(page, name: str, place: int = 0):
    return around(page, name).nth(place).locator("> select, > textarea, > input")


def told(page, text: str) -> None:
    page.wait_for_function("text => document.getElementById('told').textContent.includes(text)", arg=text)


def test_a_person_corrects_every_kind_of_field_with_the_keyboard(desk):
    _, store, opened = desk
    put(store, 1, json.dumps(SAID))
    page = opened()
    page.wait_for_selector("text=Take the next")
    take(page)
    assert "below 0.6" in page.inner_text("h2") and "0.41 unsure" in page.inner_text(".field.low >> nth=0")
    field(page, "category").select_option(label="refund")
    assert "was delivery" in page.inner_text(".field >> nth=0")
    field(page, "urgent").select_option(label="true")
    field(page, "amount").fill("12,5")
    page.locator("label:has-text('chat') input").check()
    page.get_by_role("button", name="Remove lines 1").click()
    page.get_by_role("button", name="Add to lines").click()
    page.keyboard.type("table")
    field(page, "count", 1).fill("3")
    field(page, "since").fill("1999")
    page.keyboard.press("Control+Enter")
    told(page, "Answered.")
    answer = json.loads(work(store, "i1").answer)
    wanted = {**SAID, "category": "refund", "urgent": True, "amount": 12.5, "channels": ["phone", "chat"]}
    wanted |= {
        "lines": [{"article": "chair", "count": 1}, {"article": "table", "count": 3}],
        "customer": {"name": "Anna Berg", "since": 1999},
    }
    assert answer == wanted
    (said,) = feedback_on(store, "i1")
    assert said.kind == "demonstration" and json.loads(said.output) == wanted and said.source.startswith("queue:guest-")


def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(desk):
    _, store, opened = desk
    put(store, 1, json.dumps(SAID))
    page = opened(PHONE, color_scheme="dark", has_touch=True)
    page.get_by_text("Take the next").click()
    page.wait_for_selector(".field")
    field(page, "order").fill("B-77")
    field(page, "count").fill("many")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector(".problem:not(:empty)")
    assert "letter for letter" in around(page, "order").inner_text()
    assert "'many' is not of type 'integer'" in around(page, "count").first.inner_text()
    assert field(page, "order").evaluate("e => e === document.activeElement") and "2 things are wrong" in page.inner_text("#wrong")
    focused, bar = field(page, "order").bounding_box(), page.locator(".actions").bounding_box()
    assert focused["y"] + focused["height"] <= bar["y"], "the field is not hidden under the buttons"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert work(store, "i1").state == "claimed" and not feedback_on(store, "i1")
    around(page, "order").get_by_label("none").check()
    field(page, "count").fill("2")
    page.get_by_role("button", name="Submit").click()
    told(page, "Answered.")
    assert json.loads(work(store, "i1").answer)["order"] is None
    page.get_by_role("button", name="Undo").click()
    told(page, "Taken back.")
    assert work(store, "i1").state == "claimed" and not feedback_on(store, "i1")


def test_two_people_see_each_other_and_never_the_same_item(desk):
    _, store, opened = desk
    ann, bob = opened(), opened()
    ann.wait_for_selector("text=Nothing waits.")
    for number, text in enumerate(texts(2)):
        put(store, number, json.dumps({**SAID, "order": None}), text=text)
    for page in (ann, bob):
        page.wait_for_selector("text=2 items wait.")  # without a reload
    take(ann)
    take(bob)
    assert {ann.inner_text("#desk .text"), bob.inner_text("#desk .text")} == set(texts(2))
    ann.wait_for_function("() => document.getElementById('counts').textContent === '0 waiting · 2 in work'")
    ann.keyboard.press("s")
    told(ann, "needs no answer.")
    bob.keyboard.press("g")
    told(bob, "Given back.")
    bob.keyboard.press("Escape")
    ann.wait_for_selector("text=1 item waits.")
    ann.keyboard.press("u")
    told(ann, "Taken back.")
    ann.wait_for_function("() => document.getElementById('counts').textContent === '1 waiting · 1 in work'")


def test_an_answer_that_is_no_json_and_an_item_that_is_gone(desk):
    _, store, opened = desk
    put(store, 1, "Sorry, I cannot <b>say</b>", reason="invalid")
    page = opened()
    take(page)
    assert page.inner_text("pre.raw") == "Sorry, I cannot <b>say</b>" and field(page, "category").input_value() == ""
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".problem:not(:empty)")
    assert around(page, "category").locator("> .problem").inner_text() == "is missing"
    from pp_resources.store.work import QueueChange

    store.write(QueueChange(item="i1", state="dismissed", by=work(store, "i1").by))
    page.get_by_role("button", name="Give back").click()
    told(page, "is dismissed already.")


def test_the_key_is_asked_for_and_forgotten_with_the_tab(new_page, tmp_path: Path):
    secret, key = new_key()
    where = queue_place(tmp_path, {"keys": {"desk": key.model_dump(exclude_none=True)}})
    put(store_of(where), 1, json.dumps(SAID))
    with running(where) as server:
        page = new_page(WIDE)
        page.goto(f"{server.url}/queue")
        for given, text in (("pp-wrong", "That key is not known here."), (secret, "")):
            page.fill("dialog input", given)
            page.keyboard.press("Enter")
            if text:
                page.wait_for_function("text => document.querySelector('dialog p')?.textContent === text", arg=text)
        page.wait_for_selector("text=1 item waits.")
        assert page.locator("dialog").count() == 0 and secret not in page.content()
        assert page.evaluate("Object.keys(localStorage).length") == 0
        take(page)
        assert (work(store_of(where), "i1").by or "").startswith("desk:guest-")
        again = page.context.new_page()
        again.goto(f"{server.url}/queue")
        again.wait_for_selector("dialog input")
        page.context.close()
