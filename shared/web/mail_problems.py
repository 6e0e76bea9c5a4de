"""A person whose address gets no more mail asks for one more: its link proves that the address works again."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db
from shared.identity import users
from shared.jobs import mail_suppressions
from shared.web import request_identity
from shared.web.sign_in import redirect_to


async def send_proof_request(request: Request) -> Response:
    """To an address that gets no more mail; others get none from here. Raises NotSignedIn, Refused."""
    visitor = await request_identity.require_visitor(request)
    async with db.transaction() as session:
        if await mail_suppressions.find_problem(session, visitor.person.id):
            await users.send_proof_request(session, visitor.person.id)
    return redirect_to("/account?done=mail")


ROUTES = [Route("/account/mail/prove", send_proof_request, methods=["POST"])]
