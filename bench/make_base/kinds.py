"""Kinds of values: how each is drawn, what its key may be called, and sentences that say it."""

import string
from collections.abc import Callable
from random import Random

from bench.make_base import words as w

Draw = Callable[[Random], str]


def digits(r: Random, n: int) -> str:
    return "".join(r.choice("0123456789") for _ in range(n))


def letters(r: Random, n: int) -> str:
    return "".join(r.choice(string.ascii_uppercase) for _ in range(n))


def pseudo(r: Random) -> str:
    """A word that no language has."""
    return "".join(r.choice(w.SYLLABLES) for _ in range(r.randint(2, 4)))


def code(r: Random) -> str:
    a, b = letters(r, r.randint(1, 3)), digits(r, r.randint(3, 8))
    return r.choice(
        [
            f"{a}-{b}",
            f"{a}{b}",
            f"#{b}",
            b,
            f"{b}-{letters(r, 1)}",
            f"{a}/{digits(r, 2)}/{digits(r, 3)}",
            f"{a}-{digits(r, 4)}-{digits(r, 2)}",
            f"{a.lower()}{b}",
        ]
    )


def person(r: Random) -> str:
    first = pseudo(r).capitalize() if r.random() < 0.2 else r.choice(w.FIRST)
    last = pseudo(r).capitalize() if r.random() < 0.2 else r.choice(w.LAST)
    return r.choice([f"{first} {last}", f"{first} {last}", first, f"{r.choice(['Mr', 'Ms', 'Dr'])} {last}", f"{first[0]}. {last}"])


def product(r: Random) -> str:
    noun = r.choice(w.PRODUCTS)
    if r.random() < 0.25:
        return r.choice(
            [
                f"{pseudo(r).capitalize()} {noun}",
                f"{pseudo(r).capitalize()} {digits(r, r.randint(1, 3))}",
                f"{pseudo(r).capitalize()} {letters(r, 1)}{digits(r, 2)}",
            ]
        )
    return r.choice([noun, f"{r.choice(w.ADJECTIVES)} {noun}", f"{r.choice(w.ADJECTIVES)} {r.choice(w.ADJECTIVES)} {noun}"])


def date(r: Random) -> str:
    d, m, y = r.randint(1, 28), r.randint(1, 12), r.randint(2019, 2027)
    month = w.MONTHS[m - 1]
    return r.choice(
        [
            f"{y}-{m:02}-{d:02}",
            f"{d}.{m}.{y}",
            f"{d}/{m}/{y}",
            f"{d} {month}",
            f"{month} {d}",
            f"{d} {month} {y}",
            r.choice(w.DAYS),
            f"next {r.choice(w.DAYS)}",
            "tomorrow",
            f"{month[:3]} {d}",
            f"{r.choice(w.DAYS)} the {d}th",
        ]
    )


def clock(r: Random) -> str:
    h, m = r.randint(0, 23), r.choice([0, 5, 10, 15, 20, 30, 40, 45, 50])
    return r.choice(
        [f"{h}:{m:02}", f"{h:02}:{m:02}", f"{h % 12 or 12} pm", f"{h % 12 or 12}am", f"{h % 12 or 12}:{m:02} pm", "noon", "half past six"]
    )


def money(r: Random) -> str:
    n = r.choice(
        [
            f"{r.randint(1, 99)}.{r.randint(0, 99):02}",
            str(r.randint(1, 2000)),
            f"{r.randint(1, 9)},{r.randint(0, 999):03}",
            f"{r.randint(100, 999)}.{r.randint(0, 99):02}",
        ]
    )
    return r.choice([f"{n} {r.choice(w.CURRENCIES)}", f"{r.choice('$€£')}{n}", f"{n}{r.choice('€$£')}"])


