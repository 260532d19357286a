"""Pages and cursors: their limits, their arithmetic, and that nobody can forge or carry over a cursor."""

import base64
from datetime import UTC, datetime

import pytest
from beanie import PydanticObjectId
from hypothesis import given
from hypothesis import strategies as st

from services.pagination import CursorCodec, InvalidCursorError, InvalidPageError, PageRequest, page_of

CODEC = CursorCodec(b"secret-1")
MOMENT = datetime(2026, 11, 21, 3, 4, 5, 678000, tzinfo=UTC)
IDENTITY = PydanticObjectId("656565656565656565656565")


class TestPageRequest:
    def test_first_and_later_pages_skip(self) -> None:
        assert PageRequest().skip == 0
        assert PageRequest(page=3, limit=20).skip == 40

    @pytest.mark.parametrize(("page", "limit"), [(0, 20), (-1, 20), (1, 0), (1, 101), (10_001, 1), (1, -5)])
    def test_impossible_page_is_refused(self, page: int, limit: int) -> None:
        with pytest.raises(InvalidPageError) as refused:
            PageRequest(page=page, limit=limit)
        assert (refused.value.page, refused.value.limit) == (page, limit)


class TestPageOf:
    @pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2), (40, 2), (41, 3)])
    def test_pages_are_rounded_up(self, total: int, pages: int) -> None:
        page = page_of(["x"], PageRequest(page=1, limit=20), total)
        assert (page.total_count, page.total_pages, page.items) == (total, pages, ["x"])


class TestCursorCodec:
    def test_position_comes_back_as_it_was(self) -> None:
        cursor = CODEC.encode("feed", MOMENT, IDENTITY, 7, "text")

        assert CODEC.decode("feed", cursor) == [MOMENT, IDENTITY, 7, "text"]

    def test_cursor_is_plain_url_text(self) -> None:
        assert set(CODEC.encode("feed", MOMENT, IDENTITY)) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
        )

    def test_cursor_of_another_list_is_refused(self) -> None:
        with pytest.raises(InvalidCursorError):
            CODEC.decode("comments", CODEC.encode("feed", MOMENT))

    def test_cursor_of_another_secret_is_refused(self) -> None:
        with pytest.raises(InvalidCursorError):
            CODEC.decode("feed", CursorCodec(b"secret-2").encode("feed", MOMENT))

    def test_changed_position_is_refused(self) -> None:
        cursor = CODEC.encode("feed", 1)
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        forged = base64.urlsafe_b64encode(raw.replace(b'{"v":1}', b'{"v":2}')).decode().rstrip("=")

        assert forged != cursor
        with pytest.raises(InvalidCursorError):
            CODEC.decode("feed", forged)

    @pytest.mark.parametrize("cursor", ["", "x", "%%%", "ключ", "A" * 21, "A" * 10_000, '{"$gt":""}', "\ud800", "\0"])
    def test_nonsense_is_refused(self, cursor: str) -> None:
        with pytest.raises(InvalidCursorError):
            CODEC.decode("feed", cursor)

    @given(st.text(max_size=200))
    def test_no_text_but_ours_is_taken(self, cursor: str) -> None:
        with pytest.raises(InvalidCursorError):
            CODEC.decode("feed", cursor)
