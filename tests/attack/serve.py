"""`python -m tests.attack.serve tenant|admin [hole …]`: one app of the product without its pages, for the attacks.

With a hole in it, if one is named: that is how the suite shows that it would notice. `--list` prints what there is
to attack instead of serving it.
"""

import json
import os
import sys
from typing import Any


def load(which: str) -> Any:
    """Its import registers the app's handlers."""
    os.environ |= {"BULKHEAD_APP": which, "REFLEX_ENV_MODE": "prod", "__REFLEX_SKIP_COMPILE": "1"}
    if which == "tenant":
        from tenant_app.tenant_app import app
    else:
        from admin_app.admin_app import app
    return app


def listing(which: str) -> dict[str, Any]:
    """`handlers`: name to its arguments; a form is the dict of its fields. `unmarked`: those without a need."""
    load(which)
    from reflex_base.registry import RegistrationContext

    from shared.ui.gate import unmarked_handlers
    from tests.attack import forms

    found = {
        name: forms.arguments(entry.handler.fn)
        for name, entry in RegistrationContext.get().event_handlers.items()
        if not entry.handler.fn.__module__.startswith("reflex")
    }
    return {"handlers": found, "unmarked": unmarked_handlers()}


def main(which: str, *names: str) -> None:
    app = load(which)
    from shared.cli import lifeline
    from shared.cli.serve import run
    from shared.core import log
    from shared.core.config import settings
    from tests.attack import holes

    lifeline.end_with(os.getppid())
    log.configure("CRITICAL")
    for name in names:
        holes.IN_APPS[name]()
    run(app(), settings().tenant_url if which == "tenant" else settings().admin_url)


if __name__ == "__main__":
    chosen, *rest = sys.argv[1:]
    if rest == ["--list"]:
        print(json.dumps(listing(chosen)))
    else:
        main(chosen, *rest)
