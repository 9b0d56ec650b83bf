"""From a prompt to token ids, the same way in training and in decoding.

A prompt is a fixed text before the input, the input, a fixed text after it. Three pieces are tokenised apart: the prefix (all that no
input can change, up to the last line end before the input, computed once for all inputs), the rest of the prompt, and the answer. A
word border stands at both cuts, so that no token of one piece could have merged with the next.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pp_resources.errors import UserError
from pp_resources.models.chat import Messages

# Tokens at the end of the shared prefix that switch an activated adapter on: enough not to stand in an input by chance.
INVOCATION = 4
# Private-use characters that stand for the input while a chat template is filled in.
_MARK = "\ue000input\ue001"


@dataclass(frozen=True)
class Prompt:
    """Text of a task around its input: the system prompt ("" for none) and the user message before and after the input (few-shot
    examples included)."""

    system: str
    before: str
    after: str


class PromptEncoder:
    """Token ids of a prompt for one tokenizer.

    With a chat template the messages go through it; without one the text is system prompt, blank line, user message, and it ends in a
    line end. With `activated` the last tokens of the prefix, `invocation_ids`, count with the rest of the prompt: an activated adapter
    begins there.
    """

    def __init__(self, tokenizer: Any, prompt: Prompt, *, activated: bool = False) -> None:
        if tokenizer.eos_token_id is None:
            raise UserError(
                "the tokenizer has no end token", where=str(tokenizer.name_or_path), how="set eos_token in its tokenizer_config.json"
            )
        self.tokenizer = tokenizer
        self.prompt = prompt
        before, after = self._around()
        cut = before.rfind("\n") + 1
        self._open, self._after = before[cut:], after
        self.prefix_text = before[:cut]
        self._invocation = INVOCATION if activated else 0

    @cached_property
    def prefix_ids(self) -> list[int]:
        """What all inputs share; at least one token unless the prompt starts with the input."""
        return self._shared_ids[: len(self._shared_ids) - self._invocation]

    @cached_property
    def invocation_ids(self) -> list[int]:
        """The tokens that switch an activated adapter on; none for an adapter that is always on."""
        return self._shared_ids[-self._invocation :] if self._invocation else []

    def suffix_ids(self, input_text: str) -> list[int]:
        """The rest of the prompt for one input; never empty."""
        return self.invocation_ids + self._ids(self._open + input_text + self._after)

    def completion_ids(self, answer: str) -> list[int]:
        """An answer and the end token."""
        return [*self._ids(answer), self.tokenizer.eos_token_id]

    def text(self, input_text: str) -> str:
        """The whole prompt as text (without a start token)."""
        return self.prefix_text + self._open + input_text + self._after

    @cached_property
    def _shared_ids(self) -> list[int]:
        return start_ids(self.tokenizer) + self._ids(self.prefix_text)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _around(self) -> tuple[str, str]:
        user = self.prompt.before + _MARK + self.prompt.after
        if self.tokenizer.chat_template:
            text = self._chat(user)
        else:
            text = (f"{self.prompt.system}\n\n" if self.prompt.system else "") + user
            text += "" if text.endswith("\n") else "\n"
        before, found, after = text.partition(_MARK)
        if not found or _MARK in after:
            raise UserError(
                "the chat template drops or repeats the user message", where=str(self.tokenizer.name_or_path), how="use another base model"
            )
        return before, after

    def _chat(self, user: str) -> str:
        system = [{"role": "system", "content": self.prompt.system}] if self.prompt.system else []
        return _templated(self.tokenizer, [*system, {"role": "user", "content": user}])


def message_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Token ids of chat messages up to where the answer begins: through the chat template; without one their texts with a blank line
    between them, and a line end."""
    if tokenizer.chat_template:
        text = _templated(tokenizer, messages)
    else:
        text = "\n\n".join(message["content"] for message in messages)
        text += "" if text.endswith("\n") else "\n"
    return start_ids(tokenizer) + list(tokenizer(text, add_special_tokens=False)["input_ids"])


def start_ids(tokenizer: Any) -> list[int]:
    """The start token, where a prompt has one that its text does not show."""
    # A chat template writes its own start token; elsewhere it stands where the tokenizer puts one itself.
    start = tokenizer.bos_token_id
    if tokenizer.chat_template or start is None:
        return []
    return [start] if tokenizer("")["input_ids"][:1] == [start] else []


def _templated(tokenizer: Any, messages: Messages) -> str:
    from jinja2 import TemplateError

    # Templates of reasoning models open a thinking block unless told not to; others ignore the argument.
    options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
    try:
        return str(tokenizer.apply_chat_template([dict(message) for message in messages], **options))
    except TemplateError:
        if len(messages) < 2 or messages[0]["role"] != "system":
            raise
        # Some templates refuse the system role.
        system, first, *rest = messages
        joined = {"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}
        return str(tokenizer.apply_chat_template([joined, *(dict(message) for message in rest)], **options))


def token_budget(lengths: list[int]) -> int:
    """Token limit of an answer: 1.5 times the 99th percentile of what the training answers need (tokens, end token included)."""
    ordered = sorted(lengths)
    return int(1.5 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]) + 1 if ordered else 256
