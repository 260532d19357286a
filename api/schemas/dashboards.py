"""What requests about saved dashboards hold."""

from api.schemas.base import Input
from services.analytics.dashboards import DashboardChanges, DashboardDraft


class DashboardCreate(DashboardDraft, Input):
    """A dashboard to save."""


class DashboardUpdate(DashboardChanges, Input):
    """Changes to a dashboard: what is left out stays."""
