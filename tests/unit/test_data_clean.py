"""Clean texts: what is mended, what is masked, what is left alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pp_assets.data.clean import Mask, clean_file, clean_text, iban, luhn
from pp_resources.errors import UserError


@pytest.mark.parametrize("text", ["café – 5 €", "It’s fine", "naïve “quotes”", "£34.99 for Æon", "Ärger über Öl, señor", "çok güzel"])
def test_utf8_read_as_windows_1252_is_mended_and_sound_text_is_not_touched(text: str) -> None:
    wrong = text.encode().decode("cp1252", "replace")
    if "\ufffd" not in wrong:
        assert clean_text(wrong)[0] == text and clean_text(wrong)[1]["mojibake"] == 1
    assert clean_text(text) == (text, {})


def test_each_kind_of_change_is_counted() -> None:
    made, changes = clean_text("\ufeffa\u00a0 b\x07  \r\n\r\n\r\n\r\nc cafe\u0301 ")
    assert made == "a b\n\nc café" and changes == {"control": 1, "unicode": 1, "whitespace": 1}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    once = clean_text(text)[0]
    assert clean_text(once) == (once, {})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail ann.lee+x@mail.example.org now", "mail [EMAIL_1] now"),
        ("a@b.co and A@b.co and c@d.co", "[EMAIL_1] and [EMAIL_1] and [EMAIL_2]"),
        ("card 4111 1111 1111 1111.", "card [CARD_1]."),
        ("card 4111 1111 1111 1112.", "card 4111 1111 1111 1112."),
        ("IBAN DE89 3704 0044 0532 0130 00 please", "IBAN [IBAN_1] please"),
        ("IBAN DE89 3704 0044 0532 0130 01 please", "IBAN DE89 3704 0044 0532 0130 01 please"),
        ("from 192.168.0.1 and 2001:db8::1", "from [IP_1] and [IP_2]"),
        ("version 1.2.3 at 12:30:45, 300.1.1.1", "version 1.2.3 at 12:30:45, 300.1.1.1"),
        ("call +44 20 7946 0958 or 555-123-4567", "call [PHONE_1] or [PHONE_2]"),
        ("order #48213 of 2024-05-06, $1,000, A-1042", "order #48213 of 2024-05-06, $1,000, A-1042"),
    ],
)
def test_personal_values_are_masked_where_their_checksums_hold(text: str, masked: str) -> None:
    assert Mask().text(text) == masked


def test_checksums() -> None:
    assert luhn("4111111111111111") and not luhn("4111111111111112") and not luhn("0000000000000000")
    assert iban("GB82 WEST 1234 5698 7654 32") and not iban("GB82 WEST 1234 5698 7654 33")


def test_a_copied_value_stays_a_copy_and_bad_lines_are_kept_apart(tmp_path: Path) -> None:
    row = {"input_text": "write to  a@b.co", "output_json": {"mail": "a@b.co", "n": 1, "tags": ["a@b.co"]}, "source_id": "a@b.co"}
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps(row) + "\n\nnot json\n" + json.dumps({"text": 1}) + "\n")
    done = clean_file(source, tmp_path / "out" / "clean.jsonl", mask=True)
    made = json.loads((tmp_path / "out" / "clean.jsonl").read_text())
    assert made["input_text"] == "write to [EMAIL_1]" and made["output_json"] == {"mail": "[EMAIL_1]", "n": 1, "tags": ["[EMAIL_1]"]}
    assert made["source_id"] == "a@b.co"
    assert (done.rows, done.changed, dict(done.changes)) == (1, 1, {"whitespace": 1, "email": 3})
    assert [json.loads(line)["line"] for line in Path(done.quarantine).read_text().splitlines()] == [3, 4]
    with pytest.raises(UserError, match="no such file"):
        clean_file(tmp_path / "none.jsonl", tmp_path / "x.jsonl")
    with pytest.raises(UserError, match="overwritten"):
        clean_file(source, source)
