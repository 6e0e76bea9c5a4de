"""The policy of the apps' pages allows the inline scripts of the build, and no others."""

import base64
import hashlib
from pathlib import Path

from shared.web import content_security

SOCKETS = "wss://app.example.com"


def hash_script(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def read_scripts(policy: str) -> list[str]:
    (directive,) = [part.strip() for part in policy.split(";") if part.strip().startswith("script-src ")]
    return directive.split()[1:]


def test_inline_scripts_of_every_page_are_allowed_by_their_hash(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<script>\nfirst("ä");\n</script><script defer="" src="/look.js"></script>'
        '<script type="module" async="">import "/x.js";</script>'
    )
    (tmp_path / "a" / "index.html").write_text("<script>second()</script><script>second()</script>")
    allowed = read_scripts(content_security.build_policy(tmp_path, SOCKETS))
    expected = {hash_script(script) for script in ('\nfirst("ä");\n', 'import "/x.js";', "second()")}
    assert {*allowed} == {"'self'", "'unsafe-eval'", *expected}
    assert len(allowed) == 5


def test_no_inline_script_is_allowed_without_a_build(tmp_path: Path) -> None:
    policy = content_security.build_policy(tmp_path, SOCKETS)
    assert read_scripts(policy) == ["'self'", "'unsafe-eval'"]
    assert f"connect-src 'self' {SOCKETS};" in policy
    assert "script-src-attr 'none'" in policy
