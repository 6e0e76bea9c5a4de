"""The manifest of files: stored files and exports."""

from shared.core.registry import Module, TableContract
from shared.files import actions, api, models, tasks

MODULE = Module(
    name="files",
    models=[models.ExportJob, models.StoredFile],
    actions=[actions.EXPORT_CANCEL, actions.EXPORT_CREATE, actions.EXPORT_READ, actions.FILE_READ],
    endpoints=api.ENDPOINTS,
    tasks=tasks.TASKS,
    tables={
        models.ExportJob: TableContract(
            export=False, retention="7 days", personal=("filter", "owner_id", "created_by_name")
        ),
        models.StoredFile: TableContract(
            export=False,
            erase_after=("export_job",),
            retention="7 days",
            personal=("owner_id", "created_by_name"),
        ),
    },
)
