"""The manifest of the monitoring. Its pages and permissions are in the back office."""

from shared.core.registry import Module
from shared.monitoring import models

MODULE = Module(name="monitoring", models=[models.AlertState, models.AlertSubscription, models.TrafficMinute])
