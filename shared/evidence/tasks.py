"""Jobs of evidence."""

from collections.abc import Awaitable, Callable

from shared.evidence import chain_checks
from shared.jobs import worker
from shared.jobs.worker import ExternalJob

CHECK_TASK = "platform.check_audit_chains"


@worker.external_job
async def check_chains(_: ExternalJob) -> None:
    """All of them now, those included that were verified today. May run twice."""
    await chain_checks.check_all()


PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {CHECK_TASK: check_chains}
