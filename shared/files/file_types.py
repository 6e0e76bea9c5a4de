"""What a file is, by its bytes alone: neither its name nor what the client says counts."""

import codecs
from pathlib import Path

from shared.access.file_kinds import FileType

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": FileType.PNG,
    b"\xff\xd8\xff": FileType.JPEG,
    b"%PDF-": FileType.PDF,
    b"PK\x03\x04": FileType.ZIP,  # also documents of office programs
}
IMAGE_TYPES = (FileType.JPEG, FileType.PNG, FileType.WEBP)
HEAD_SIZE, CHUNK_SIZE = 64, 1_000_000  # bytes
# Control characters that texts have: tab, line feed, form feed, carriage return.
TEXT_CONTROLS = b"\t\n\x0c\r"
BINARY_BYTES = bytes(code for code in (*range(32), 127) if code not in TEXT_CONTROLS)


def detect_type(path: Path) -> FileType | None:
    """None for everything that isn't known. Blocks: text is read to its end."""
    with path.open("rb") as file:
        head = file.read(HEAD_SIZE)
    for signature, file_type in SIGNATURES.items():
        if head.startswith(signature):
            return file_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileType.WEBP
    return FileType.TEXT if _is_plain_text(path) else None


def _is_plain_text(path: Path) -> bool:
    """UTF-8 without control characters. Markup is none: browsers run scripts of SVG and HTML."""
    decoder, is_start, is_empty = codecs.getincrementaldecoder("utf-8")(), True, True
    with path.open("rb") as file:
        try:
            while chunk := file.read(CHUNK_SIZE):
                is_empty = False
                if len(chunk.translate(None, BINARY_BYTES)) != len(chunk):
                    return False
                text = decoder.decode(chunk)
                if is_start and (visible := text.lstrip("\ufeff \t\r\n\x0c")):
                    if visible.startswith("<"):
                        return False
                    is_start = False
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return not is_empty
