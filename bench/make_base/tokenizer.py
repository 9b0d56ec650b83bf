"""Byte-level BPE whose pieces do not depend on what stands before a word.

Spaces, line ends and digits are tokens of their own. So `kettle` is the same piece after a space, after a quote and at the start of a
line, and copying a word into a JSON string is copying its tokens; with the usual space-prefixed pieces the model has to learn a
second spelling of every word.
"""

from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from bench.make_base.corpus import example

END, PAD = "<|end|>", "<|pad|>"


def train_tokenizer(seed: int, vocab: int, samples: int = 30_000) -> PreTrainedTokenizerFast:
    """Train on `samples` generated examples. Same seed, same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[ \n]"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[END, PAD], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    texts = ("".join(example(Random(f"tokenizer:{seed}:{i}"), drill=0.1)) for i in range(samples))
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
