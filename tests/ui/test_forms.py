"""Forms and arguments from a hostile browser."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, StringConstraints

from shared.core.errors import Invalid
from shared.ui.forms import (
    MAX_LENGTH,
    Form,
    FutureMoment,
    Moment,
    OptionalFutureMoment,
    choice_of,
    id_of,
    parse_choice,
    parse_id,
    parse_line,
    whole,
)


class Sample(Form):
    email: Annotated[str, StringConstraints(min_length=3, max_length=20)]
    note: str = ""


def test_form_is_read_and_stripped() -> None:
    assert Sample.read({"email": "  ann@acme.test "}) == Sample(email="ann@acme.test")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "email"),
        ({"email": "a"}, "email"),
        ({"email": "x" * 21}, "email"),
        ({"email": "x" * 10_000}, "email"),
        ({"email": "ann\0@acme.test"}, "email"),
        ({"email": {"$ne": ""}}, "email"),
        ({"email": 12345}, "email"),
        ({"email": None}, "email"),
        ({"email": "ann@acme.test", "role": "owner"}, "role"),
        ({"email": "ann@acme.test", "tenant_id": "ten_globex"}, "tenant_id"),
        ({"email": "ann@acme.test", "note": "x" * (MAX_LENGTH + 1)}, "note"),
    ],
)
def test_invalid_form_is_refused_with_the_field(payload: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Sample.read(payload)
    assert list(refusal.value.fields) == [field]
    assert refusal.value.next_step


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_payload_of_any_shape_is_accepted_or_refused(payload: object) -> None:
    with pytest.raises(Invalid):
        Sample.read(payload)
    with pytest.raises(Invalid):
        parse_id("mem", payload)
    with pytest.raises(Invalid):
        parse_choice(payload, ("name", "role"))


def test_valid_arguments_are_parsed() -> None:
    assert parse_id("mem", "mem_acme_max") == "mem_acme_max"
    assert parse_choice("role", ("name", "role")) == "role"
    assert parse_line("  ann ") == "ann"


@pytest.mark.parametrize("query", ["x" * 201, "a\0b", 3, None, ["a"]])
def test_search_text_of_several_lines_is_refused(query: object) -> None:
    with pytest.raises(Invalid):
        parse_line(query)


class OrderForm(Form):
    seats: Annotated[int, whole(1, 10_000)]
    extra: Annotated[int | None, whole(0, 5, required=False)] = None
    version: Annotated[str, id_of("plv"), Field(title="Plan")] = "plv_pro_1"
    period: Annotated[str, choice_of(("month", "year"))] = "month"
    starts: Moment = None
    ends: OptionalFutureMoment = None


class DeadlineForm(Form):
    ends: FutureMoment


def test_form_returns_values_of_its_annotated_types() -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    form = OrderForm.read({"seats": "12", "extra": "", "starts": "", "ends": tomorrow.isoformat()})
    assert (form.seats, form.extra, form.starts, form.ends) == (12, None, None, tomorrow)
    assert DeadlineForm.read({"ends": tomorrow.isoformat()}).ends == tomorrow


def test_form_with_several_wrong_fields_names_all_of_them() -> None:
    with pytest.raises(Invalid) as error:
        OrderForm.read(
            {
                "seats": "0",
                "extra": "9",
                "version": "usr_ann",
                "period": "day",
                "starts": "soon",
                "ends": "2001-01-01T00:00Z",
            }
        )
    assert error.value.fields == {
        "seats": "Seats must be a whole number from 1 to 10,000.",
        "extra": "Extra must be a whole number from 0 to 5.",
        "version": "Plan isn’t one of the choices.",
        "period": "Period isn’t one of the choices.",
        "starts": "Starts isn’t a date with a time.",
        "ends": "Ends must be in the future.",
    }


@pytest.mark.parametrize("seats", ["", "-1", "1.5", "1e3", "٣", "9" * 13, 3, None, True])
def test_form_with_something_else_than_a_whole_number_is_invalid(seats: Any) -> None:
    with pytest.raises(Invalid) as error:
        OrderForm.read({"seats": seats})
    assert list(error.value.fields) == ["seats"]


@pytest.mark.parametrize("ends", ["", "2001-01-01T00:00Z", "2999-01-01T00:00", "tomorrow", None, 5])
def test_form_with_something_else_than_a_future_moment_is_invalid(ends: Any) -> None:
    with pytest.raises(Invalid) as error:
        DeadlineForm.read({"ends": ends})
    assert list(error.value.fields) == ["ends"]
