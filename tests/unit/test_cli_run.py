"""A whole run through the command line on a small task: computed once, then unchanged, then asked, verified and listed."""

import json
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

STAGES = ["seeds", "contract", "generated_data", "clusters", "evaluated_inputs", "baselines", "generation_choice"]
STAGES += ["adapter", "eval_report", "package", "leaderboard"]


def test_a_run_shows_its_stages_then_the_table_and_the_package(pp, home: Path) -> None:
    said = pp("run", "alpha")
    assert said.code == 0, said.err
    lines = said.err.splitlines()
    assert [line.split()[0] for line in lines] == STAGES, "nothing else reaches the terminal"
    assert all("computed (first version)" in line and " s  " in line for line in lines)
    assert "object_exact_match" in said.out and "encoder-frozen" in said.out and "recomputed 11 of 11 stages, 0 unchanged" in said.out
    (package,) = [line.split()[1] for line in said.out.splitlines() if line.startswith("package  ")]
    assert "/packages/alpha/encoder-frozen/" in package and (Path(package) / "manifest.json").is_file()
    assert "Materialized value adapter" in (home / "pp" / "logs" / "pp.log").read_text(), "Dagster's own words are in the log"


def test_a_second_run_recomputes_nothing_and_says_so(pp) -> None:
    said = pp("run", "alpha", "--json")
    assert said.code == 0, said.err
    assert (said.json["recomputed"], said.json["unchanged"]) == (0, 11)
    (result,) = said.json["results"]
    assert result["n"] > 0 and result["value_low"] <= result["value"] <= result["value_high"] and result["reasons"]
    assert result["verdict"] in ("SHIP", "DO NOT SHIP", "NOT ENOUGH DATA") and "smallest_detectable_effect" in result
    assert "nothing recomputed: 11 of 11 stages unchanged" in pp("run", "alpha").out


def test_each_part_of_a_run_is_a_command_that_finds_it_done(pp) -> None:
    assert pp("data", "build", "alpha", "--json").json["unchanged"] == 7
    assert "baseline" in pp("data", "build", "alpha").out
    assert [s["stage"] for s in pp("train", "alpha", "-v", "encoder-frozen", "--json").json["stages"]] == STAGES[:-1]
    assert [s["stage"] for s in pp("eval", "alpha", "-v", "encoder-frozen", "--json").json["stages"]] == ["eval_report", "package"]
    built = pp("package", "build", "alpha", "-v", "encoder-frozen")
    assert "nothing recomputed: 2 of 2" in built.out and "\npackage  /" in built.out


def test_a_variant_that_was_never_trained_cannot_be_evaluated(pp) -> None:
    said = pp("eval", "alpha", "--variant", "lora-r8")
    assert said.code == 2
    assert "pp: " in said.err and "run 'pp run alpha --variant lora-r8'" in said.err.splitlines()[-1]


def test_status_and_list_show_what_is_there(pp) -> None:
    (state,) = pp("status", "--json").json["tasks"]
    assert state["data"] == "current" and state["variants"][0]["verdict"] and state["test_openings"] >= 2
    assert "encoder-frozen" in pp("status").out
    (row,) = pp("package", "list", "--json").json
    assert row["package"] == "alpha/encoder-frozen" and Path(row["path"]).is_dir()
    assert "alpha/encoder-frozen" in pp("package", "list").out


def test_a_package_answers_lines_and_a_bad_line_does_not_end_it(pp, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_bytes(b"my card was charged again, order A-1234\n\nbad \xff byte\r\nthe parcel never came")
    said = pp("predict", "alpha/encoder-frozen", str(lines))
    assert said.code == 0
    records = said.lines
    assert [record["valid"] for record in records] == [True, False, False, True]
    assert records[0]["output"].keys() == {"kind", "order"} and "not UTF-8" in records[2]["error"]
    assert said.err == "4 lines, 2 without a valid answer\n" and list(records[0]["fields"]) == ["kind", "order"]
    asked = pp("predict", "alpha/encoder-frozen", str(lines), "--distributions", "--json")
    assert asked.code == 0 and [sorted(record["choices"]) for record in asked.lines] == [["kind"], [], [], ["kind"]]
    assert [{**r, "choices": 0, "latency_ms": 0} for r in asked.lines] == [{**r, "choices": 0, "latency_ms": 0} for r in records]
    assert {choice["value"] for choice in asked.lines[0]["choices"]["kind"]} == {"billing", "delivery", "returns"}
    assert pp("predict", "alpha/encoder-frozen", str(tmp_path / "none.txt")).err.endswith(
        "none.txt: no such file; give a text file, or - for standard input\n"
    )


def test_a_package_answers_standard_input(pp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"where is the driver\n")))
    (record,) = pp("predict", "alpha/encoder-frozen", "--distributions").lines
    assert record["input_text"] == "where is the driver" and record["choices"]["kind"][0]["value"] == record["output"]["kind"]


def test_a_package_is_verified_and_a_changed_byte_is_named(pp) -> None:
    (row,) = pp("package", "list", "--json").json
    whole = pp("package", "verify", "alpha/encoder-frozen")
    assert whole.code == 0 and whole.out.endswith(": is what it says\n"), whole.out
    file = Path(row["path"]) / "eval_report.md"
    before = file.read_bytes()
    file.write_bytes(before + b" ")
    try:
        said = pp("package", "verify", row["path"], "--no-replay", "--json")
        assert said.code == 1 and said.json["ok"] is False
        assert "eval_report.md: changed" in next(check["detail"] for check in said.json["checks"] if not check["ok"])
        assert "eval_report.md: changed" in pp("predict", row["path"], str(file)).err
    finally:
        file.write_bytes(before)


def test_feedback_changes_the_data_and_the_next_run_says_why(pp) -> None:
    output = json.dumps({"kind": "returns", "order": None})
    assert pp("feedback", "add", "alpha", "nobody told me how to hand this kettle back", "--output", output).code == 0
    said = pp("data", "build", "alpha")
    assert "seeds" in said.err and "computed (changed: feedback)" in said.err.splitlines()[0]
