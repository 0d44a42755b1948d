"""The documentation site: every page is in its menu, links lead somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SITE))
    return import_module("layout")


@pytest.fixture
def build(layout: ModuleType) -> ModuleType:
    return import_module("build")


def menu() -> list[str]:
    """Return the pages of the menu, in order."""
    found: list[str] = []

    def walk(item: object) -> None:
        if isinstance(item, dict):
            for value in item.values():
                walk(value)
        elif isinstance(item, list):
            for each in item:
                walk(each)
        else:
            found.append(str(item))

    walk(yaml.safe_load((SITE / "mkdocs.yml").read_text("utf-8"))["nav"])
    return found


def anchors(text: str) -> set[str]:
    """Return what a site calls the headings of a page."""
    tokens = MarkdownIt().parse(text)
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_menu_and_every_link_leads_somewhere(
    layout: ModuleType, build: ModuleType, tmp_path: Path
) -> None:
    layout.lay_out(tmp_path, also=build.ALSO)
    pages = menu()
    assert len(pages) == len(set(pages))
    made = {page for page in pages if not page.startswith("reference/")}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} | {"index.md", "CHANGELOG.md"} <= made
    for page in made:
        assert (tmp_path / page).is_file(), page
    for path in tmp_path.rglob("*.md"):
        for line, is_text in layout._lines(path.read_text("utf-8")):
            for link in layout.LINK.findall(line) if is_text else ():
                target, _, part = link.partition("#")
                assert (path.parent / target).is_file(), f"{path.name}: {link}"
                assert not part or part in anchors((path.parent / target).read_text("utf-8")), f"{path.name}: {link}"


def test_a_broken_link_is_named(layout: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n", "utf-8")
    (tmp_path / "README.md").write_text("# A\n\n```text\n[code](is/not/read)\n```\n\nSee [b](docs/b.md#c).\n", "utf-8")
    with pytest.raises(layout.BrokenLinkError, match=r"README.md links to docs/b.md"):
        layout.lay_out(tmp_path / "pages", tmp_path)
    (tmp_path / "docs" / "b.md").write_text("# B\n\n[up](../../passwd)\n", "utf-8")
    with pytest.raises(layout.BrokenLinkError, match=r"docs/b.md links to ../../passwd"):
        layout.lay_out(tmp_path / "pages", tmp_path)
    (tmp_path / "docs" / "b.md").write_text("# B\n\n[up](../README.md)\n", "utf-8")
    layout.lay_out(tmp_path / "pages", tmp_path)
    assert "[b](b.md#c)" in (tmp_path / "pages" / "index.md").read_text("utf-8")
    assert "[up](index.md)" in (tmp_path / "pages" / "b.md").read_text("utf-8")


def test_what_a_browser_would_load_from_elsewhere_is_named(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<script src="https://x.example/a.js"></script><img src="//x.example/b.png"><a href="https://ok.example">ok</a>'
        '<p style="background: url(http://x.example/c.png)"><a href="b.html">b</a><a href="#here">h</a><h1 id="there">',
        "utf-8",
    )
    (tmp_path / "a.css").write_text("@import 'https://x.example/d.css';", "utf-8")
    said = list(build.problems(tmp_path))
    assert [line.split()[0] for line in said] == ["a.html"] * 5 + ["a.css"]
    for address in ("a.js", "b.png", "c.png", "b.html, which is not there", "#here, where nothing", "d.css"):
        assert any(address in line for line in said), address


def test_the_theme_names_nothing_outside() -> None:
    for path in (SITE / "theme").iterdir():
        assert not re.search(r"(?:https?:)?//\w+\.", path.read_text("utf-8")), path.name


def test_a_long_formula_within_a_line_scrolls_and_is_reached_by_the_keyboard(layout: ModuleType) -> None:
    hooks = import_module("hooks")
    long, short, block = (
        f'<math display="{kind}"><mi>{"x" * n}</mi></math>'
        for kind, n in (("inline", 60), ("inline", 3), ("block", 60))
    )
    made = hooks.reachable(f"<p>{short} and {long} and {short}</p>{block}")
    assert made.count(short) == 2
    assert long.replace("<math ", '<math class="scroll" tabindex="0" ') in made
    assert made.count("tabindex") == 2
    assert f'aria-label="formula 1">{block}</div>' in made


def test_docstrings_become_markdown(layout: ModuleType) -> None:
    import audit

    reference = import_module("reference")
    text = reference.described(audit.run)
    assert "**Parameters**\n\n* `mechanism`: What to audit." in text
    assert "`mechanisms.Dataset`" in text
    assert ":class:" not in text
    assert "``" not in text
    called = reference.signature("run", audit.run)
    assert called.startswith("run(\n    mechanism: ")
    assert "\n    *,\n" in called


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs mkdocs: pip install '.[docs]' (make docs builds it too)")
def test_the_site_builds_without_a_complaint(build: ModuleType, tmp_path: Path) -> None:
    assert build.build(tmp_path / "out") == []
    assert len(list((tmp_path / "out" / "site").rglob("*.html"))) >= len(menu())


def test_wide_code_says_how_wide_it_is_and_paper_makes_it_fit(layout: ModuleType) -> None:
    hooks = import_module("hooks")
    narrow, wide = "x" * 100, "a &lt; " + "<span>b</span>" * 97
    made = hooks.reachable(f"<pre><code>{narrow}\n</code></pre><pre><code>{narrow}\n{wide}\n</code></pre>")
    assert made.startswith('<pre tabindex="0"><code>x')
    assert '<pre tabindex="0" style="--columns: 101"><code>x' in made
    assert made.count("</pre>") == 2
    assert "var(--columns" in (SITE / "theme" / "site.css").read_text("utf-8").split("@media print")[1]
