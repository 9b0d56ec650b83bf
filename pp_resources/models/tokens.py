"""How many tokens a text has for a base model."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pp_resources.models.bases import find_base


@lru_cache(maxsize=4)
def token_counter(model_id: str) -> Callable[[str], int]:
    """A function that counts the tokens of a text, without those that begin or end a prompt. Raises UserError for an unknown model."""
    folder = find_base(model_id)
    tokenizer: Any
    if (folder / "tokenizer.json").is_file():  # transformers would give the same and takes seconds to import
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # A file may say that every text is filled up or cut to one length, as that of a sentence encoder does.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0
