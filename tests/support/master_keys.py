"""Other master keys than those of the settings, for a while."""

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from shared.core.config import settings


def render(keys_by_id: Mapping[int, bytes]) -> str:
    """As the setting is written."""
    return ",".join(f"{number}:{base64.b64encode(key).decode()}" for number, key in keys_by_id.items())


@contextmanager
def using(keys_by_id: Mapping[int, bytes]) -> Iterator[None]:
    """Newest first, in this process and in those that it starts."""
    former = os.environ.get("BULKHEAD_MASTER_KEYS")
    os.environ["BULKHEAD_MASTER_KEYS"] = render(keys_by_id)
    settings.cache_clear()
    try:
        yield
    finally:
        os.environ.pop("BULKHEAD_MASTER_KEYS")
        if former is not None:
            os.environ["BULKHEAD_MASTER_KEYS"] = former
        settings.cache_clear()
