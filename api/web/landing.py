"""Where people go after signing in: the page they asked for, or the first one that they may see."""

from urllib.parse import urlsplit

from api.web.admin.desk import ADMIN
from api.web.admin.register import VIEWS, open_to
from services.users.permissions import Permission, Viewer

DASHBOARD = "/dashboard"


def landing_of(viewer: Viewer) -> str | None:
    """The dashboard for those who may see reports, the admin for who has a part of it; None for those who have no page here."""
    if viewer.can(Permission.VIEW_REPORTS):
        return DASHBOARD
    return ADMIN if open_to(viewer) else None


def goal_of(viewer: Viewer, target: str) -> str | None:
    """`target`, if it is a page for them, else where they land."""
    return target if may_see(viewer, target) else landing_of(viewer)


def may_see(viewer: Viewer, target: str) -> bool:
    """Whether this page of ours is one for them."""
    path = urlsplit(target).path
    if not path.startswith(ADMIN):
        return viewer.can(Permission.VIEW_REPORTS)
    view = next((view for view in VIEWS if path == view.path or path.startswith(f"{view.path}/")), None)
    return bool(open_to(viewer)) if view is None else viewer.can(view.permission)
