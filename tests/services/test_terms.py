"""What texts are cut into for search."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.search import SearchTerm
from services.terms import MAX_TERMS, MAX_WEIGHT, post_terms, terms_of, words
from tests.races import patiently


class TestWords:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", []),
            ("The indexes of an index", ["index", "index"]),
            ("Running RUNS run", ["run", "run", "run"]),
            ("Café naïve Ångström", ["cafe", "naiv", "angstrom"]),
            ("snake_case and kebab-case", ["snake", "case", "kebab", "case"]),
            ("C++ or C# or F#, not C", ["c++", "c#", "f#"]),
            ("a c#sharp d++", ["sharp", "d++"]),
            ("node.js at 3.11", ["node", "js", "11"]),
            ("author's don't", ["author"]),
            ("STRASSE Straße", ["strass", "strass"]),
            ("Ｆｕｌｌ ｗｉｄｔｈ", ["full", "width"]),
            ("数据库索引", ["数据", "据库", "库索", "索引"]),
            ("索引", ["索引"]),
            ("mongodb数据库v2", ["mongodb", "数据", "据库", "v2"]),
            ("데이터베이스 색인", ["데이터베이스", "색인"]),
            ("हिन्दी", ["हिन्दी"]),
            ("café", ["cafe"]),
            ("x" * 40 + " " + "y" * 41, ["x" * 40]),
            ("to be or not to be", []),
            (".* $where {\"$gt\": ''} \\ (((", ["gt"]),
            ("\x00\ud800 🙂", []),
        ],
    )
    def test_cuts(self, text: str, expected: list[str]) -> None:
        assert words(text) == expected

    @given(st.text())
    def test_any_text_gives_words_of_bounded_length(self, text: str) -> None:
        assert all(1 <= len(word) <= 40 for word in words(text))


class TestTermsOf:
    def test_each_word_once_with_the_sum_of_its_weights_heaviest_first(self) -> None:
        assert terms_of([("zebra apple", 2), ("apples, apples and pears", 1)]) == [
            SearchTerm(term="appl", weight=4),
            SearchTerm(term="zebra", weight=2),
            SearchTerm(term="pear", weight=1),
        ]

    def test_repetition_does_not_raise_a_weight_above_the_cap(self) -> None:
        assert terms_of([("spam " * 1000, 1)]) == [SearchTerm(term="spam", weight=MAX_WEIGHT)]

    def test_a_long_text_keeps_its_heaviest_terms(self) -> None:
        text = " ".join(f"w{number}" for number in range(1000))

        terms = terms_of([(text, 1), ("w999", 5)])

        assert len(terms) == MAX_TERMS
        assert terms[0] == SearchTerm(term="w999", weight=6)
        assert terms[1:3] == [SearchTerm(term="w0", weight=1), SearchTerm(term="w1", weight=1)]

    def test_no_text_no_terms(self) -> None:
        assert terms_of([]) == []
        assert terms_of([("", 8)]) == []


class TestPostTerms:
    def test_title_counts_eight_excerpt_three_content_one(self) -> None:
        terms = post_terms(title="MongoDB", excerpt="MongoDB tips", content="tips tips mongodb speed")

        assert {term.term: term.weight for term in terms} == {"mongodb": 12, "tip": 5, "speed": 1}

    def test_addresses_and_tags_are_not_words_of_the_post(self) -> None:
        content = 'See [guide](https://example.com/secret) at https://example.org/hidden now <em class="loud">really</em> a < b'

        assert [term.term for term in post_terms(title="", excerpt="", content=content)] == ["see", "guid", "realli"]

    @pytest.mark.parametrize("evil", ["<", "](", "<a", "https://", "a+", "#", "'", "](<a"])
    def test_no_text_makes_it_slow(self, evil: str) -> None:
        started = time.thread_time()
        post_terms(title="", excerpt="", content=evil * 50_000)
        assert time.thread_time() - started < patiently(2)
