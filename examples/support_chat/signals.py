"""What a customer's next message says of the answer before it, without their meaning to: said again, gone on, or nobody knows.

The limits were read off the 600 messages of support-triage (205 situations). Of pairs that tell one situation in different words 8 % are
as near as `SAME` (n 589), of other pairs 0.2 % (n 179,111): what is called a repetition most likely is one, and most are missed. Of
other pairs 21 % are as far as `OTHER`, of those of one situation 3 %. In between nothing is said, so this is never counted as content.
"""

import re
from collections.abc import Callable

SAME, OTHER = 0.5, 0.05  # cosine of sentence vectors
_AGAIN = re.compile(r"^\s*(no\b|not what|(that|this)('s| is) (not|wrong)|i (already )?(said|told|asked|meant)\b|once more|again\b)", re.I)
_THANKS = re.compile(r"\b(thanks|thank you|cheers|perfect|that helps|that is all|that's all)\b", re.I)
SHORT = 60  # characters: longer thanks most often stand before another question


def is_thanks(text: str) -> bool:
    """Whether a message is thanks and nothing else."""
    return len(text) <= SHORT and "?" not in text and bool(_THANKS.search(text)) and not _AGAIN.search(text)


def understood(before: str, text: str, similarity: Callable[[str, str], float]) -> bool | None:
    """Whether the answer to `before` was of use, judged by the message `text` after it: False for a repetition, True for thanks or another
    matter, None where it cannot be told. `similarity` is asked only where words do not decide."""
    if _AGAIN.search(text):
        return False
    if is_thanks(text):
        return True
    near = similarity(before, text)
    return False if near >= SAME else True if near < OTHER else None
