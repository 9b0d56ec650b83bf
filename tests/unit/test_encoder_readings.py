"""Numbers, dates and times found in texts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp_resources.models.encoder.readings import Reader


def values(kind, text, **convention):
    return [(text[r.start : r.end], r.value) for r in Reader(kind, **convention).read(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,250.00 EUR", [("1,250.00", 1250.0)]),
        ("$40.", [("40", 40)]),
        ("it is -5 now, 3-5 later, see A-1042", [("-5", -5), ("3", 3), ("5", 5), ("1042", 1042)]),
        ("minus 7 and -$1,000", [("minus 7", -7), ("-$1,000", -1000)]),
        ("5k or 2.5 million, 25km", [("5k", 5000), ("2.5 million", 2500000), ("25", 25)]),
        ("on 3.4.2025 at 9 05", [("3", 3), ("4", 4), ("2025", 2025), ("9", 9), ("05", 5)]),
        ("10 000 and 1.250,00 are plain", [("10 000", 10000), ("1.250,00", 1250.0)]),
        ("a table for two, the third of June", [("two", 2), ("third", 3)]),
        (
            "Twenty-five, one hundred and five, twelve hundred",
            [("Twenty-five", 25), ("one hundred and five", 105), ("twelve hundred", 1200)],
        ),
        ("one two three", [("one", 1), ("two", 2), ("three", 3)]),
        ("two thousand and twenty five", [("two thousand and twenty five", 2025)]),
        ("a dozen eggs, half a million people", [("a dozen", 12), ("half a million", 500000)]),
        ("someone often weighs a lot", []),
        ("7" * 60, [("7" * 30, int("7" * 30)), ("7" * 30, int("7" * 30))]),
    ],
)
def test_numbers_are_read_in_digits_and_words(text, found):
    assert values("number", text) == found


def test_a_comma_groups_or_divides_as_the_convention_has_it():
    assert values("number", "1,250 or 12,5") == [("1,250", 1250), ("12", 12), ("5", 5)]
    assert values("number", "1,250 or 12,5", decimal_comma=True) == [("1,250", 1.25), ("12,5", 12.5)]
    assert values("number", "1.250", decimal_comma=True) == [("1.250", 1250)]


def test_an_integer_is_a_whole_number():
    found = values("integer", "2.5 or 3.0 or two")
    assert found == [("3.0", 3), ("two", 2)]
    assert all(isinstance(value, int) for _, value in found)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        *(
            (text, "2025-03-04")
            for text in ("2025-03-04", "4 March 2025", "Tue, March 4th, 2025.", "the 4th of March 2025", "4-Mar-25", "Mar. 4 '25")
        ),
        ("13/4/2025", "2025-04-13"),
        ("4/13/69", "1969-04-13"),
        ("Sept 5 2024", "2024-09-05"),
    ],
)
def test_a_date_that_can_be_read_in_one_way_needs_no_convention(text, day):
    for day_first in (False, True):
        assert [value for _, value in values("date", text, day_first=day_first)] == [day]


def test_day_or_month_comes_first_as_the_convention_has_it():
    assert values("date", "due 3/4/2025") == [("3/4/2025", "2025-03-04")]
    assert values("date", "due 03.04.25", day_first=True) == [("03.04.25", "2025-04-03")]


@pytest.mark.parametrize("text", ["3 March", "May 2025", "tomorrow", "31 February 2025", "1.2.3.4", "3 March 20:30", "2025-13-01"])
def test_what_is_no_full_date_is_none(text):
    assert values("date", text) == []


@pytest.mark.parametrize(
    ("text", "morning", "afternoon"),
    [
        ("18:30", "18:30", "18:30"),
        ("6:30", "06:30", "18:30"),
        ("06:30", "06:30", "06:30"),
        ("6 p.m.", "18:00", "18:00"),
        ("12 am", "00:00", "00:00"),
        ("12 at night", "00:00", "00:00"),
        ("noon", "12:00", "12:00"),
        ("half past six", "06:30", "18:30"),
        ("half past six in the evening", "18:30", "18:30"),
        ("25 to 7 p.m.", "18:35", "18:35"),
        ("quarter to one at night", "00:45", "00:45"),
        ("ten past 23", "23:10", "23:10"),
        ("seven o'clock", "07:00", "19:00"),
    ],
)
def test_a_time_of_day_is_read_as_a_whole(text, morning, afternoon):
    assert values("time", text, form="%H:%M") == [(text, morning)]
    assert values("time", text, form="%H:%M", afternoon=True) == [(text, afternoon)]


@pytest.mark.parametrize("text", ["24:00", "13 pm", "five people", "6:75", "1:2"])
def test_what_is_no_time_is_none(text):
    assert values("time", text) == []


def test_moments_are_a_date_and_a_time_beside_each_other_in_the_form_of_the_data():
    for text in ("2025-03-04T18:30:00Z", "4 March 2025 at 6:30 pm", "half past six in the evening on 4 March 2025"):
        assert values("date-time", text) == [(text, "2025-03-04T18:30:00Z")]
    assert values("date-time", "4 March 2025, 18:30", form="%Y-%m-%d %H:%M") == [("4 March 2025, 18:30", "2025-03-04 18:30")]
    assert values("date-time", "18:30 is when she left, 4 March 2025 when she came") == []


@given(st.text(max_size=60) | st.text("0123456789.,-:/ apm+T'and", max_size=40))
def test_whatever_the_text_readings_are_places_in_it_with_json_values(text):
    for kind in ("number", "integer", "date", "time", "date-time"):
        for reader in (Reader(kind), Reader(kind).conventions()[-1]):
            for start, end, value in reader.read(text):
                assert 0 <= start < end <= len(text)
                json.dumps(value, allow_nan=False)


@given(st.integers(0, 10**9 - 1), st.booleans())
def test_a_number_is_read_back_from_its_digits(number, comma):
    grouped = f"{number:,}".replace(",", "." if comma else ",")
    for text in (str(number), grouped):
        assert values("integer", f"it is {text}, or so", decimal_comma=comma)[0] == (text, number)
