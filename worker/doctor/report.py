"""The doctor's findings, for people and for programs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.response import Verdict

TEXT_CHARS_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    tried: str
    verdict: Verdict
    came_back: str
    took_s: float


def healthy(findings: Sequence[Finding]) -> bool:
    """Return whether nothing that the worker needs is missing."""
    return all(finding.verdict is not Verdict.MISSING for finding in findings)


def verdict(findings: Sequence[Finding]) -> str:
    """Return the last line: whether a worker can run here, and how often each verdict occurred."""
    count = Counter(finding.verdict for finding in findings)
    counts = ", ".join(f"{count[v]} {v}" for v in Verdict if count[v])
    return f"{'HEALTHY' if healthy(findings) else 'NOT HEALTHY'}  {counts}"


def as_json(findings: Sequence[Finding]) -> Mapping[str, object]:
    """Return all findings for a program."""
    return {
        "healthy": healthy(findings),
        "checks": [
            {
                "name": finding.name,
                "tried": finding.tried,
                "verdict": finding.verdict.lower().replace(" ", "_"),
                "cameBack": finding.came_back,
                "tookMs": round(finding.took_s * 1_000, 1),
            }
            for finding in findings
        ],
    }


def as_rows(findings: Sequence[Finding]) -> Sequence[tuple[str, str, str, str, str]]:
    """Return the rows of a table: check, verdict, result, milliseconds, method."""
    return [
        (f.name, f.verdict, f.came_back, f"{f.took_s * 1_000:,.0f} ms", f.tried) for f in findings
    ]


def shortened(text: str) -> str:
    """Return ``text`` on one line, cut to TEXT_CHARS_MAX."""
    line = " ".join(text.split())
    return line if len(line) <= TEXT_CHARS_MAX else f"{line[:TEXT_CHARS_MAX]}…"
