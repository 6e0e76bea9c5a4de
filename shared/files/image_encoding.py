"""Encode uploaded images again, so that nothing but their pixels is kept: no metadata, no script, no second format.

It is slow and needs much memory. So it runs outside of transactions, one image at a time.
"""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from shared.access.file_kinds import FileType
from shared.core.errors import Invalid
from shared.files.incoming import IncomingFile

MAX_PIXELS = 16_000_000  # against small files that decompress to gigabytes
FORMATS = {FileType.JPEG: "JPEG", FileType.PNG: "PNG", FileType.WEBP: "WEBP"}
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {"quality": 90},
}  # of Pillow
_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="image")


async def encode_image(source: Path, target: IncomingFile, file_type: FileType) -> None:
    """Writes the first picture of `source` in the same format.

    Raises Invalid for what can't be read and for too many pixels, FileTooLarge, StorageUnavailable.
    """
    await asyncio.get_running_loop().run_in_executor(_executor, _encode_image, source, target, file_type)


def _encode_image(source: Path, target: IncomingFile, file_type: FileType) -> None:
    name = FORMATS[file_type]
    try:
        with Image.open(source, formats=(name,)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _invalid_image(f"The image has more than {MAX_PIXELS / 1e6:.0f} million pixels.")
            image.load()
            upright = ImageOps.exif_transpose(image)
            has_alpha = name != "JPEG" and upright.has_transparency_data
            picture = upright.convert("RGBA" if has_alpha else "RGB")
            picture.info.clear()  # profiles, texts and places
            encoded = io.BytesIO()
            picture.save(encoded, name, **OPTIONS[name])
        target.write(encoded.getvalue())
    except Image.DecompressionBombError:
        raise _invalid_image(f"The image has more than {MAX_PIXELS / 1e6:.0f} million pixels.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as problem:
        raise _invalid_image("This image can’t be read.") from problem


def _invalid_image(problem: str) -> Invalid:
    return Invalid(problem, "Upload another image.", fields={"file": problem})
