"""The Content-Security-Policy of the apps' pages. Public pages have a stricter one (`public_pages.PAGE_POLICY`).

Reflex starts its pages from inline scripts. Each is allowed by its hash, computed from the built frontend, so that no
other inline script runs. docs/decisions/2026-11-30-content-security-policy.md has the reasons for what is left.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
APP_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'{hashes}; script-src-attr 'none';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:;"
    " connect-src 'self' {sockets}; object-src 'none'; base-uri 'self'; form-action 'self'{targets}; frame-ancestors 'none'"
)


def build_policy(build_folder: Path, socket_origin: str, *, form_target: str = "") -> str:
    """The policy of an app whose frontend is in `build_folder`; without a build no inline script is allowed.

    `form_target`: another origin to which its pages post a form.
    """
    hashes = "".join(f" '{script_hash}'" for script_hash in list_script_hashes(build_folder))
    targets = f" {form_target}" if form_target else ""
    return APP_POLICY.format(hashes=hashes, sockets=socket_origin, targets=targets)


@cache
def list_script_hashes(build_folder: Path) -> tuple[str, ...]:
    """Of all inline scripts of the pages below this folder, sorted. Read once: a new build needs a new process."""
    scripts = {
        script
        for page in build_folder.rglob("*.html")
        for script in INLINE_SCRIPT.findall(page.read_bytes().decode())
        if script
    }
    return tuple(sorted(_hash(script) for script in scripts))


def _hash(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
