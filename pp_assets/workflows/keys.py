"""Which keys go with which mode, and the names that steps may use: metrics, scenarios, strategies."""

from collections.abc import Iterator, Mapping

from pp_assets.workflows.grammar import Step

COMMON = {"name", "type", "description", "role", "variables", "after", "options", "output_file"}
PROMPT = {"prompt", "prompt_parts", "prompt_template"}
FUNCTIONS = {"functions", "claude_functions", "gemini_functions"}
KEYS: Mapping[str, set[str]] = {
    "ask": PROMPT | FUNCTIONS | {"output_schema"},
    "instructor": PROMPT | FUNCTIONS | {"output_schema"},
    "parallel": PROMPT | {"instances", "test_data", "batch_config", "augmentation_strategies", "output_schema"},
    "batch": PROMPT | {"batch_config", "test_data"},
    "robust": PROMPT | {"error_scenarios", "test_data", "batch_config"},
    "extract": PROMPT | {"extraction_config"},
    "session": PROMPT | {"session_config", "test_data"},
    "calculate": {"batch_config", "test_data"},
}
NEEDS: Mapping[str, str] = {"instructor": "output_schema", "extract": "extraction_config", "session": "session_config"}

# A metric's name here: which of the evaluation's numbers it is.
METRICS = {
    "exact_match": "object_exact_match",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1_score": "field_f1.answer",
    "macro_f1": "macro_f1",
    "roc_auc": "roc_auc",
    "bleu": "bleu",
    "chrf": "chrf",
    "rouge": "rougeL",
    "rouge1": "rouge1",
    "rougeL": "rougeL",
    "bertscore": "bertscore",
    "semantic_similarity": "semantic_similarity",
    "json_valid_rate": "json_valid_rate",
    "latency_ms": "latency_ms_mean",
}
SCENARIOS = {  # an error scenario: families of edits of the comprehensive suite
    "malformed_input": ("malformed",),
    "extreme_length": ("long", "short"),
    "multilingual": ("multilingual",),
    "typos": ("typos",),
    "casing": ("casing",),
    "unicode": ("unicode",),
    "prompt_injection": ("injection",),
    "irrelevant_context": ("irrelevant",),
}
STRATEGIES = {  # an augmentation strategy: a method of the generation of rows, asked for or offline
    "paraphrase": "paraphrase",
    "backtranslation": "back_translation",
    "back_translation": "back_translation",
    "token_replacement": "synonyms",
    "self_instruct": "self_instruct",
    "evolution": "evolution",
}


def written(step: Step) -> Iterator[str]:
    """The keys that a step has, as they stand in the file."""
    yield from step.model_fields_set
