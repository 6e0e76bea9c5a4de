"""What customers see: the app's wiring and nothing else. Pages register themselves by being imported."""

import reflex as rx

from shared.access import evidence
from shared.api import tenant_http
from shared.tenancy import entry
from shared.ui.document import head_components, toaster
from shared.ui.gate import Gate
from shared.ui.state import show_refusal
from tenant_app.pages import (  # noqa: F401
    access,
    audit,
    billing,
    home,
    members,
    notifications,
    reports,
    roles,
    settings,
)
from tenant_app.shell import Shell, live

app = rx.App(
    html_lang="en",
    head_components=head_components(),
    toaster=toaster(),
    api_transformer=[tenant_http.app],
    backend_exception_handler=show_refusal,
)
app.add_middleware(Gate(entry.peek, live, frame=Shell.refresh))
app.register_lifespan_task(live.run)
app.register_lifespan_task(evidence.run)
