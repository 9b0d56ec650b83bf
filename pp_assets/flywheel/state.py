"""Where a task's flywheel stands, what it sees, and what it wants done. Plain values that go into the store as they are."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pp_resources.store.ids import MICRO

Stage = Literal["idle", "training", "shadow", "watch"]
SearchStage = Literal["idle", "data", "search"]
HOUR = 3600 * MICRO


class Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pack(Plain):
    """A package and the report that it was made with: folders and digests."""

    variant: str
    package: str
    package_digest: str
    evaluation: str
    evaluation_digest: str


class Challenger(Plain):
    """A package in force that is not the champion. `passes`: its verdict is SHIP, and on held-out data it was shown to lose nothing against
    the champion of now. `value` is its primary metric there, where more is better."""

    pack: Pack
    passes: bool
    outcome: str
    reason: str
    value: float | None = None


class Search(Plain):
    """Where the search of a prompt stands: `data` is waited for, or the `search` itself. `since` and `until` (the end of a cool-down) in
    microseconds; `round` counts searches, `to` is the number of the last feedback that started one, `dataset` the digest of what it
    reads."""

    stage: SearchStage = "idle"
    since: int = 0
    round: int = 0
    to: int = 0
    dataset: str = ""
    until: int = 0


class State(Plain):
    """`since` and `until` in microseconds. `round` counts trainings; `trained_to` is the number of the last feedback that started one.

    `champion` is the digest of the package that answers, as far as is known. In the shadow and the watch stage `candidate` is the package
    on trial and `previous` the champion before it; `tried` when its copies began, `looks` how often it was judged. `refused` are digests of
    packages that failed; `until` ends a cool-down. `search` is that of a prompt, which goes on beside all of this.
    """

    stage: Stage = "idle"
    since: int = 0
    round: int = 0
    trained_to: int = 0
    key: str = ""
    before: str = ""
    champion: str = ""
    candidate: Pack | None = None
    previous: Pack | None = None
    tried: int = 0
    looks: int = 0
    refused: tuple[str, ...] = ()
    until: int = 0
    search: Search = Search()


class Pairs(Plain):
    """Copies beside the answers that users saw, each pair on one input. `bad`: no answer, or one that breaks the schema. `right` counts
    inputs, each once, whose demonstration came after the trial had begun and that no model has learnt from."""

    n: int = 0
    only_shadow_bad: int = 0
    only_live_bad: int = 0
    slower: int = 0
    timed: int = 0
    demonstrated: int = 0
    only_shadow_right: int = 0
    only_live_right: int = 0
    live_ms: float | None = None
    shadow_ms: float | None = None


class Answers(Plain):
    """What users saw of one package: `bad` answers, `slow` ones of those that were `timed`."""

    n: int = 0
    bad: int = 0
    slow: int = 0
    timed: int = 0


class Evidence(Plain):
    """Of a candidate `pairs`; of a new champion also its own answers, and pairs and answers of the time before it."""

    pairs: Pairs = Pairs()
    answers: Answers = Answers()
    pairs_before: Pairs = Pairs()
    answers_before: Answers = Answers()


class Alarm(Plain):
    """Inputs drift, or answers got worse; with the numbers that say so."""

    cause: Literal["drift", "regression"]
    reason: str


class Searched(Plain):
    """The newest prompt that was searched as the task wants it: when (microseconds), on which data set, what its test said, what it took.
    `command` puts it into the task; "" where it was not released, or is there already."""

    at: int
    dataset: str
    verdict: str
    reason: str
    gain: float | None
    calls: int
    usd: float | None
    command: str


class Prompted(Plain):
    """What the search of a prompt is decided by. `new` demonstrations came since the last one; `dataset` is the digest of the data set in
    force, `ready`: it holds all that started the search, and everything that trainings read is made from it. `cannot` says why none is
    possible now."""

    new: int = 0
    dataset: str = ""
    ready: bool = False
    cannot: str = ""
    found: Searched | None = None


class Facts(Plain):
    """What is so now. `head` is the number of the last demonstration, `new` how many came since the last training; `data` the digest of the
    feedback that the data set in force was made with, `learnt_to` the last one in it; `behind` are trained variants that the data set has
    not reached yet."""

    now: int
    task: str
    champion: Pack | None = None
    challengers: tuple[Challenger, ...] = ()
    head: int = 0
    new: int = 0
    data: str = ""
    learnt_to: int = 0
    behind: tuple[str, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    evidence: Evidence = Evidence()
    prompts: Prompted = Prompted()


class Action(Plain):
    """Something to do, which may be done twice: `shadow` has copies sent to a package, `promote` and `restore` make it the champion,
    `end` stops copies. (A training is started by whoever sees a state with a key.)"""

    kind: Literal["shadow", "promote", "restore", "end"]
    pack: Pack | None = None
    role: Literal["candidate", "previous"] | None = None


class Step(Plain):
    """What follows from a state and facts: the next state, what is to be done, why, and the numbers that it was decided by."""

    state: State
    actions: tuple[Action, ...] = ()
    reason: str
    numbers: dict[str, Any] = {}
