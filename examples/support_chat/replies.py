"""What the customer reads. Templates: there is no language model here that could write, and none is pretended."""

from collections.abc import Mapping
from typing import Any

OPENINGS = {
    "billing": "I see, it is about a charge or a refund",
    "delivery": "I see, it is about a delivery",
    "returns": "I see, you want to send something back or have it exchanged",
    "account": "I see, it is about your account",
    "product": "I see, you have a question about a product",
    "other": "Thank you for writing",
}
NEXT = {
    "urgent": "I have marked it urgent: the desk reads it first.",
    "high": "The desk reads it today.",
    "normal": "The desk reads it within a working day.",
    "low": "There is nothing that you need to do.",
}
PERSON = "A person will take this over and answer you here."
GONE = "I cannot read messages just now. A person will take this over and answer you here."
BYE = "You are welcome."


def reply(output: Mapping[str, Any]) -> str:
    """The reply to an answer of support-triage; of another task all that was understood, field by field, to be looked at."""
    opening = OPENINGS.get(str(output.get("category")))
    if opening is None:
        return f"This is what I understood: {facts(output)}. Is that right?"
    products, order = output.get("products"), output.get("order_id")
    about = f" ({', '.join(map(str, products))})" if isinstance(products, list) and products else ""
    number = f", order {order}" if order else ""
    return " ".join(filter(None, (f"{opening}{about}{number}.", NEXT.get(str(output.get("priority"))), "Is that right?")))


def facts(output: Mapping[str, Any]) -> str:
    """Field by field, in one line."""

    def plain(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(map(str, value)) or "none"
        return "none" if value is None else str(value)

    return "; ".join(f"{name.replace('_', ' ')}: {plain(value)}" for name, value in output.items())
