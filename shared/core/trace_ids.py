"""The W3C trace id of a request: derived from its request id, so that neither has to be stored to find the other.

All spans of a request share it in every process, those of its jobs included.
"""

import hashlib
from functools import lru_cache


@lru_cache(maxsize=1_000)
def derive(request_id: str) -> str:
    """32 hexadecimal digits, never all zero."""
    return hashlib.sha256(request_id.encode()).hexdigest()[:32]
