"""Why jobs failed, for operators. A row is deleted with its job."""

from sqlalchemy.exc import SQLAlchemyError

from shared.core import db, log
from shared.jobs import job_repository

MAX_ERROR_LENGTH = 300  # characters


def describe(problem: BaseException) -> str:
    """One line. Database errors give only their class: their text may hold rows."""
    kind = type(problem).__name__
    words = "" if isinstance(problem, SQLAlchemyError) else " ".join(str(problem).split())
    printable = "".join(character for character in words if character.isprintable())
    return f"{kind}: {printable}"[:MAX_ERROR_LENGTH] if printable else kind


async def record_failure(job_id: int, problem: BaseException) -> None:
    """Record why the last attempt failed, in a transaction of its own. A failure to record it is only logged."""
    try:
        async with db.transaction() as session:
            await job_repository.record_failure(session, job_id, describe(problem))
    except Exception as recording_problem:
        log.get_logger(__name__).error(
            "job_failure_not_recorded", problem=type(recording_problem).__name__, job=job_id
        )
