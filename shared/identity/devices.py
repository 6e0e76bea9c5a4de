"""Browsers in which a person has signed in before, so that a sign-in from another one can be mailed to them.

A browser keeps a random token in a cookie of its own for `LIFETIME`; we keep its hash beside the person. Nothing else
about the browser is stored, and the token proves nothing: it only prevents the mail.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from shared.core import crypto
from shared.identity import cookies, repository
from shared.identity.realms import Realm

LIFETIME = timedelta(days=400)  # the longest that browsers keep a cookie
MAX_DEVICES = 50  # for each person; those that were used least recently are forgotten


@dataclass(frozen=True, slots=True)
class Recognition:
    token: str = field(repr=False)  # for the cookie
    is_new: bool  # not seen before, and not the first browser of this person


async def recognise(session: AsyncSession, realm: Realm, subject_id: str, token: str) -> Recognition:
    """`token`: of the browser's cookie, "" without one. From now on the browser is known."""
    if token and await repository.touch_device(session, realm, subject_id, crypto.hash_token(token)):
        return Recognition(token, is_new=False)
    token = token or crypto.new_token()
    known_count = await repository.count_devices(session, realm, subject_id)
    await repository.add_device(session, realm, subject_id, crypto.hash_token(token))
    await repository.delete_old_devices(session, realm, subject_id, LIFETIME, MAX_DEVICES)
    return Recognition(token, is_new=known_count > 0)


def get_token(cookie_header: str, realm: Realm) -> str:
    return cookies.get_cookie_value(cookie_header, realm.device_cookie)


def set_cookie(response: Response, realm: Realm, token: str) -> None:
    cookies.put(response, realm.device_cookie, token, LIFETIME)
