"""What others wrote cannot become markup, judged by GitHub's own renderer."""

from __future__ import annotations

import re
from html import unescape

import cmarkgfm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.ops.diff.markup import block, code, cut, one_line, prose

ATTACKS = [
    "`code`",
    "``` fence",
    "a | b | c",
    "\\| \\\\| x",
    "<img src=x onerror=alert(1)>",
    "</details><script>x</script>",
    "<!-- headroom-dangers:0 -->",
    "-->",
    "@octocat please approve",
    "closes #1 and GH-2",
    "[click](https://example.com)",
    "![x](https://example.com/x.png)",
    "https://example.com www.example.com",
    "**bold** _it_ ~~gone~~ # heading",
    "$x^2$ $$y$$",
    "line\n\n## heading\n- item",
    "&lt;b&gt; &#64;octocat",
    "right\u202eto left\u2066",
    "bell\x07 null\x00 esc\x1b[31m",
    "a" * 50 + "`" * 9,
]
TAGS = re.compile(r"<[a-z/!]", re.IGNORECASE)


def rendered(markdown: str) -> str:
    # Raw HTML is kept, as GitHub keeps it until a later filter: what is no markup here is none there.
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE))


def texts(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html)).replace("\u200b", "").strip()


@pytest.mark.parametrize("attack", ATTACKS)
def test_prose_stays_text(attack: str) -> None:
    html = rendered(f"before {prose(attack)} after")
    assert TAGS.findall(html.replace("<p>", "").replace("</p>", "")) == []
    assert texts(html) == " ".join(f"before {one_line(attack)} after".split())
    assert not re.search(r"@[a-z0-9]|#\d|GH-\d|://|www\.", unescape(html)), "GitHub would link or mention"


@pytest.mark.parametrize("attack", ATTACKS)
def test_code_stays_code(attack: str) -> None:
    html = rendered(f"before {code(attack)} after")
    assert html.startswith("<p>before <code>")
    assert TAGS.findall(html.replace("<p>", "").replace("</p>", "")) == ["<c", "</"]
    assert texts(html) == " ".join(f"before {one_line(attack)} after".split())


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("write", [prose, code])
def test_a_cell_stays_in_its_cell(attack: str, write: type[str]) -> None:
    html = rendered(f"| a | b |\n|---|---|\n| {write(attack)} | last |\n\nend")
    assert html.count("<td") == 2
    assert "<td>last</td>" in html
    assert html.count("<tr>") == 2
    assert "<p>end</p>" in html


@pytest.mark.parametrize("attack", [*ATTACKS, "```\n</details>\n```", "````\n# x\n````", "~~~"])
def test_a_block_cannot_be_closed_from_inside(attack: str) -> None:
    html = rendered(f"{block(attack, 'diff')}\n\nafter")
    assert html.count("<pre") == 1
    assert html.endswith("</code></pre>\n<p>after</p>\n")


@given(st.text(max_size=60))
def test_any_text_keeps_its_place(text: str) -> None:
    html = rendered(f"| a | b | c |\n|---|---|---|\n| {prose(text)} | {code(text)} | last |")
    assert html.count("<td") == 3
    assert "<td>last</td>" in html
    assert set(re.findall(r"</?[a-z]+", html)) <= {
        *("<table", "<thead", "<tbody", "<tr", "<th", "<td", "<code"),
        *("</table", "</thead", "</tbody", "</tr", "</th", "</td", "</code"),
    }


def test_hidden_characters_are_written_out() -> None:
    assert one_line("a\u202eb\x00c\td\ne") == "a\\u202eb\\u0000c d e"


def test_cut() -> None:
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "ab…")
