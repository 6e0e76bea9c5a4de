"""Bodies that are files. They arrive between two transactions, so that none waits for a slow client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from shared.access.endpoints import ReceivedFile
from shared.core.errors import DomainError, TookTooLong, Unavailable
from shared.files import uploads
from shared.tenancy import key_entry
from shared.tenancy.key_entry import KeyAdmission

MEDIA_TYPE = "application/octet-stream"


class Upload:
    """A file that was received."""

    def __init__(self, file: ReceivedFile) -> None:
        self.file = file
        self.is_needless = False

    def drop(self) -> None:
        """Nothing refers to it."""
        self.is_needless = True


@asynccontextmanager
async def receive_file(request: Request, admission: KeyAdmission) -> AsyncIterator[Upload]:
    """The type that the client names counts for nothing. Raises as `uploads.reserve` and `uploads.receive`.

    What is refused is dropped. After another error the bytes stay: the row may be committed. If not, `retention` deletes both.
    """
    with uploads.hold_place(admission.tenant.tenant_id):
        async with key_entry.enter_key(admission) as ctx:
            path = await uploads.reserve(ctx)
        upload = Upload(await uploads.receive(path, request.stream(), length=_read_length(request)))
        try:
            yield upload
        except (Unavailable, TookTooLong):
            raise
        except DomainError:
            upload.drop()
            raise
        finally:
            if upload.is_needless:
                await uploads.drop(path)


def _read_length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
