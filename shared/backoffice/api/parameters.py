"""Types of parameters and bodies that several endpoints of operators have."""

from typing import Annotated

from fastapi import Query
from pydantic import Field, StringConstraints

from shared.access.endpoints import ApiInput
from shared.core.stated_reason import MAX_REASON_LENGTH

KeyText = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[a-z0-9_.-]+$")]
Line = Annotated[str, StringConstraints(max_length=320)]
ReasonText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REASON_LENGTH)]
ReasonQuery = Annotated[
    str,
    Query(
        min_length=1,
        max_length=MAX_REASON_LENGTH,
        description="Why you look, as the audit log records it: at least two words",
        examples=["Ticket 4471"],
    ),
]


class ReasonInput(ApiInput):
    reason: ReasonText = Field(
        description="Recorded in the audit log: at least two words", examples=["Ticket 4471"]
    )
