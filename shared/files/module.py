"""The manifest of files: stored files and exports."""

from shared.access.roles import ADMINS, EVERYBODY
from shared.audit.event_types import AuditAction, with_name
from shared.core.notification_kinds import NOTICE_TEMPLATE, MailChoice, NotificationKind
from shared.core.registry import Module, TableContract
from shared.files import actions, api, export_runs, models, tasks, uploads

MODULE = Module(
    name="files",
    models=[models.ExportJob, models.StoredFile],
    permissions={
        actions.READ: EVERYBODY,
        actions.WRITE: (*ADMINS, "member"),
    },
    actions=[
        actions.EXPORT_CANCEL,
        actions.EXPORT_CREATE,
        actions.EXPORT_READ,
        actions.FILE_DELETE,
        actions.FILE_LIST,
        actions.FILE_READ,
        actions.FILE_UPLOAD,
    ],
    audit={
        AuditAction.FILE_DELETED: with_name("deleted the file"),
        AuditAction.FILE_UPLOADED: with_name("uploaded the file"),
    },
    recorded={
        actions.FILE_DELETE.name: (AuditAction.FILE_DELETED,),
        actions.FILE_UPLOAD.name: (AuditAction.FILE_UPLOADED,),
    },
    endpoints=api.ENDPOINTS,
    files=[uploads.UPLOADS],
    notifications=[
        NotificationKind(
            key="exports",
            title="Exports",
            description="When an export that you asked for is ready.",
            events=(export_runs.READY_EVENT,),
            templates=(NOTICE_TEMPLATE,),
            mail_default=MailChoice.OFF,
        )
    ],
    tasks=tasks.TASKS,
    tables={
        models.ExportJob: TableContract(
            export=False, retention="7 days", personal=("filter", "owner_id", "created_by_name")
        ),
        models.StoredFile: TableContract(
            export=False,
            erase_after=("export_job",),
            retention="files",
            personal=("name", "owner_id", "created_by_name"),
        ),
    },
)