def mail(r: Random) -> str:
    a, b = r.choice([r.choice(w.FIRST).lower(), pseudo(r)]), r.choice(w.LAST).lower()
    return r.choice([f"{a}.{b}", f"{a}{digits(r, 2)}", f"{a}_{b}", a]) + "@" + r.choice([r.choice(w.DOMAINS), f"{pseudo(r)}.com"])


def phone(r: Random) -> str:
    return r.choice(
        [
            f"+{r.randint(1, 99)} {digits(r, 3)} {digits(r, 6)}",
            f"0{digits(r, 9)}",
            f"{digits(r, 3)}-{digits(r, 3)}-{digits(r, 4)}",
            f"({digits(r, 3)}) {digits(r, 7)}",
        ]
    )


def company(r: Random) -> str:
    name = pseudo(r).capitalize() if r.random() < 0.4 else r.choice(w.COMPANIES)
    return f"{name} {r.choice(w.COMPANY_TAILS)}".strip()


def place(r: Random) -> str:
    return pseudo(r).capitalize() if r.random() < 0.25 else r.choice(w.CITIES)


def street(r: Random) -> str:
    return r.choice([f"{r.randint(1, 199)} {r.choice(w.STREETS)}", f"{r.choice(w.STREETS)} {r.randint(1, 99)}"])


def phrase(r: Random) -> str:
    return f"{r.choice(w.COMMON_ADJ)} {r.choice(w.NOUNS)}"


