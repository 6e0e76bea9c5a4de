"""What a check of `bulkhead doctor` found, and how it is printed. Details and next steps never hold a secret."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from shared.core.config import ConfigurationError

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    name: str
    status: Status
    detail: str
    next_step: str = ""  # "" only where the status is ok


def ok(name: str, detail: str) -> CheckResult:
    return CheckResult(name=name, status="ok", detail=detail)


def warning(name: str, detail: str, next_step: str) -> CheckResult:
    return CheckResult(name=name, status="warning", detail=detail, next_step=next_step)


def failed(name: str, detail: str, next_step: str) -> CheckResult:
    return CheckResult(name=name, status="failed", detail=detail, next_step=next_step)


def failed_by(name: str, problem: ConfigurationError) -> CheckResult:
    """From a sentence that ends with what to do."""
    detail, _, next_step = str(problem).partition(". ")
    return failed(
        name, detail.rstrip(".") + ".", next_step or "Correct it, then run `bulkhead doctor` again."
    )


def run_check(name: str, check: Callable[[], Iterable[CheckResult]]) -> Iterator[CheckResult]:
    """The results of `check`; one that says it couldn't be done where it raises. Messages of errors may hold secrets."""
    try:
        yield from check()
    except ConfigurationError as problem:
        yield failed_by(name, problem)
    except Exception as problem:  # a doctor that dies says nothing about the other parts
        yield failed(
            name,
            f"This couldn't be checked ({type(problem).__name__}).",
            "Correct the parts that failed above, then run `bulkhead doctor` again.",
        )


def render_lines(results: Sequence[CheckResult]) -> str:
    """One line per check."""
    width = max(len(result.name) for result in results)
    return "\n".join(
        f"{result.status:<8} {result.name:<{width}}  {result.detail} {result.next_step}".rstrip()
        for result in results
    )


def render_json(results: Sequence[CheckResult]) -> str:
    return json.dumps([asdict(result) for result in results], indent=2)


def has_failed(results: Sequence[CheckResult]) -> bool:
    return any(result.status == "failed" for result in results)
