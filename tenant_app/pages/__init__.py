"""The pages of the app. Importing a page registers its route and its handlers."""

import importlib
import pkgutil


def import_pages() -> None:
    """Every page of this package, so that a new page needs no entry in a list."""
    for page in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{page.name}")
