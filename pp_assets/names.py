"""Names that the user interface, plots, cursors and tests hold on to. They are an API: a changed name starts a new series.

Belongs here: names of partitions, groups, checks, jobs, sensors, pools. Does not belong here: anything that imports Dagster.
"""

TASK, VARIANT = "task", "variant"

GROUP_DATA, GROUP_TRAINING, GROUP_RESULTS, GROUP_FEEDBACK = "data", "training", "results", "feedback"
OWNER = "team:promptprecision"

CHECK_CONTRACT = "contract_holds"
CHECK_LEAKAGE = "no_leakage"
CHECK_QUALITY = "dataset_quality"
CHECK_YIELD = "generation_yield"
CHECK_VERDICT = "verdict"
CHECK_DRIFT = "no_drift"

JOB_TASK_DATA = "task_data"
JOB_TRAIN = "train_variant"
JOB_EVALUATE = "evaluate_variant"
JOB_LEADERBOARD = "leaderboard_job"
JOB_REGRESSION = "regression_test"
JOB_TUNE = "tune"
JOB_MONITOR = "monitor"
JOB_ASKED = "asked_for"
JOB_EXAMPLES = "grow_examples"
JOB_FLYWHEEL = "flywheel_turn"

SENSOR_TASKS = "watch_tasks"
SENSOR_FEEDBACK = "watch_feedback"
SENSOR_REGRESSION = "test_new_adapters"
SENSOR_DRIFT = "watch_inputs"
SENSOR_EXAMPLES = "watch_examples"
SENSOR_DRIFT_ALERTS = "tell_of_drift"
SENSOR_WEIGHTS = "move_weights"
SENSOR_FLYWHEEL = "watch_flywheels"
SENSOR_ALERTS = "alert_on_failure"
SENSOR_AUTOMATION = "follow_changes"
SCHEDULE_EVALUATE = "evaluate_nightly"

NO_RETRY = {"dagster/max_retries": "0"}  # whoever asked is told of a failure, and asks again
TAG_JOB = "pp/job"  # on every run of a job that was asked for over the network: the job's id

TAG_PIPELINE = "pp/pipeline"  # on every run of a pipeline from the catalogue: its id

POOL_TRAINING = "training"