# Kinds of copied strings: key names, description, how to draw one, cue sentences.
COPIES: list[tuple[list[str], str, Draw, list[str]]] = [
    (
        ["order_id", "order_number", "order"],
        "the order number",
        code,
        [
            "My order {} is the one.",
            "Order number {}.",
            "It is order {}",
            "(order {})",
            "I ordered it as {}.",
            "Order no. {}",
            "re: order {}",
            "The order is {}, by the way.",
        ],
    ),
    (
        ["ticket_id", "case_id", "reference", "ref"],
        "the reference of the case",
        code,
        ["Reference {}.", "Ticket {} is still open.", "See case {}.", "ref {}", "My case number is {}.", "Your reference: {}"],
    ),
    (
        ["invoice_no", "invoice_id", "bill_number"],
        "the invoice number",
        code,
        ["Invoice {} is wrong.", "On invoice {} I see it.", "The bill has the number {}.", "invoice no {}"],
    ),
    (
        ["serial", "serial_number", "model_code"],
        "the serial number",
        code,
        ["The serial number is {}.", "S/N {}", "It says {} on the back.", "Serial {}."],
    ),
    (
        ["customer", "name", "customer_name", "sender"],
        "the name of the writer",
        person,
        ["My name is {}.", "This is {}.", "I am {}.", "Regards, {}", "{} here.", "Yours, {}", "- {}"],
    ),
    (
        ["contact", "assignee", "agent", "employee"],
        "the person that is mentioned",
        person,
        ["I spoke with {}.", "{} helped me last time.", "Please give it to {}.", "{} told me so.", "Ask {} about it."],
    ),
    (
        ["product", "item", "article"],
        "the product",
        product,
        [
            "I bought a {}.",
            "It is about the {}.",
            "The {} broke.",
            "My {} is not right.",
            "I ordered the {} from you.",
            "a problem with my {}",
            "I need a new {}.",
        ],
    ),
    (
        ["gift", "wish", "wanted_item"],
        "the thing that is wanted instead",
        product,
        ["I would rather have the {}.", "Please send me a {} instead.", "Can I get the {} for it?"],
    ),
    (
        ["date", "day", "when"],
        "the date",
        date,
        ["It was on {}.", "On {} please.", "The date is {}.", "for {}", "Let us say {}.", "We come {}.", "dated {}"],
    ),
    (["deadline", "due", "due_date"], "the latest date", date, ["I need it by {}.", "Not later than {}.", "The deadline is {}.", "due {}"]),
    (
        ["time", "at", "start_time"],
        "the time of day",
        clock,
        ["At {} please.", "It starts at {}.", "around {}", "We meet at {}.", "Time: {}"],
    ),
    (
        ["amount", "total", "price", "sum"],
        "the amount of money",
        money,
        ["It cost {}.", "I paid {} for it.", "The total was {}.", "You took {}.", "{} in total", "That is {} altogether."],
    ),
    (
        ["tip", "deposit", "fee"],
        "the extra money",
        money,
        ["I left a deposit of {}.", "plus {} tip", "The fee was {}.", "There is {} on top."],
    ),
    (
        ["email", "mail", "email_address"],
        "the email address",
        mail,
        ["My mail is {}.", "Write to {}.", "You reach me at {}", "email: {}", "Send it to {} please."],
    ),
    (
        ["phone", "phone_number", "mobile"],
        "the phone number",
        phone,
        ["Call me at {}.", "My number is {}.", "tel. {}", "Phone: {}", "Ring {} please."],
    ),
    (
        ["city", "location", "town"],
        "the city",
        place,
        ["I live in {}.", "It happened in {}.", "The shop in {}.", "We are in {}.", "near {}", "at the {} office"],
    ),
    (["origin", "from", "departure"], "where it starts", place, ["We leave from {}.", "starting in {}", "Coming from {}.", "out of {}"]),
    (
        ["destination", "to", "arrival"],
        "where it goes",
        place,
        ["We go to {}.", "The ticket is to {}.", "heading for {}", "Bring it to {}."],
    ),
    (
        ["company", "vendor", "merchant", "shop"],
        "the company",
        company,
        ["I work for {}.", "It was from {}.", "Bought at {}.", "The supplier is {}.", "{} sent it.", "on behalf of {}"],
    ),
    (["address", "street"], "the street address", street, ["I live at {}.", "Deliver it to {}.", "The address is {}.", "address: {}"]),
    (
        ["subject", "topic_text", "title"],
        "the words after 'about'",
        phrase,
        ["It is all about {}.", "I write about {}.", "My question is about {}."],
    ),
]
# Never drawn in training: they measure whether copying carries over to kinds that were not seen.
HELD_OUT: list[tuple[list[str], str, Draw, list[str]]] = [
    (
        ["badge", "badge_number"],
        "the number on the badge",
        lambda r: f"B{digits(r, 2)}-{letters(r, 2)}",
        ["My badge says {}.", "I carry badge {}."],
    ),
    (
        ["licence_plate", "plate"],
        "the licence plate",
        lambda r: f"{letters(r, 2)} {digits(r, 3)} {letters(r, 2)}",
        ["The car has the plate {}.", "Its plate reads {}."],
    ),
    (
        ["species", "animal"],
        "the animal",
        lambda r: r.choice(["grey heron", "otter", "red fox", "badger", "barn owl", "stag beetle"]),
        ["We saw a {} there.", "There was a {} in the yard."],
    ),
    (
        ["recipe", "dish"],
        "the dish",
        lambda r: f"{r.choice(['roast', 'fried', 'baked', 'sour'])} {r.choice(['aubergine', 'carp', 'dumplings', 'noodles'])}",
        ["They cooked {}.", "I will make {} tonight."],
    ),
]
COUNTS: list[tuple[list[str], str, list[str]]] = [
    (["quantity", "count", "pieces"], "how many", ["I need {} of them.", "{} pieces please.", "There were {} in the box.", "x{}"]),
    (
        ["guests", "people", "party_size"],
        "how many people",
        ["We are {} people.", "A table for {}.", "{} guests will come.", "for {} persons"],
    ),
    (["nights", "days", "duration"], "how many days", ["We stay {} nights.", "It took {} days.", "for {} days", "{} nights in all"]),
    (["age", "years"], "the age", ["I am {} years old.", "My son is {}.", "She turned {} last week."]),
    (["rating", "score", "stars"], "the rating", ["I give it {} stars.", "{} out of 10.", "My rating: {}"]),
]
