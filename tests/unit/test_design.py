"""Citations of worker/DESIGN.md name sections that exist."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DESIGN = (REPOSITORY / "worker" / "DESIGN.md").read_text(encoding="utf-8")
SECTIONS = frozenset(re.findall(r"^#{2,3} (.+)$", DESIGN, re.MULTILINE))
CITATION = re.compile(r'DESIGN\.md,\s+"([^"\n]+)"')


def test_cited_sections_exist() -> None:
    cited = {
        (path.name, section)
        for folder in ("worker", "producers", "tests", "deploy")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".sql", ".md", ".yaml", ".toml"} and path != Path(__file__)
        for section in CITATION.findall(path.read_text(encoding="utf-8"))
    }

    assert cited
    assert {citation for citation in cited if citation[1] not in SECTIONS} == set()


def test_links_lead_to_sections() -> None:
    anchors = {section.lower().replace(" ", "-") for section in SECTIONS}

    assert set(re.findall(r"\]\(#([^)]+)\)", DESIGN)) <= anchors
