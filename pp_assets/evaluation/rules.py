"""A task's `validation_rules` held against what was measured of its prompt and of the evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pp_assets.evaluation.compare import Comparison
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.stats.power import USUAL_EFFECT, mcnemar_power, mean_detectable_effect, mean_power
from pp_assets.task.validation_rules import ValidationRules, holds

PROMPT_MEASURES = {"clarity_score": ("clarity",), "specificity": ("told",), "token_efficiency": ()}
SHOWN = 3  # reasons in a sentence
PASSED, FAILED, UNCERTAIN, NOT_RUN = "passed", "failed", "cannot tell", "not run"
# Where one of these is broken in this way, the evaluation is short and the model not bad.
_SHORT = {"sample_size": None, "statistical_power": None, "bias_checks": (UNCERTAIN, NOT_RUN)}


@dataclass(frozen=True)
class Found:
    """What was measured: a number, a level or a word; None with the reason in `why`, which else tells what it rests on."""

    value: float | str | None
    why: str = ""


@dataclass(frozen=True)
class RuleResult:
    """One rule. `held` is None when nothing could be measured; `short` says that a broken one asks for more evaluation."""

    section: str
    measure: str
    asked: str
    value: float | str | None
    held: bool | None
    short: bool
    why: str
    text: str


def check_rules(rules: Mapping[str, Any], found: Mapping[str, Found]) -> list[RuleResult]:
    """Each rule of a task (`ValidationRules` as plain values) with its outcome; those on something that is not in `found` do not apply."""
    asked = [(section, *pair) for section, listed in rules.items() for rule in listed for pair in rule.items()]
    return [_judged(section, measure, wanted, found[measure]) for section, measure, wanted in asked if measure in found]


def _judged(section: str, measure: str, asked: str, found: Found) -> RuleResult:
    rule = f"Rule {section}: {measure} {asked}"
    if found.value is None:
        return RuleResult(section, measure, asked, None, None, True, found.why, f"{rule} cannot be judged: {found.why}.")
    held = holds(measure, asked, found.value)
    states = _SHORT.get(measure, ())
    short = not held and (states is None or found.value in states)
    shown = f"{found.value:.4g}" if isinstance(found.value, float | int) else found.value
    text = f"{rule} {'holds' if held else 'is broken'}: {shown}{f' ({found.why})' if found.why else ''}."
    return RuleResult(section, measure, asked, found.value, held, short, found.why, text)


def measures(
    scored: Scored, candidate: str, comparison: Comparison | None, slices: Mapping[str, Any], measured: Mapping[str, Any]
) -> dict[str, Found]:
    """Everything that a rule may ask of an evaluation, by name.

    `slices` as the report has them. `measured` is what the answers do not tell: `prompt` (`PromptQuality.as_dict()`, None for a model that
    reads none, of which nothing is asked then) and `bias` (`bias_found`, None where no suite was run).
    """
    task, min_effect, alpha = scored.scoring.task, scored.scoring.min_effect, scored.scoring.alpha
    found = {"sample_size": Found(float(len(scored.rows))), "statistical_power": _power(comparison, min_effect, alpha)}
    found["bias_checks"] = _bias(slices, measured.get("bias"), f"pp eval {task} --variant {candidate} --suite comprehensive")
    return found | prompt_measures(measured)


def broken_by_prompt(rules: ValidationRules | None, quality: Mapping[str, Any]) -> list[str]:
    """What of `prompt_quality` a prompt breaks, a sentence each; `quality` as `PromptQuality.as_dict()`."""
    return _broken(rules, prompt_measures({"prompt": quality}))


def broken_by_test(rules: ValidationRules | None, scored: Scored, comparison: Comparison) -> list[str]:
    """What of `evaluation_validity` a paired test breaks, a sentence each. Bias is asked of models, by their suite."""
    power = _power(comparison, scored.scoring.min_effect, scored.scoring.alpha)
    return _broken(rules, {"sample_size": Found(float(len(scored.rows))), "statistical_power": power})


def _broken(rules: ValidationRules | None, found: Mapping[str, Found]) -> list[str]:
    return [rule.text for rule in check_rules(rules.model_dump(), found) if not rule.held] if rules else []


def _power(c: Comparison | None, min_effect: float, alpha: float) -> Found:
    """Chance that the paired test shows an effect of `min_effect` (USUAL_EFFECT where that is 0), at the disagreement of this evaluation.

    Never for the effect that was observed: that says no more than the p value.
    """
    if c is None:
        return Found(None, "there is no baseline to compare with")
    effect = min_effect or USUAL_EFFECT
    said = f"for an effect of {effect:g} on {c.n} items"
    if c.discordance is not None and c.effective_n is not None:
        said += f", {c.effective_n:.0f} effective, that disagree at {c.discordance:.3f}"
        return Found(round(mcnemar_power(int(c.effective_n), c.discordance, effect, alpha), 6), said)
    if c.detectable is None:
        return Found(None, c.reason or "no effect could be shown on these items")
    error = c.detectable / mean_detectable_effect(1.0, alpha)
    return Found(round(mean_power(effect, error, alpha), 6), said)


def _bias(slices: Mapping[str, Any], bias: Mapping[str, Any] | None, how: str) -> Found:
    """The suite's word where it was run. Without it slices can show that a part is left behind, but not that none is."""
    if bias is not None:
        return Found(str(bias["value"]), str(bias["why"]))
    worse = [row["slice"] for row in slices["rows"] if row["worse"]]
    if worse:
        return Found(FAILED, f"surely worse than the rest: {', '.join(worse)}; whether names and groups matter tells '{how}'")
    return Found(NOT_RUN, f"run '{how}'")


def bias_found(document: Mapping[str, Any]) -> dict[str, str]:
    """What the bias part of a comprehensive suite says as a whole: failed where a pair of groups differs, passed where all that could be
    judged holds."""
    dimensions = document["bias"]["dimensions"]
    judged = {name: one["verdict"] for name, one in dimensions.items() if one["groups"]}
    differ = [name for name, verdict in judged.items() if verdict == "differs"]
    open_ = [name for name, verdict in judged.items() if verdict not in ("differs", "holds")]
    left_out = [name for name in dimensions if name not in judged]
    said = f"too few items: {', '.join(left_out)}" if left_out else ""
    if differ:
        return {"value": FAILED, "why": "; ".join(filter(None, [f"answers differ by {', '.join(differ)}", said]))}
    if open_ or not judged:
        told = f"not enough items to tell for {', '.join(open_)}" if open_ else ""
        return {"value": UNCERTAIN, "why": "; ".join(filter(None, [told, said]))}
    return {"value": PASSED, "why": "; ".join(filter(None, [f"holds for {', '.join(judged)}", said]))}


def prompt_measures(measured: Mapping[str, Any]) -> dict[str, Found]:
    """clarity_score, specificity and token_efficiency of what was `measured`, each with what lowers it."""
    if "prompt" not in measured:
        return dict.fromkeys(PROMPT_MEASURES, Found(None, "the prompt was not measured"))
    quality = measured["prompt"]
    return {name: Found(quality[name], "; ".join(_lowered(quality, name))) for name in PROMPT_MEASURES} if quality else {}


def _lowered(quality: Mapping[str, Any], measure: str) -> list[str]:
    parts = PROMPT_MEASURES[measure]
    found = [why for part in parts for check in quality[part] for why in check["findings"]] if parts else list(quality["wasteful"])
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"and {len(found) - SHOWN} more"]
