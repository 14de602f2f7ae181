"""What was measured, as a table in Markdown, and whether sidestream kept its limits."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    name: str
    limit: str
    # What each column says.
    cells: Sequence[str]
    # Whether sidestream did it, and in time.
    is_kept: bool


def table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [["case", "limit", *columns], ["---", *["---:"] * (1 + len(columns))]]
    lines += [[row.name if row.is_kept else f"**{row.name}**", row.limit, *row.cells] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict(rows: Sequence[Row]) -> int:
    """Says which limits were not kept; the exit code."""
    missed = [row.name for row in rows if not row.is_kept]
    if missed:
        print(f"\nnot within its limit: {'; '.join(missed)}")
    return 1 if missed else 0
