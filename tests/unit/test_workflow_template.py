"""The template language of prompts."""

import pytest

from pp_assets.workflows.template import TemplateFault, inside, names, parse, render, value_of

VALUES = {"name": "Ada", "step": {"rows": [{"text": "one"}, {"text": "two"}]}, "many": [1, 2]}


def lookup(name):
    first, *path = name.split(".")
    return inside(VALUES[first], path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Hello {name}.", "Hello Ada."),
        ("{{name}} is {name}", "{name} is Ada"),
        ('Answer {"topic": "x"} or { name }', 'Answer {"topic": "x"} or { name }'),
        ("{step.rows.1.text}", "two"),
        ("{many}", "[1, 2]"),
        ("{for row in step.rows}\n- {row.text} of {name}\n{endfor}\nEnd", "- one of Ada\n- two of Ada\nEnd"),
        ("{for a in many}{for b in many}{a}{b} {endfor}{endfor}", "11 12 21 22 "),
    ],
)
def test_values_come_into_texts(text, said):
    assert render(text, lookup) == said


def test_one_name_is_the_value_itself():
    assert value_of(" {many} ", lookup) == [1, 2] and value_of("{many}!", lookup) == "[1, 2]!"


def test_names_are_those_that_no_loop_binds_with_their_lines():
    found = names(parse("{a}\n{for x in b.c}\n{x.y} {d}\n{endfor}\n{x}"))
    assert [(ref.name, ref.line) for ref in found] == [("a", 0), ("b.c", 1), ("d", 2), ("x", 4)]


@pytest.mark.parametrize(("text", "line"), [("a\n{for x in b}\n", 1), ("a\n\n{endfor}", 2)])
def test_a_loop_is_opened_and_closed(text, line):
    with pytest.raises(TemplateFault) as fault:
        parse(text)
    assert fault.value.line == line
