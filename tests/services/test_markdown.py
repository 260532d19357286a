import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.markdown import render_comment, render_post
from tests.races import patiently

EVIL = [
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script>alert(1)",
    "<img src=x onerror=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "<svg/onload=alert(1)>",
    "<iframe src=//evil.example>",
    "<style>*{display:none}</style>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](javascript&#58;alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox(1))",
    "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](javascript:alert(1))",
    "<javascript:alert(1)>",
    '[x](http://a.example "onmouseover=alert(1)")',
    '```"><script>alert(1)</script>\ncode\n```',
    "[x][y]\n\n[y]: javascript:alert(1)",
]


class TestRenderPost:
    def test_markdown_becomes_html(self) -> None:
        assert render_post("# Title\n\nSome **bold**, *slanted* and ~~gone~~ `code`.") == (
            "<h1>Title</h1>\n<p>Some <strong>bold</strong>, <em>slanted</em> and <s>gone</s> <code>code</code>.</p>\n"
        )

    def test_table_and_fenced_code_are_kept(self) -> None:
        assert "<th>a</th>" in render_post("|a|b|\n|-|-|\n|1|2|")
        assert render_post("```python\nx = 1\n```") == '<pre><code class="language-python">x = 1\n</code></pre>\n'

    def test_link_and_image_are_kept_and_link_passes_no_reputation(self) -> None:
        assert render_post("[a](https://a.example) ![b](https://b.example/c.png)") == (
            '<p><a href="https://a.example" rel="nofollow ugc noopener">a</a> <img src="https://b.example/c.png" alt="b"></p>\n'
        )

    def test_bare_address_does_not_become_a_link(self) -> None:
        assert render_post("https://a.example") == "<p>https://a.example</p>\n"


class TestRenderComment:
    def test_heading_image_rule_and_table_stay_text(self) -> None:
        assert render_comment("# Title") == "<p># Title</p>\n"
        assert "<img" not in render_comment("![b](https://b.example/c.png)")
        assert render_comment("a\n\n---") == "<p>a</p>\n<p>---</p>\n"
        assert "<table" not in render_comment("|a|b|\n|-|-|\n|1|2|")

    def test_emphasis_link_list_and_quote_are_kept(self) -> None:
        assert render_comment("**a** [b](mailto:c@d.example)\n\n- e\n\n> f") == (
            '<p><strong>a</strong> <a href="mailto:c@d.example" rel="nofollow ugc noopener">b</a></p>\n'
            "<ul>\n<li>e</li>\n</ul>\n<blockquote>\n<p>f</p>\n</blockquote>\n"
        )


class TestSafety:
    @pytest.mark.parametrize("text", EVIL)
    def test_blg_m6_nothing_that_runs_gets_through(self, text: str) -> None:
        """BLG-M6: the source's pattern removed closed script tags and nothing else."""
        for html in (render_post(text), render_comment(text)):
            _assert_harmless(html)

    @given(st.lists(st.sampled_from([*EVIL, "<", ">", '"', "'", "`", "[", "](", ")", "\n", "on", "=", "a"]), max_size=6))
    def test_blg_m6_no_mixture_gets_through(self, parts: list[str]) -> None:
        text = "".join(parts)
        for html in (render_post(text), render_comment(text)):
            _assert_harmless(html)

    def test_deep_nesting_and_long_runs_end_soon(self) -> None:
        started = time.thread_time()
        for text in (">" * 5_000, "[" * 5_000, "*a " * 5_000, "`" * 5_000, "- " * 3_000, "![" * 3_000):
            render_post(text)
            render_comment(text)
        assert time.thread_time() - started < patiently(10)

    async def test_rendering_in_threads_gives_the_same(self) -> None:
        rendered = await asyncio.gather(*(asyncio.to_thread(render_post, f"# {n}") for n in range(20)))
        assert rendered == [f"<h1>{n}</h1>\n" for n in range(20)]


def _assert_harmless(html: str) -> None:
    """Independent of the sanitiser: every tag that is left is a known one with known attributes and schemes."""
    at = 0
    while (start := html.find("<", at)) >= 0:
        end = html.index(">", start)
        tag = html[start + 1 : end].strip("/")
        name, _, attributes = tag.partition(" ")
        assert name in {
            *("p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a", "img", "hr"),
            *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
        }
        outside_quotes = "".join(attributes.split('"')[::2])
        assert set(outside_quotes.replace("=", " ").split()) <= {"href", "src", "alt", "title", "rel", "class", "start"}
        for attribute in ("href", "src"):
            if f'{attribute}="' in attributes:
                value = attributes.split(f'{attribute}="')[1].split('"')[0].lower()
                scheme, colon, _ = value.partition(":")
                # A scheme holds none of these: what looks like one is a relative address.
                assert not colon or scheme in {"http", "https", "mailto"} or set(scheme) & set("/%?#")
        at = end
