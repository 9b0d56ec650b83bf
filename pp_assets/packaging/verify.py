"""Is a package what it says? Hashes, the whole report and the verdict from the stored answers, and the golden prompts on the model itself.

Works on a copied folder, offline, and on what a stranger wrote. It cannot find a forger who rewrites answers, report and checksums to fit:
that takes a signature.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pp_assets.packaging.opened import Opened, Skipped, Wrong
from pp_resources.errors import UserError


@dataclass(frozen=True)
class Check:
    """One question and its answer. `skipped` checks were not made; `ok` then says whether that is as it was asked for."""

    name: str
    ok: bool
    detail: str
    skipped: bool = False


@dataclass(frozen=True)
class VerifyResult:
    """All checks of a package, in order; `ok` when each one is."""

    ok: bool
    checks: list[Check]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify_package(path: Path, *, replay: bool = True, threads: int | None = None) -> VerifyResult:
    """Check a package folder. Bad input gives a failed check, never an exception.

    `replay` loads the model, for which its base must be found; without the base the replay fails, since it was asked for and not made.
    `threads` as in the evaluation by default.
    """
    opened = Opened(path.resolve())
    checks = [_checked("package", opened.is_safe)]
    if not checks[0].ok:
        return VerifyResult(False, checks)
    steps: list[tuple[str, Callable[[], str]]] = [
        ("files", opened.files_are_whole),
        ("checksums", opened.sums_agree),
        ("spec", opened.spec_has_its_digest),
        ("items", opened.items_are_the_test_split),
        ("report", opened.report_follows_from_answers),
        ("texts", opened.texts_follow_from_report),
        ("golden", opened.golden_were_evaluated),
    ]
    checks += [_checked(name, step) for name, step in steps]
    if not replay:
        checks.append(Check("replay", True, "not asked for", skipped=True))
    elif not checks[1].ok:
        checks.append(Check("replay", False, "not made: files have changed", skipped=True))
    else:
        checks.append(_checked("replay", lambda: opened.golden_replay(threads)))
    return VerifyResult(all(check.ok for check in checks), checks)


def _checked(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, True, step())
    except Skipped as why:
        return Check(name, False, f"skipped: {why}", skipped=True)
    except (Wrong, UserError) as found:
        return Check(name, False, str(found))
    except Exception as error:  # what a stranger wrote may break any assumption, and must end in a sentence
        return Check(name, False, f"cannot be checked: {type(error).__name__}: {error}")
