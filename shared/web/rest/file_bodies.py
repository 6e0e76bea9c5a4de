"""Bodies that are files. They arrive between two transactions, so that none waits for a slow client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from shared.access.endpoints import ReceivedFile
from shared.files import uploads
from shared.tenancy import key_entry
from shared.tenancy.key_entry import KeyAdmission

MEDIA_TYPE = "application/octet-stream"


class Upload:
    """A file that was received. It is dropped at the end unless `keep` was called."""

    def __init__(self, file: ReceivedFile) -> None:
        self.file = file
        self.is_kept = False

    def keep(self) -> None:
        self.is_kept = True


@asynccontextmanager
async def receive_file(request: Request, admission: KeyAdmission) -> AsyncIterator[Upload]:
    """The type that the client names counts for nothing. Raises as `uploads.reserve` and `uploads.receive`."""
    with uploads.hold_place(admission.tenant.tenant_id):
        async with key_entry.enter_key(admission) as ctx:
            path = await uploads.reserve(ctx)
        upload = Upload(await uploads.receive(path, request.stream(), length=_read_length(request)))
        try:
            yield upload
        finally:
            if not upload.is_kept:
                await uploads.drop(path)


def _read_length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
