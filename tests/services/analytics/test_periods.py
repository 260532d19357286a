"""Periods and their buckets, with the nights on which clocks change, by hand."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.periods import Granularity, InvalidPeriodError, Period

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
)


def period(start: str, end: str, zone: str) -> Period:
    return Period(date.fromisoformat(start), date.fromisoformat(end), ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def told(of: Period, granularity: Granularity) -> list[tuple[str, str, float]]:
    """Label, beginning and hours of each bucket."""
    return [
        (bucket.label, f"{bucket.start:%dT%H:%M}", (bucket.end - bucket.start) / timedelta(hours=1))
        for bucket in of.buckets(granularity)
    ]


class TestBounds:
    def test_days_are_those_of_the_zone(self) -> None:
        assert period("2026-11-01", "2026-11-02", "Asia/Kathmandu").bounds == (utc("2026-10-31T18:15"), utc("2026-11-01T18:15"))

    def test_a_day_without_a_midnight_begins_with_its_first_instant(self) -> None:
        """In Sao Paulo, clocks went from 23:59 to 01:00 into the 4th of November 2018."""
        assert period("2018-11-04", "2018-11-05", "America/Sao_Paulo").bounds == (
            utc("2018-11-04T03:00"),
            utc("2018-11-05T02:00"),
        )

    def test_a_day_with_two_midnights_begins_with_the_first(self) -> None:
        """In Havana, clocks go from 00:59 back to 00:00 on the 1st of November 2026."""
        assert period("2026-11-01", "2026-11-02", "America/Havana").bounds == (utc("2026-11-01T04:00"), utc("2026-11-02T05:00"))


class TestPrevious:
    def test_is_as_many_days_just_before(self) -> None:
        before = period("2026-10-20", "2026-11-01", "Europe/Berlin").previous()

        assert (before.start, before.end, before.zone.key) == (date(2026, 10, 8), date(2026, 10, 20), "Europe/Berlin")


class TestBuckets:
    def test_the_night_of_winter_time_has_its_hour_twice(self) -> None:
        hours = told(period("2026-10-25", "2026-10-26", "Europe/Berlin"), Granularity.HOUR)

        assert len(hours) == 25
        assert hours[1:5] == [
            ("2026-10-25T01:00+02:00", "24T23:00", 1.0),
            ("2026-10-25T02:00+02:00", "25T00:00", 1.0),
            ("2026-10-25T02:00+01:00", "25T01:00", 1.0),
            ("2026-10-25T03:00+01:00", "25T02:00", 1.0),
        ]

    def test_the_night_of_summer_time_lacks_an_hour(self) -> None:
        hours = told(period("2026-03-29", "2026-03-30", "Europe/Berlin"), Granularity.HOUR)

        assert len(hours) == 23
        assert [label for label, _, _ in hours[1:3]] == ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]

    def test_clocks_that_move_by_half_an_hour(self) -> None:
        """Lord Howe: 02:00 becomes 01:30 on the 5th of April 2026, and 02:30 on the 4th of October."""
        back = told(period("2026-04-05", "2026-04-06", "Australia/Lord_Howe"), Granularity.HOUR)
        forth = told(period("2026-10-04", "2026-10-05", "Australia/Lord_Howe"), Granularity.HOUR)

        assert back[1:3] == [("2026-04-05T01:00+11:00", "04T14:00", 1.5), ("2026-04-05T02:00+10:30", "04T15:30", 1.0)]
        assert forth[1:4] == [
            ("2026-10-04T01:00+10:30", "03T14:30", 1.0),
            ("2026-10-04T02:30+11:00", "03T15:30", 0.5),
            ("2026-10-04T03:00+11:00", "03T16:00", 1.0),
        ]

    def test_days_over_both_changes(self) -> None:
        assert told(period("2026-10-24", "2026-10-27", "Europe/Berlin"), Granularity.DAY) == [
            ("2026-10-24", "23T22:00", 24.0),
            ("2026-10-25", "24T22:00", 25.0),
            ("2026-10-26", "25T23:00", 24.0),
        ]
        assert [hours for _, _, hours in told(period("2026-03-28", "2026-03-31", "Europe/Berlin"), Granularity.DAY)] == [
            24,
            23,
            24,
        ]

    def test_a_day_that_never_was_is_empty(self) -> None:
        """Samoa skipped the 30th of December 2011."""
        assert told(period("2011-12-29", "2012-01-01", "Pacific/Apia"), Granularity.DAY) == [
            ("2011-12-29", "29T10:00", 24.0),
            ("2011-12-30", "30T10:00", 0.0),
            ("2011-12-31", "30T10:00", 24.0),
        ]

    def test_weeks_begin_on_monday_and_the_outer_ones_are_cut(self) -> None:
        """The 1st of January 2027 is a Friday, of the last week of 2026."""
        assert told(period("2027-01-01", "2027-01-13", "UTC"), Granularity.WEEK) == [
            ("2026-W53", "01T00:00", 72.0),
            ("2027-W01", "04T00:00", 168.0),
            ("2027-W02", "11T00:00", 48.0),
        ]

    def test_months_have_their_days(self) -> None:
        assert told(period("2028-01-31", "2028-03-02", "UTC"), Granularity.MONTH) == [
            ("2028-01", "31T00:00", 24.0),
            ("2028-02", "01T00:00", 29 * 24.0),
            ("2028-03", "01T00:00", 24.0),
        ]

    @given(
        start=st.dates(date(1981, 1, 1), date(2040, 1, 1)),
        days=st.integers(1, 14),
        zone=st.sampled_from(ZONES),
        granularity=st.sampled_from(Granularity),
    )
    def test_there_is_no_gap_and_no_overlap(self, start: date, days: int, zone: str, granularity: Granularity) -> None:
        of = Period(start, start + timedelta(days=days), ZoneInfo(zone))
        buckets = of.buckets(granularity)

        assert (buckets[0].start, buckets[-1].end) == of.bounds
        assert all(one.end == next.start for one, next in pairwise(buckets))
        assert all(bucket.start <= bucket.end and bucket.start.minute % 15 == 0 for bucket in buckets)
        assert len({bucket.label for bucket in buckets}) == len(buckets)


class TestErrors:
    @pytest.mark.parametrize(
        ("start", "end"), [("2026-01-02", "2026-01-02"), ("2026-01-02", "2026-01-01"), ("1979-12-31", "1980-01-02")]
    )
    def test_a_period_ends_after_it_begins_and_lies_after_1980(self, start: str, end: str) -> None:
        with pytest.raises(InvalidPeriodError):
            period(start, end, "UTC")

    def test_the_last_day_there_is_is_too_late(self) -> None:
        with pytest.raises(InvalidPeriodError):
            period("9998-01-01", "9999-12-31", "UTC")

    def test_five_years_are_the_most(self) -> None:
        period("2024-02-29", "2029-03-01", "UTC").check(Granularity.MONTH)
        with pytest.raises(InvalidPeriodError):
            period("2024-02-29", "2029-03-02", "UTC").check(Granularity.MONTH)

    def test_hours_are_told_of_fourteen_days_at_most(self) -> None:
        assert len(period("2026-06-01", "2026-06-15", "UTC").buckets(Granularity.HOUR)) == 14 * 24
        with pytest.raises(InvalidPeriodError):
            period("2026-06-01", "2026-06-16", "UTC").buckets(Granularity.HOUR)

    def test_what_would_lie_before_1980_is_no_previous_period(self) -> None:
        with pytest.raises(InvalidPeriodError):
            period("1980-01-10", "1980-02-10", "UTC").previous()
