"""Who joined and who signed in: from accounts and the records of sign-ins, which are kept for 90 days."""

from datetime import datetime, timedelta
from typing import Any

from models.analytics.users import RoleFigures, UserFigures, UserPoint, UserReport
from models.base import now as present
from models.users import LoginRecord, Role, User
from services.analytics.periods import Period, day_start
from services.analytics.reports.buckets import stretch_number, whole_minute
from services.analytics.reports.figures import window_of
from services.analytics.scopes import ReportScope
from services.heavy import heavy_work
from services.users.logins import RECORD_DAYS
from services.users.permissions import Permission, Viewer

Row = dict[str, Any]

ACTIVE_DAYS = {"daily": 1, "weekly": 7, "monthly": 30}


class UserReportService:
    @staticmethod
    async def get_users(scope: ReportScope, *, viewer: Viewer, now: datetime | None = None) -> UserReport:
        """Registrations and sign-ins of the period, over time and by role, all zero when there were none. Five commands.

        Raises PermissionDeniedError and OverloadedError.
        """
        viewer.require(Permission.VIEW_REPORTS)
        period = scope.period
        buckets = period.buckets(scope.granularity)
        starts = [bucket.start for bucket in buckets]
        async with heavy_work():
            joined = await User.aggregate_rows(joined_pipeline(period, starts))
            accounts = await User.aggregate_rows(accounts_pipeline())
            attempts = await LoginRecord.aggregate_rows(attempts_pipeline(period, starts))
            came = await LoginRecord.aggregate_rows(came_pipeline(period, starts))
            active = await LoginRecord.aggregate_rows(active_pipeline(period))
        points = [
            UserPoint(
                starts_at=bucket.start,
                ends_at=bucket.end,
                label=bucket.label,
                registrations_count=_sum(joined, at=at),
                active_count=sum(int(row["users"]) for row in came if row["_id"] == at),
                logins_count=_sum(attempts, at=at, succeeded=True),
                failed_logins_count=_sum(attempts, at=at, succeeded=False),
            )
            for at, bucket in enumerate(buckets)
        ]
        totals = active[0] if active else {}
        return UserReport(
            window=window_of(period),
            granularity=scope.granularity,
            figures=UserFigures(
                registrations_count=_sum(joined),
                active_count=int(totals.get("period", 0)),
                logins_count=_sum(attempts, succeeded=True),
                failed_logins_count=_sum(attempts, succeeded=False),
            ),
            **{f"{name}_active_count": int(totals.get(name, 0)) for name in ACTIVE_DAYS},
            points=points,
            roles=[
                RoleFigures(
                    role=role,
                    accounts_count=_sum(accounts, role=role),
                    active_accounts_count=_sum(accounts, role=role, is_active=True),
                    registrations_count=_sum(joined, role=role),
                )
                for role in Role
            ],
            logins_known_since=whole_minute(now or present()) - timedelta(days=RECORD_DAYS),
        )


def joined_pipeline(period: Period, starts: list[datetime]) -> list[Row]:
    """Rows `{"_id": {"at": 0, "role": "user"}, "count": 3}`, `at` a number of `starts`; starts in `users`."""
    return [
        {"$match": _within(period)},
        {"$group": {"_id": {"at": stretch_number("$created_at", starts), "role": "$role"}, "count": {"$sum": 1}}},
    ]


def accounts_pipeline() -> list[Row]:
    """Rows `{"_id": {"role": "user", "is_active": True}, "count": 51}`; all accounts, which no index spares."""
    return [{"$group": {"_id": {"role": "$role", "is_active": "$is_active"}, "count": {"$sum": 1}}}]


def attempts_pipeline(period: Period, starts: list[datetime]) -> list[Row]:
    """Rows `{"_id": {"at": 0, "succeeded": True}, "count": 9}`; starts in `login_records`."""
    key = {"at": stretch_number("$created_at", starts), "succeeded": "$succeeded"}
    return [{"$match": _within(period)}, {"$group": {"_id": key, "count": {"$sum": 1}}}]


def came_pipeline(period: Period, starts: list[datetime]) -> list[Row]:
    """Rows `{"_id": 0, "users": 7}`: how many people signed in in each bucket."""
    return [
        {"$match": _within(period)},
        {"$match": {"succeeded": True}},
        {"$group": {"_id": {"at": stretch_number("$created_at", starts), "user_id": "$user_id"}}},
        {"$group": {"_id": "$_id.at", "users": {"$sum": 1}}},
    ]


def active_pipeline(period: Period) -> list[Row]:
    """One row, `{"period": 9, "daily": 2, "weekly": 5, "monthly": 9}`, or none when nobody signed in."""
    starts_at, ends_at = period.bounds
    since = {name: day_start(period.end - timedelta(days=days), period.zone) for name, days in ACTIVE_DAYS.items()}
    since["period"] = starts_at
    counts = {name: {"$sum": {"$cond": [{"$gte": ["$last", moment]}, 1, 0]}} for name, moment in since.items()}
    return [
        {"$match": {"created_at": {"$gte": min(since.values()), "$lt": ends_at}}},
        {"$match": {"succeeded": True}},
        {"$group": {"_id": "$user_id", "last": {"$max": "$created_at"}}},
        {"$group": {"_id": None, **counts}},
        {"$project": {"_id": 0}},
    ]


def _within(period: Period) -> Row:
    starts_at, ends_at = period.bounds
    return {"created_at": {"$gte": starts_at, "$lt": ends_at}}


def _sum(rows: list[Row], **parts: Any) -> int:
    """The counts of the rows whose keys have these parts."""
    return sum(int(row["count"]) for row in rows if all(row["_id"][name] == value for name, value in parts.items()))
