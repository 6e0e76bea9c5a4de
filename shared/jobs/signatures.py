"""Signatures of jobs. Who can write rows of the queue but doesn't know a master key can't make a job that runs.

A job carries an HMAC over its task and all its arguments, the tenant among them. It says that one of our processes
queued this work for this tenant. A copy of the row carries a valid signature too, so every task is idempotent.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto, db, log
from shared.jobs import job_repository

ARGUMENT, PURPOSE = "signature", "job"


class ForgedJob(Exception):
    """The job is not signed, or its signature is for another tenant, task or arguments. It never runs."""


def sign(task: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with their signature among them."""
    return {**arguments, ARGUMENT: crypto.compute_signature(PURPOSE, _message(task, arguments))}


async def check(job_id: int | None, task: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments without their signature. Raises ForgedJob, which is recorded as a security event."""
    signed = {name: value for name, value in arguments.items() if name != ARGUMENT}
    signature = arguments.get(ARGUMENT)
    if isinstance(signature, str):
        if crypto.is_signature_valid(PURPOSE, _message(task, signed), signature):
            return signed
    elif await _is_accepted_unsigned(job_id, task, signed):
        return signed
    await _record_forged_job(task, signed)
    raise ForgedJob("The job has no valid signature, so it was not queued by us.")


async def sign_waiting_jobs_again(session: AsyncSession) -> int:
    """Sign the jobs of the queue with the newest master key, so that none needs an older one. Returns how many.

    Jobs without a valid signature stay as they are.
    """
    count = 0
    for job_id, task, arguments in await job_repository.list_signed_jobs(session):
        unsigned = {name: value for name, value in arguments.items() if name != ARGUMENT}
        if crypto.is_signature_valid(PURPOSE, _message(task, unsigned), str(arguments[ARGUMENT])):
            signed = sign(task, unsigned)
            count += await job_repository.replace_arguments(session, job_id, arguments, signed)
    return count


def _message(task: str, arguments: Mapping[str, Any]) -> bytes:
    return json.dumps([task, arguments], sort_keys=True, separators=(",", ":")).encode()


async def _is_accepted_unsigned(job_id: int | None, task: str, arguments: Mapping[str, Any]) -> bool:
    async with db.transaction() as session:
        return await job_repository.is_accepted_unsigned(session, job_id, task, arguments)


async def _record_forged_job(task: str, arguments: Mapping[str, Any]) -> None:
    tenant_id, request_id = (
        str(arguments.get("tenant_id", "-"))[:40],
        str(arguments.get("request_id", ""))[:40],
    )
    log.get_logger(__name__).error("job_forged", task=task, tenant_id=tenant_id, request_id=request_id)
    async with db.transaction() as session:
        await job_repository.record_forged_job(session, task, tenant_id, request_id)
