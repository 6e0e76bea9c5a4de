"""Tabs of support sessions: what they do is noted for the transcript, and they close when the session is over."""

from reflex_base.registry import RegistrationContext

from shared.tenancy import support_transcript
from shared.tenancy.admissions import Authenticator, Principal
from shared.ui.admission import Admission
from shared.ui.live_updates import LiveUpdates


def follow_session(
    live: LiveUpdates,
    authenticate: Authenticator,
    admission: Admission,
    *,
    event_name: str,
    principal: Principal,
) -> None:
    """For each event of a support session. `principal`: whose session is live at the moment."""
    registered = RegistrationContext.get().event_handlers.get(event_name)
    is_page = registered is not None and getattr(registered.handler.fn, "__page__", False)
    support_transcript.note_request(admission._path, event_name.rpartition(".")[2], is_page=is_page)
    cookies = admission.router.headers.cookie

    async def is_live() -> bool:
        present = await authenticate(cookies, "", touches=False)
        return present is not None and present.session_hash == principal.session_hash

    live.end_with_session(admission, is_live)
