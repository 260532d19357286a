"""Words as search knows them: what a text is cut into, for storing and for asking alike."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

import snowballstemmer

from models.search import SearchTerm

MAX_TERMS = 400  # of one document; the heaviest are kept
MAX_WEIGHT = 40  # so that repeating a word does not buy the first place
SHORTEST, LONGEST = 2, 40

TITLE_WEIGHT, EXCERPT_WEIGHT, CONTENT_WEIGHT = 8, 3, 1

_STOP_WORDS = """
    about above after again all also am an and any are as at be because been before being below between both but by can could
    did do does doing don down during each few for from further had has have having he her here hers him his how if in into is
    isn it its itself just ll me more most my no nor not now of off on once only or other our ours out over own re same she
    should so some such than that the their theirs them then there these they this those through to too under until up ve very
    was we were what when where which while who whom why will with would you your yours
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())

# Accents of Latin, Greek and Cyrillic, Hebrew points, Arabic vowel marks: people search without them.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05bd\u0640\u064b-\u065f]")
# Letters and digits, with the vowel signs that belong inside words of South and South-East Asia; `c++`, `c#` and `f#` keep their
# signs.
_WORD = re.compile(r"(?:[^\W_]|[\u0900-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece\u102b-\u103e\u3099\u309a])+(?:(?:\+\+|#)(?![^\W_]))?")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")  # Japanese and Chinese
# What Markdown holds that nobody reads: targets of links, bare addresses, tags. Each part excludes its own opening sign, so that
# no text makes them slow.
_UNREAD = re.compile(r"\]\([^()\s]*\)|https?://[^\s<>()\[\]]+|</?[A-Za-z][^<>]*>")


def words(text: str) -> list[str]:
    """The stems of the words of `text`, in their order and with repetitions; stop words and extremes of length are left out."""
    return [_stem(word) for word in _tokens(_normalized(text)) if SHORTEST <= len(word) <= LONGEST and word not in STOP_WORDS]


def terms_of(weighted: Iterable[tuple[str, int]]) -> list[SearchTerm]:
    """What a document is found by, heaviest first: every word once, its weight the sum over all its occurrences.

    Each text comes with the weight of one occurrence in it. Weights stop at `MAX_WEIGHT`, the list at `MAX_TERMS`.
    """
    weights: dict[str, int] = {}
    for text, weight in weighted:
        for word in words(text):
            weights[word] = weights.get(word, 0) + weight
    heaviest = sorted(weights.items(), key=lambda item: -min(item[1], MAX_WEIGHT))  # stable: then the first to appear
    return [SearchTerm(term=term, weight=min(weight, MAX_WEIGHT)) for term, weight in heaviest[:MAX_TERMS]]


def post_terms(*, title: str, excerpt: str, content: str) -> list[SearchTerm]:
    """What a post is found by; `content` is Markdown."""
    return terms_of(
        [(title, TITLE_WEIGHT), (excerpt, EXCERPT_WEIGHT), (_UNREAD.sub(" ", content), CONTENT_WEIGHT)],
    )


def _normalized(text: str) -> str:
    bare = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", bare.casefold())


def _tokens(text: str) -> Iterator[str]:
    """Words; scripts that put no space between them give every pair of neighbouring signs instead."""
    for word in _WORD.findall(text):
        if not _UNSPACED.search(word):
            yield word
            continue
        end = 0
        for run in _UNSPACED.finditer(word):
            yield word[end : run.start()]
            signs = run.group()
            yield from (signs[at : at + 2] for at in range(max(1, len(signs) - 1)))
            end = run.end()
        yield word[end:]


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    # A stemmer of its own each time: it keeps its word in itself, and callers may be threads.
    stem: str = snowballstemmer.stemmer("english").stemWord(word) if word.isascii() else word
    return stem
