"""Slugs: what texts become in addresses."""

import hashlib
import re

from slugify import slugify

SLUG_PATTERN = r"^[a-z0-9]+(?:-[a-z0-9]+)*$"

_PLUSES = re.compile(r"(?<=\w)\++")
_SHARP = re.compile(r"(?<=\w)#")


def slug_of(text: str, *, max_length: int) -> str:
    """Lower-case letters, digits and single hyphens; empty when the text holds nothing of the kind in any script.

    Signs that tell names apart are spelled out: `C++` is `c-plus-plus`, `C#` is `c-sharp`. A slug that would be too long ends
    in a short digest of the whole, so that texts with the same beginning keep slugs of their own.
    """
    spelled = _SHARP.sub(" sharp ", _PLUSES.sub(lambda signs: " plus" * len(signs.group()) + " ", text))
    slug = slugify(spelled)
    if len(slug) <= max_length:
        return slug
    digest = hashlib.blake2b(slug.encode(), digest_size=3).hexdigest()
    return f"{slug[: max_length - 7].rstrip('-')}-{digest}"
