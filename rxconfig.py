"""One configuration for both apps. BULKHEAD_APP=tenant|admin picks the app, its port and its own .web directory."""

import os
from urllib.parse import urlsplit

import reflex as rx
from reflex_base import constants
from reflex_base.environment import environment

from shared import modules
from shared.core.config import settings
from shared.ui.theme import ThemePlugin

APPS = {  # app_name, public address, accent and gray of Radix
    "tenant": ("tenant_app", settings().tenant_url, "indigo", "slate"),
    "admin": ("admin_app", settings().admin_url, "amber", "sand"),
}
APP = os.environ.get("BULKHEAD_APP", "tenant")
modules.load()  # before the app is imported, also where Reflex builds it
if APP not in APPS:
    raise RuntimeError(f"BULKHEAD_APP must be one of {sorted(APPS)}, got {APP!r}")
APP_NAME, PUBLIC_URL, ACCENT, GRAY = APPS[APP]
PORT = urlsplit(PUBLIC_URL).port or 3000
REDIS = settings().redis_url

for variable, path in (  # before anything asks Reflex for its web directory
    (environment.REFLEX_WEB_WORKDIR, settings().frontends_dir / APP),
    (environment.REFLEX_STATES_WORKDIR, settings().absolute_data_dir / "states" / APP),
    (environment.REFLEX_UPLOADED_FILES_DIR, settings().absolute_data_dir / "uploads" / APP),
):
    if not variable.is_set():
        variable.set(path)
# With one lock folder for both, the apps keep pruning each other's packages from it.
constants.Bun.ROOT_LOCKFILE_DIR = f"reflex.lock/{APP}"

config = rx.Config(
    app_name=APP_NAME,
    frontend_port=PORT,
    backend_port=PORT,
    backend_host="127.0.0.1",
    api_url=PUBLIC_URL,
    deploy_url=PUBLIC_URL,
    cors_allowed_origins=[PUBLIC_URL],
    redis_url=REDIS.get_secret_value() if REDIS else None,
    state_manager_mode="redis" if REDIS else "memory",  # an explicit "memory" would win over redis_url
    telemetry_enabled=False,
    show_built_with_reflex=False,
    trusted_proxy_hops=settings().trusted_proxy_hops,
    frontend_compression_formats=["gzip"],
    plugins=[ThemePlugin(theme=rx.theme(accent_color=ACCENT, gray_color=GRAY, has_background=False))],  # type: ignore[arg-type]
    disable_plugins=[rx.plugins.SitemapPlugin],  # on by default: it publishes every route
)
