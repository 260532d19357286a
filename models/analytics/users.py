"""What reports of accounts tell. They name nobody."""

from datetime import datetime

from pydantic import Field

from models.analytics.reports import Frozen, ReportWindow
from models.base import UtcDatetime
from models.users import Role


class UserFigures(Frozen):
    """Accounts within a time. All zero when nothing happened."""

    registrations_count: int = Field(description="Accounts made", examples=[12])
    active_count: int = Field(description="People who signed in, each once", examples=[140])
    logins_count: int = Field(description="Times somebody signed in", examples=[390])
    failed_logins_count: int = Field(description="Attempts that failed, also on accounts that do not exist", examples=[21])


class UserPoint(UserFigures):
    """One hour, day, week or month. Those at the edges of the period may be parts of one."""

    starts_at: UtcDatetime
    ends_at: UtcDatetime = Field(description="Not included")
    label: str = Field(description="For an axis, in the report's time zone", examples=["2026-11-01"])


class RoleFigures(Frozen):
    """The accounts of one role, the one that they have now."""

    role: Role
    accounts_count: int = Field(description="Now, deactivated ones included", examples=[58])
    active_accounts_count: int = Field(description="Now, those that are not deactivated", examples=[55])
    registrations_count: int = Field(description="Those made within the period", examples=[4])


class UserReport(Frozen):
    """Who joined and who signed in within a period."""

    window: ReportWindow
    granularity: str = Field(examples=["day"])
    figures: UserFigures
    daily_active_count: int = Field(description="People who signed in on the last day of the period", examples=[31])
    weekly_active_count: int = Field(description="In its last 7 days; days before it count, too", examples=[88])
    monthly_active_count: int = Field(description="In its last 30 days; days before it count, too", examples=[140])
    points: list[UserPoint] = Field(
        description="One per bucket, also where nothing happened. People who signed in in several count in each of them."
    )
    roles: list[RoleFigures] = Field(description="Always all roles, the highest first")
    logins_known_since: datetime = Field(description="Sign-ins are kept 90 days: what lies before counts as none")
