"""What operators see: the app's wiring and nothing else. Pages register themselves by being imported."""

import reflex as rx

from admin_app.pages import (  # noqa: F401
    access,
    api_keys,
    approval,
    approvals,
    audit,
    catalog,
    drift,
    finance,
    flag,
    flags,
    health,
    invoices,
    jobs,
    mail,
    noisy_tenants,
    operators,
    overview,
    prices,
    recovery,
    runbook,
    tenant,
    tenants,
    usage,
    webhook,
    webhooks,
)
from admin_app.shell import Shell, live
from shared.audit import bug_reports
from shared.backoffice.alerts import evaluation
from shared.monitoring import traffic_writer
from shared.ui import event_entry, event_traces
from shared.ui.authorize import AuthorizeMiddleware, authenticate_operator
from shared.ui.document import app_wraps, head_components, toaster
from shared.ui.states import show_refusal
from shared.web import admin_http, metrics_server

app = rx.App(
    html_lang="en",
    head_components=head_components(),
    toaster=toaster(),
    app_wraps=app_wraps(),
    api_transformer=[admin_http.app],
    backend_exception_handler=show_refusal,
)
event_entry.install(app)
event_traces.install("admin")
app.add_middleware(AuthorizeMiddleware(authenticate_operator, live, frame=Shell.refresh))
app.register_lifespan_task(live.run)
app.register_lifespan_task(traffic_writer.run, role="operator")
app.register_lifespan_task(evaluation.run)
app.register_lifespan_task(metrics_server.run, process="admin")
app.register_lifespan_task(bug_reports.run_writer, process="admin app", role="operator")
