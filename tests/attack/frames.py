"""What came back over a socket, in a form that can be searched and compared."""

import json
import re


def short(name: str) -> str:
    """As in "members_state.load"."""
    return ".".join(part.rpartition("____")[2] for part in name.split(".")[-2:])


def heard(text: str) -> str:
    """Without the address of the page, which the caller has named; in one order."""
    frames = [json.loads(line.partition(",")[2])[1] for line in text.split("\n") if line.startswith("42")]
    for frame in frames:
        for state in frame.get("delta", {}).values():
            for name in [key for key in state if key.startswith("rx_router_")]:
                del state[name]
    return json.dumps(frames, sort_keys=True, ensure_ascii=False)


def bare(text: str, word: str) -> str:
    return re.sub(r"req_\w+", "REQUEST", heard(text)).replace(word, "WORD")
