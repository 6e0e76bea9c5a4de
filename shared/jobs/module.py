"""The manifest of the queue. Its tables belong to the queue library; each module declares its own tasks."""

from shared.core.registry import Module

MODULE = Module(name="jobs")
