import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.slugs import SLUG_PATTERN, slug_of


class TestSlugOf:
    @pytest.mark.parametrize(
        ("text", "slug"),
        [
            ("Indexes that serve", "indexes-that-serve"),
            ("C++ and C#", "c-plus-plus-and-c-sharp"),
            ("Top #1", "top-1"),
            ("  --Already--there-- ", "already-there"),
            ("Москва", "moskva"),
            ("...", ""),
            ("", ""),
        ],
    )
    def test_known_texts(self, text: str, slug: str) -> None:
        assert slug_of(text, max_length=200) == slug

    def test_too_long_ones_of_one_beginning_stay_apart(self) -> None:
        slugs = {slug_of("a" * 40 + ending, max_length=30) for ending in ("x", "y", "z")}
        assert len(slugs) == 3
        assert {len(slug) for slug in slugs} == {30}

    @given(st.text(max_size=60), st.integers(10, 60))
    def test_any_text_gives_a_valid_slug_or_none(self, text: str, max_length: int) -> None:
        slug = slug_of(text, max_length=max_length)
        assert slug == "" or (re.fullmatch(SLUG_PATTERN, slug) and len(slug) <= max_length)
