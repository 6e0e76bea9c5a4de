"""Upload an organisation's logo through a plain form, and serve it to members only."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core.errors import DomainError, NotFound
from shared.tenancy import entry, logos
from shared.web import forms, public_pages, request_identity
from shared.web.sign_in import redirect_to


async def show_logo(request: Request) -> Response:
    """Serve the re-encoded PNG. Its address contains the digest, so browsers may cache it."""
    async with entry.enter_tenant(
        request_identity.get_cookie_header(request), request.path_params["slug"]
    ) as ctx:
        picture = await logos.get(ctx)
    if not picture:
        raise NotFound(entry.NOT_FOUND_MESSAGE, entry.NOT_FOUND_STEP)
    headers = {
        "cache-control": "private, max-age=86400" if request.query_params.get("v") else "no-store",
        "content-disposition": "inline; filename=logo.png",
        "content-security-policy": "default-src 'none'; sandbox",
        "vary": "Cookie",
    }
    return Response(picture, media_type="image/png", headers=headers)


async def upload_logo(request: Request) -> Response:
    slug = request.path_params["slug"]
    back = f"/t/{slug}/settings"
    try:
        fields, picture = await forms.read_logo(request)
        cookies = request_identity.get_cookie_header(request)
        async with entry.enter_tenant(cookies, slug) as ctx:
            await logos.require_upload(ctx)
        drawn = await logos.redraw_image(picture)
        async with entry.enter_tenant(cookies, slug) as ctx:
            await logos.save(ctx, drawn, version=forms.read_version(fields))
    except DomainError as problem:
        if not public_pages.wants_html(request.scope) or problem.reason in ("not_found", "not_signed_in"):
            raise
        return public_pages.render_refusal_page(request.scope, problem, {}, back)
    return redirect_to(back)


ROUTES = [
    Route("/t/{slug}/logo", show_logo),
    Route("/t/{slug}/logo", upload_logo, methods=["POST"]),
]
