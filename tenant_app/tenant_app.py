"""The wiring of the customers' app. Importing the pages registers them."""

import reflex as rx

from shared.access import decision_counts
from shared.audit import bug_reports
from shared.fairness import load_recorder, throttle_watch
from shared.metering import call_counts
from shared.monitoring import traffic_writer
from shared.tenancy import authentication
from shared.ui import event_entry, event_traces
from shared.ui.authorize import AuthorizeMiddleware
from shared.ui.document import app_wraps, head_components, toaster
from shared.ui.states import show_refusal
from shared.web import app_sites, metrics_server, tenant_http
from tenant_app.pages import import_pages
from tenant_app.shell import Shell, live

import_pages()
app = rx.App(
    html_lang="en",
    head_components=head_components(),
    toaster=toaster(),
    app_wraps=app_wraps(),
    api_transformer=[tenant_http.app],
    backend_exception_handler=show_refusal,
)
event_entry.install(app)
event_traces.install("tenant")
app.add_middleware(
    AuthorizeMiddleware(
        authentication.authenticate, live, frame=Shell.refresh, socket_limits=app_sites.TENANT.socket_limits
    )
)
app.register_lifespan_task(live.run)
app.register_lifespan_task(decision_counts.run_writer)
app.register_lifespan_task(call_counts.run_writer)
app.register_lifespan_task(load_recorder.run_writer)
app.register_lifespan_task(throttle_watch.run)
app.register_lifespan_task(traffic_writer.run)
app.register_lifespan_task(metrics_server.run, process="tenant")
app.register_lifespan_task(bug_reports.run_writer, process="tenant app")
