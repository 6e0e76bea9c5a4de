"""What operators may write into a flag: every kind of rule checked strictly, stored in one shape, said in words."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from shared.core.errors import Invalid
from shared.entitlements.holdings import TRAITS
from shared.entitlements.rollout import BUCKETS, said

MOST = 50  # rules of one flag; more would be a list of tenants, which is what "allowed" is for
NOT_A_CHOICE = "names something that is not on the list"
SENTENCES = {  # type of the error: what is wrong with the rule
    "extra_forbidden": "says more than its kind can mean",
    "literal_error": NOT_A_CHOICE,
    "missing": "does not say enough",
    "too_short": "names nothing",
    "union_tag_invalid": "is of no kind that there is",
    "union_tag_not_found": "is of no kind that there is",
}


def _moment(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    starts_at: Moment | None = None
    ends_at: Moment | None = None

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValueError("ends before it starts")
        return self


class _Plain(_Rule):
    kind: Literal["allowed", "beta", "everyone", "internal"]


class _Plans(_Rule):
    kind: Literal["plan"]
    values: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Self:
        _require_listed(self.values, (info.context or {})["plans"])
        return self


class _Traits(_Rule):
    kind: Literal["cohort", "industry", "region"]
    values: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        _require_listed(self.values, TRAITS[self.kind])
        return self


class _Percentage(_Rule):
    kind: Literal["percentage"]
    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _in_buckets(self) -> Self:
        if round(self.percent, 2) != self.percent:
            raise ValueError(f"has a share finer than 1 in {BUCKETS:,}")
        return self


_RULES: TypeAdapter[list[_Plain | _Plans | _Traits | _Percentage]] = TypeAdapter(
    list[Annotated[_Plain | _Plans | _Traits | _Percentage, Field(discriminator="kind")]]
)


def read(rules: object, plans: Collection[str]) -> list[dict[str, Any]]:
    """As they are stored. `plans`: keys that exist. Raises Invalid with a sentence about the first wrong rule."""
    try:
        known = _RULES.validate_python(rules, context={"plans": plans})
    except ValidationError as problem:
        raise _invalid(problem) from None
    found = [one.model_dump(mode="json", exclude_none=True) for one in known]
    if len(found) > MOST:
        raise Invalid(f"A flag has at most {MOST} rules.", "Let tenants in one by one instead.")
    if any(one in found[:place] for place, one in enumerate(found)):
        raise Invalid("The same rule stands there twice.", "Remove one of them.")
    return found


def single(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One rule per value, which means the same: for changing them one by one."""
    return [
        {**rule, "values": [value]} if value else dict(rule)
        for rule in rules
        for value in rule.get("values", ("",))
    ]


def merged(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The other way round: rules of the same kind and time in one, in the order in which they first stood."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rule in rules:
        key = (rule["kind"], rule.get("percent"), rule.get("starts_at"), rule.get("ends_at"))
        if "values" not in rule:
            found.setdefault(key, dict(rule))
            continue
        known = found.setdefault(key, {**rule, "values": []})
        known["values"] = sorted({*known["values"], *rule["values"]})
    return list(found.values())


def in_words(rule: Mapping[str, Any]) -> str:
    """As in "the plan pro, from 1 December 2026, 09:00 UTC"."""
    since, until = rule.get("starts_at"), rule.get("ends_at")
    times = [f"{word} {_clock(at)}" for word, at in (("from", since), ("until", until)) if at]
    return ", ".join([said(rule), *times])


def all_in_words(rules: Sequence[Mapping[str, Any]], *, killed: bool = False) -> str:
    if killed:
        return "nobody: killed"
    return "; ".join(in_words(one) for one in rules) or "nobody"


def _clock(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def _require_listed(values: Sequence[str], allowed: Collection[str]) -> None:
    if not set(values) <= set(allowed):
        raise ValueError(NOT_A_CHOICE)


def _invalid(problem: ValidationError) -> Invalid:
    error = problem.errors()[0]
    place = error["loc"][0] + 1 if error["loc"] and isinstance(error["loc"][0], int) else 0
    wrong = str(error["ctx"]["error"]) if error["type"] == "value_error" else ""
    sentence = (
        wrong if wrong and "isoformat" not in wrong else SENTENCES.get(error["type"], "cannot be meant")
    )
    if "percent" in error["loc"]:
        sentence = "has a share that is not between 0 and 100"
    return Invalid(
        f"Rule {place} {sentence}." if place else "These are no rules.",
        "Nothing was changed. Correct it and try again.",
        fields={"rules": sentence},
    )
