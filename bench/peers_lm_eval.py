"""One run of lm-eval on the subject of bench/peers.py, with its cache of requests."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import lm_eval
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))
import subject  # noqa: E402


class Subject(LM):
    def generate_until(self, requests, **_options):
        answers = []
        for request in requests:
            answers.append(subject.answer(request.args[0]))
            self.cache_hook.add_partial("generate_until", request.args, answers[-1])
        return answers

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


task = ConfigurableTask(
    config={
        "task": "subject",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(FOLDER / "items.jsonl")}, "cache_dir": str(FOLDER / "datasets")},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": lambda doc: doc["text"],
        "doc_to_target": lambda doc: doc["wanted"],
        "process_results": lambda doc, results: {"right": float(subject.right(results[0], doc["wanted"]))},
        "metric_list": [{"metric": "right", "aggregation": "mean", "higher_is_better": True}],
        "generation_kwargs": {"until": ["\n\n"]},
    }
)
found = lm_eval.simple_evaluate(model=Subject(), tasks=[task], use_cache=str(FOLDER / "cache"), bootstrap_iters=0, verbosity="ERROR")
value = next(v for k, v in found["results"]["subject"].items() if k.startswith("right,") or k == "right")
print(json.dumps({"value": value, "version": version("lm_eval")}))
