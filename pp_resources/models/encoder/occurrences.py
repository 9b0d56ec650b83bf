"""Where a value stands in a text."""


def occurrences(text: str, value: str) -> list[tuple[int, int]]:
    """Character ranges of `value` in `text`: those at word borders, or all when none is ("Al" is in "Also" only if nowhere by itself)."""
    if not value:
        return []
    every = []
    start = text.find(value)
    while start >= 0:
        every.append((start, start + len(value)))
        start = text.find(value, start + 1)
    whole = [(a, b) for a, b in every if border(text, a) and border(text, b)]
    return whole or every


def border(text: str, at: int) -> bool:
    """Whether a word may begin or end before the character `at`."""
    return at in (0, len(text)) or not (text[at - 1].isalnum() and text[at].isalnum())
