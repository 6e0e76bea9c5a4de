"""All stand-ins behind one port, as `make up` starts them, and after a restart."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import stripe

from shared.core.config import settings
from shared.dev import stand_ins
from tests.dev.stripe_sandbox.sandbox_server import find_free_port, serve_app

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session", autouse=True)
def schema() -> None:
    """Stand-ins have no database."""


@pytest.fixture(autouse=True)
def isolated_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("BULKHEAD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("BULKHEAD_SANDBOX_URL", f"http://localhost:{find_free_port() - 23}")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@asynccontextmanager
async def run_stand_ins() -> AsyncIterator[str]:
    app = stand_ins.build_app()
    async with app.router.lifespan_context(app), serve_app(app) as origin:
        yield origin


async def test_home_page_lists_the_stand_ins() -> None:
    async with run_stand_ins() as origin, httpx.AsyncClient(trust_env=False, base_url=origin) as http:
        page = await http.get("/")
        assert page.status_code == 200
        for address in ("/mail", "/stripe/_control", settings().tenant_url, settings().admin_url):
            assert f'href="{address}"' in page.text
        for address in ("/healthz", "/mail", "/mail.json", "/stripe/_control", "/stripe/_look.css"):
            assert (await http.get(address)).status_code == 200
        unknown = await http.get("/stripe/v1/nothing", headers={"authorization": "Bearer sk_test_x"})
        assert unknown.status_code == 501


async def test_stripe_objects_survive_a_restart() -> None:
    def build_client(origin: str) -> stripe.StripeClient:
        bases = dict.fromkeys(("api", "connect", "files", "meter_events"), f"{origin}/stripe")
        return stripe.StripeClient("sk_test_bulkhead_demo", base_addresses=bases)

    async with run_stand_ins() as origin:
        customer = await asyncio.to_thread(build_client(origin).v1.customers.create, {"name": "Ann"})
    async with run_stand_ins() as origin:
        reloaded = await asyncio.to_thread(build_client(origin).v1.customers.retrieve, customer.id)
        assert reloaded.name == "Ann"
