"""What came back over a socket, in a form that can be searched and compared."""

import json
import re
from collections.abc import Collection

ESCAPED = re.compile(r"\\u00[0-7]")  # a letter that the words could have
REQUEST = re.compile(r"req_\w+")


def short(name: str) -> str:
    """As in "members_state.load"."""
    return ".".join(part.rpartition("____")[2] for part in name.split(".")[-2:])


def normalise_frames(text: str) -> str:
    """Without the address of the page, which the caller has named; in one order."""
    frames = [json.loads(line.partition(",")[2])[1] for line in text.split("\n") if line.startswith("42")]
    for frame in frames:
        for state in frame.get("delta", {}).values():
            for name in [key for key in state if key.startswith("rx_router_")]:
                del state[name]
    return json.dumps(frames, sort_keys=True, ensure_ascii=False)


def contains_words(text: str, words: Collection[str]) -> bool:
    """Whether one of these words is in what `normalise_frames` gives. Reads the frames only where one can be: most hold none."""
    if not any(word in text for word in words) and not ESCAPED.search(text):
        return False
    seen = normalise_frames(text)
    return any(word in seen for word in words)


def is_same(text: str, word: str, other_text: str, other_word: str) -> bool:
    """Whether both answers are the same but for these words. The frames are read where their texts differ."""
    if _mask(text, word) == _mask(other_text, other_word):
        return True
    return _mask(normalise_frames(text), word) == _mask(normalise_frames(other_text), other_word)


def _mask(text: str, word: str) -> str:
    return REQUEST.sub("REQUEST", text).replace(word, "WORD")
