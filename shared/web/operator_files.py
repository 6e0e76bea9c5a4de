"""Download an operator’s export by its signed link, with the session of the operator that the link is bound to."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.backoffice import tenant_exports
from shared.core.errors import NotFound, Refused
from shared.files import files, links
from shared.tenancy import entry
from shared.web import request_identity
from shared.web.files import MAX_TOKEN_LENGTH, stream


async def download_export(request: Request) -> Response:
    """403 for a bad signature and an expired link, 404 for a good one without a right to it."""
    token = request.path_params["token"]
    link = links.parse_token(token if len(token) <= MAX_TOKEN_LENGTH else "")
    try:
        async with entry.enter_operator(request_identity.get_cookie_header(request)) as octx:
            download = await tenant_exports.open_link(octx, link)
    except (NotFound, Refused):
        raise files.no_such_file() from None
    return await stream(download)


ROUTES = [Route("/files/{token}", download_export, methods=["GET"])]
