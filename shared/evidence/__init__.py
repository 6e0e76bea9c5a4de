"""Evidence of what happened: signed exports, anchors of the chains outside the database, and streams of the audit log.

The audit log is written and sealed by `shared.audit`. What is here lets others verify it without our database.
"""
