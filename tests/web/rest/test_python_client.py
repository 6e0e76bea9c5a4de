"""The generated client is current, and does what docs/api.md shows against the running app."""

import asyncio
import importlib.util
import re
import sys
import textwrap
from contextlib import redirect_stdout
from io import StringIO
from types import ModuleType

import pytest

from shared.web import tenant_http
from shared.web.rest import api, python_client
from tests.conftest import ROOT, Cast
from tests.support import api_clients
from tests.support.billing.stub_server import serve_app

CLIENT, GUIDE = ROOT / "docs/client/bulkhead_client.py", ROOT / "docs/api.md"


@pytest.fixture(scope="module")
def client_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bulkhead_client", CLIENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_client_is_the_one_of_the_document() -> None:
    assert CLIENT.read_text() == python_client.render_client(api.build_document()), (
        "run: bulkhead docs client > docs/client/bulkhead_client.py"
    )


async def test_quick_start_of_the_guide_works(
    cast: Cast, client_module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    (code,) = re.findall(r"## Quick start.*?```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len([line for line in textwrap.dedent(code).splitlines() if line]) == 5
    monkeypatch.setitem(sys.modules, "bulkhead_client", client_module)
    output = StringIO()
    async with serve_app(tenant_http.app) as address:
        text = code.replace("http://localhost:3000", address).replace("bk_live_…", program.text)
        with redirect_stdout(output):
            await asyncio.to_thread(exec, text, {})
    printed = [line for line in output.getvalue().splitlines() if "[info" not in line]  # without the log
    assert printed == ["Adam admin", "Ann owner", "Max member"]


async def test_client_changes_and_is_refused_with_the_problem(cast: Cast, client_module: ModuleType) -> None:
    program = await api_clients.create_key(cast.ann)

    def use(address: str) -> tuple[str, int]:
        with client_module.Bulkhead(program.text, base_url=address) as bulkhead:
            role = bulkhead.create_role({"name": "Auditor", "permissions": ["audit:read"]})
            change = {"name": "Reader", "permissions": ["audit:read"]}
            changed = bulkhead.change_role(role["id"], change, version=role["version"])
            with pytest.raises(client_module.ApiError) as refusal:
                bulkhead.change_role(role["id"], {**change, "name": "Late"}, version=role["version"])
            bulkhead.delete_role(role["id"])
            return changed["name"], refusal.value.problem["status"]

    async with serve_app(tenant_http.app) as address:
        assert await asyncio.to_thread(use, address) == ("Reader", 412)
