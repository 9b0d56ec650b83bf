"""Files of tests that take longest on two cores, the longest first: `tests/conftest.py` starts with them."""

LONGEST = (
    "test_cli_prompt_studies.py",
    "test_cli_run.py",
    "test_runs.py",
    "test_prompt_pipelines.py",
    "test_cli_prompt.py",
    "test_encoder_training.py",
    "test_workflow_run.py",
    "test_gateway_openapi.py",
    "test_in_use.py",
    "test_cli_tune.py",
    "test_deploy.py",
    "test_tracking.py",
    "test_cli_serve.py",
    "test_readme.py",
    "test_clusters.py",
    "test_eval_report.py",
    "test_cli_flywheel.py",
    "test_pipeline_catalogue.py",
    "test_causal_predictor.py",
    "test_causal_architectures.py",
)
