"""The storage that the settings name, one for each process."""

from shared.core.config import settings
from shared.files.local_storage import LocalStorage
from shared.files.s3_signature import S3Credentials
from shared.files.s3_storage import S3Storage
from shared.files.storage import Storage

_storage: Storage | None = None


def get_storage() -> Storage:
    global _storage
    if _storage is None:
        _storage = _build_storage()
    return _storage


def register(storage: Storage | None) -> None:
    """Use this one from now on; None is the one of the settings."""
    global _storage
    _storage = storage


async def close() -> None:
    global _storage
    if _storage is not None:
        await _storage.close()
        _storage = None


def _build_storage() -> Storage:
    config = settings()
    if not config.stores_files_in_bucket:
        return LocalStorage(config.absolute_files_dir)
    assert config.files_bucket_url
    assert config.files_bucket
    assert config.files_bucket_key_id
    assert config.files_bucket_secret
    credentials = S3Credentials(
        config.files_bucket_key_id, config.files_bucket_secret.get_secret_value(), config.files_bucket_region
    )
    return S3Storage(config.files_bucket_url, config.files_bucket, credentials)
