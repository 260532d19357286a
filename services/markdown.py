"""Markdown to HTML that is safe to show: rendered without raw HTML, then cut to an allow-list. All user HTML comes from here."""

import nh3
from markdown_it import MarkdownIt

_POST_MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
# Headings and images stay the text they were written as.
_COMMENT_MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "linkify": False})
    .enable("strikethrough")
    .disable(["heading", "lheading", "hr", "image", "html_block", "html_inline"])
)

_SCHEMES = {"http", "https", "mailto"}
_TEXT_TAGS = {"p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"}
_TEXT_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}

_COMMENT = nh3.Cleaner(
    tags=_TEXT_TAGS,
    attributes=_TEXT_ATTRIBUTES,
    url_schemes=_SCHEMES,
    link_rel="nofollow ugc noopener",
)
_POST = nh3.Cleaner(
    tags=_TEXT_TAGS | {"h1", "h2", "h3", "h4", "h5", "h6", "hr", "img", "table", "thead", "tbody", "tr", "th", "td"},
    attributes={**_TEXT_ATTRIBUTES, "img": {"src", "alt", "title"}, "code": {"class"}},
    # The language of a fenced block, for highlighters; no other class gets through.
    attribute_filter=lambda tag, name, value: (
        value if (tag, name) != ("code", "class") or (value.startswith("language-") and " " not in value) else None
    ),
    url_schemes=_SCHEMES,
    link_rel="nofollow ugc noopener",
)


def render_post(markdown: str) -> str:
    """HTML of an article: text, headings, lists, tables, code, links and images over http, https or mailto, and nothing else."""
    return _POST.clean(_POST_MARKDOWN.render(markdown))


def render_comment(markdown: str) -> str:
    """HTML of a remark: as an article, but headings, tables, rules and images stay the text they were written as."""
    return _COMMENT.clean(_COMMENT_MARKDOWN.render(markdown))
