"""Types of parameters that several endpoints have."""

from typing import Annotated

from pydantic import StringConstraints

IdText = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9_.-]+$")]
