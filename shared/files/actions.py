"""What members can do with files and exports. The kind of a file asks for more: see `access.file_kinds`."""

from shared.access.actions import Action
from shared.access.permissions import Permission

READ, WRITE = "file:read", "file:write"

EXPORT_CANCEL = Action("export:cancel", Permission.HOME_READ, "cancel exports", allowed_when_unpaid=True)
EXPORT_CREATE = Action("export:create", Permission.HOME_READ, "export data", feature="exports.csv")
EXPORT_READ = Action("export:read", Permission.HOME_READ, "view exports", open_to_support=True)
FILE_DELETE = Action("file:delete", WRITE, "delete files", writes=True, allowed_when_unpaid=True)
FILE_LIST = Action("file:list", READ, "view files")
FILE_UPLOAD = Action("file:upload", WRITE, "upload files", writes=True)
FILE_READ = Action("file:read", Permission.HOME_READ, "download files")
