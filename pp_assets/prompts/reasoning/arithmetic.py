"""Numbers and sums in a sentence: which are said, and whether the sums hold."""

import ast
import operator
import re
from collections.abc import Callable
from typing import NamedTuple

_NUMBER = r"\d[\d,]*(?:\.\d+)?"
NUMBER = re.compile(rf"{_NUMBER}(?![\d])")
_ENUMERATED = re.compile(r"^\s*(?:step\s*)?\d{1,2}\s*[.):]\s", re.IGNORECASE)
_SUM = re.compile(rf"((?:\(*\s*{_NUMBER}\s*\)*\s*[-+*/×÷x]\s*)+\(*\s*{_NUMBER}\s*\)*)\s*=\s*(-?\s*{_NUMBER})")
_MONEY = str.maketrans("$€£", "   ")
_SIGNS = str.maketrans({"×": "*", "÷": "/", "x": "*", ",": None})
_OPS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
NEAR = 0.005  # results are written with two decimals


class Sum(NamedTuple):
    """A sum as written, its operands, the result that it claims, and whether that is so."""

    written: str
    operands: tuple[float, ...]
    result: float
    holds: bool


def numbers(text: str) -> list[float]:
    """The numbers of a text in their order, without a sign; commas part thousands. The count in front of a step is none."""
    return [float(found.replace(",", "")) for found in NUMBER.findall(_ENUMERATED.sub("", text))]


def sums(text: str) -> list[Sum]:
    """What is calculated in a text, as in "12.50 + 3.20 = 15.70"."""
    found = []
    for match in _SUM.finditer(_ENUMERATED.sub("", text).translate(_MONEY)):
        claimed = float(match[2].translate(_SIGNS).replace(" ", ""))
        try:
            value = _value(ast.parse(match[1].translate(_SIGNS).strip(), mode="eval").body)
        except (SyntaxError, ZeroDivisionError, TypeError):
            continue
        holds = abs(value - claimed) <= max(NEAR, 1e-9 * abs(value))
        found.append(Sum(match[0].strip(), tuple(numbers(match[1])), abs(claimed), holds))
    return found


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPS:
            return _OPS[type(op)](_value(left), _value(right))
    raise TypeError(f"no sum: {ast.dump(node)}")
