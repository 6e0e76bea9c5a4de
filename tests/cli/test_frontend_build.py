"""The build of the frontends, where two processes want it at the same time."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

from shared.cli import frontend_build
from shared.core.config import settings

SHORT_WAIT = 0.5  # seconds in which a build that does not wait would have ended


def test_build_waits_for_another_process_and_takes_its_result(
    environment: Callable[[str, str], None], tmp_path: Path
) -> None:
    environment("BULKHEAD_DATA_DIR", str(tmp_path))
    folder = settings().frontends_dir
    folder.mkdir(parents=True)
    building = threading.Thread(target=frontend_build.build_all)
    with (folder / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building.start()
        building.join(SHORT_WAIT)
        assert building.is_alive()
        for app in frontend_build.APPS:
            (folder / app).mkdir()
            (folder / app / "bulkhead.built").write_text(frontend_build.source_fingerprint(app))
    building.join(30)
    assert not building.is_alive()
    assert not (folder.parent / "logs").exists()  # nothing was built here
