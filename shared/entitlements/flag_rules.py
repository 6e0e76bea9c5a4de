"""Flag rules: strict validation, one stored format, and descriptions."""

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
from pydantic_core import PydanticCustomError

from shared.core.errors import Invalid
from shared.entitlements.assignments import TRAITS
from shared.entitlements.flag_evaluation import describe_condition

FULL_PERCENT = 100
MAX_RULES = 50  # of one flag; use the kind "allowed" for lists of tenants
WRONG_RULE = "wrong_rule"  # type of our own errors, whose message completes "Rule 1 …"
NOT_A_CHOICE = "has a value that isn’t in the list"
ERROR_TEXTS = {  # type of the error: what is wrong with the rule
    "extra_forbidden": "has a field that its type doesn’t have",
    "literal_error": NOT_A_CHOICE,
    "missing": "is incomplete",
    "too_short": "has no values",
    "union_tag_invalid": "has an unknown type",
    "union_tag_not_found": "has an unknown type",
}


def _parse_moment(value: object) -> object:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


Moment = Annotated[AwareDatetime, BeforeValidator(_parse_moment)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    starts_at: Moment | None = None
    ends_at: Moment | None = None

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise PydanticCustomError(WRONG_RULE, "ends before it starts")
        return self


class _SimpleRule(_Rule):
    kind: Literal["allowed", "beta", "everyone", "internal"]


class _PlanRule(_Rule):
    kind: Literal["plan"]
    values: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _require_known_plans(self, info: ValidationInfo) -> Self:
        _require_listed(self.values, (info.context or {})["plans"])
        return self


class _TraitRule(_Rule):
    kind: Literal["cohort", "industry", "region"]
    values: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _require_known_values(self) -> Self:
        _require_listed(self.values, TRAITS[self.kind])
        return self


class _PercentageRule(_Rule):
    kind: Literal["percentage"]
    percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _in_buckets(self) -> Self:
        if round(self.percent, 2) != self.percent:
            raise PydanticCustomError(WRONG_RULE, "has more than two decimal places")
        return self


_RULES: TypeAdapter[list[_SimpleRule | _PlanRule | _TraitRule | _PercentageRule]] = TypeAdapter(
    list[Annotated[_SimpleRule | _PlanRule | _TraitRule | _PercentageRule, Field(discriminator="kind")]]
)


def parse_rules(rules: object, plans: Collection[str]) -> list[dict[str, Any]]:
    """As they are stored. `plans`: keys that exist. Raises Invalid with a sentence about the first wrong rule."""
    try:
        parsed_rules = _RULES.validate_python(rules, context={"plans": plans})
    except ValidationError as problem:
        raise _build_invalid(problem) from None
    stored_rules = [rule.model_dump(mode="json", exclude_none=True) for rule in parsed_rules]
    if len(stored_rules) > MAX_RULES:
        raise Invalid(f"A flag has at most {MAX_RULES} rules.", "Use an allow-list rule instead.")
    if any(rule in stored_rules[:index] for index, rule in enumerate(stored_rules)):
        raise Invalid("The same rule is listed twice.", "Remove one of them.")
    return stored_rules


def split_rules(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Splits rules into one per value with the same meaning, to edit them one by one."""
    return [
        {**rule, "values": [value]} if value else dict(rule)
        for rule in rules
        for value in rule.get("values", ("",))
    ]


def merge_rules(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The reverse of `split_rules`: one rule for each kind and time, in the order of first appearance."""
    merged_rules: dict[tuple[Any, ...], dict[str, Any]] = {}
    for rule in rules:
        key = (rule["kind"], rule.get("percent"), rule.get("starts_at"), rule.get("ends_at"))
        if "values" not in rule:
            merged_rules.setdefault(key, dict(rule))
            continue
        merged_rule = merged_rules.setdefault(key, {**rule, "values": []})
        merged_rule["values"] = sorted({*merged_rule["values"], *rule["values"]})
    return list(merged_rules.values())


def is_for_everyone(rules: Iterable[Mapping[str, Any]]) -> bool:
    """Whether some rule turns the flag on for every tenant, now or at a time that it names."""
    return any(rule["kind"] == "everyone" or rule.get("percent") == FULL_PERCENT for rule in rules)


def describe_rule(rule: Mapping[str, Any]) -> str:
    """As in "the plan pro, from 1 December 2026, 09:00 UTC"."""
    since, until = rule.get("starts_at"), rule.get("ends_at")
    times = [f"{word} {_format_time(at)}" for word, at in (("from", since), ("until", until)) if at]
    return ", ".join([describe_condition(rule), *times])


def describe_rules(rules: Sequence[Mapping[str, Any]], *, killed: bool = False) -> str:
    if killed:
        return "no one: killed"
    return "; ".join(describe_rule(rule) for rule in rules) or "no one"


def _format_time(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def _require_listed(values: Sequence[str], allowed: Collection[str]) -> None:
    if not set(values) <= set(allowed):
        raise PydanticCustomError(WRONG_RULE, NOT_A_CHOICE)


def _build_invalid(problem: ValidationError) -> Invalid:
    error = problem.errors()[0]
    rule_number = error["loc"][0] + 1 if error["loc"] and isinstance(error["loc"][0], int) else 0
    is_ours = error["type"] == WRONG_RULE
    sentence = error["msg"] if is_ours else ERROR_TEXTS.get(error["type"], "isn’t valid")
    if "percent" in error["loc"]:
        sentence = "has a percentage that isn’t between 0 and 100"
    return Invalid(
        f"Rule {rule_number} {sentence}." if rule_number else "The rules aren’t valid.",
        "Nothing was changed. Correct it and try again.",
        fields={"rules": sentence},
    )
