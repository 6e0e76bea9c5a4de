"""A code of the second factor in the middle of a session, before what an open session alone must not be enough for."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.errors import Invalid
from shared.core.rate_limits import RateLimit, begin_attempt
from shared.identity import mfa
from shared.identity.realms import Realm


async def require_code(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> None:
    """Uses the code up. Raises Invalid for a wrong one, Refused after too many of them."""
    attempt = await begin_attempt((RateLimit.MFA_ACCOUNT, (realm.name, subject_id)))
    if not await mfa.verify_code(session, realm, subject_id, code):
        problem = "Incorrect code. Codes change every 30 seconds, and each works once."
        raise Invalid(problem, "Enter the code your app shows now.", fields={"code": problem})
    await attempt.succeed()
