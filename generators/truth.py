"""What a synthetic landing zone must come to, by the fact rules: written beside it as JSON."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

DUPLICATE = "DUPLICATE"


class Planted(NamedTuple):
    """One thing out of the ordinary, in the file where it lies.

    `expected_reason` is the error's or the rejected file's reason, `DUPLICATE` for a row that is
    dropped and counted, or None where nothing may go wrong (the rows are facts). `line` is the
    physical line (header = 1) on which the row begins; a fault of a whole file has neither line
    nor transaction_id.
    """

    fault: str
    file: str
    transaction_id: str | None
    line: int | None
    expected_reason: str | None
    note: str


@dataclass
class Totals:
    """Sums over all accepted transaction files, once everything has landed and is processed."""

    rows: int = 0
    facts: int = 0
    duplicates: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    fact_quantity: int = 0
    fact_amount: Decimal = Decimal("0.0000")
    transaction_files: int = 0
    product_files: int = 0
    country_files: int = 0

    def count_facts(self, rows: int, quantity: int, amount: Decimal) -> None:
        """Add rows that end in the fact table."""
        self.rows += rows
        self.facts += rows
        self.fact_quantity += quantity
        self.fact_amount += amount

    def count_other(self, expected_reason: str) -> None:
        """Add one row that is dropped as a duplicate or ends as an error."""
        self.rows += 1
        if expected_reason == DUPLICATE:
            self.duplicates += 1
        else:
            self.errors[expected_reason] += 1


@dataclass
class Truth:
    """How the landing zone was made, what was planted in it, and the final state it leads to.

    `held_back` names files that a test of late arrival delivers last; the totals hold either way.
    `deliver_after` maps a file to the one that must be there before it.
    """

    seed: int
    first_day: str
    last_day: str
    trading_days: int
    totals: Totals = field(default_factory=Totals)
    rejected: dict[str, str] = field(default_factory=dict)
    held_back: list[str] = field(default_factory=list)
    deliver_after: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[Planted]] = field(default_factory=dict)

    def plant(self, planted: Planted) -> None:
        """Note something planted, by its file."""
        self.faults.setdefault(planted.file, []).append(planted)

    def to_json(self) -> str:
        """The truth as JSON text; money as text, exact."""
        totals = vars(self.totals) | {
            "errors": dict(sorted(self.totals.errors.items())),
            "fact_amount": str(self.totals.fact_amount),
        }
        faults = {file: [entry._asdict() for entry in entries] for file, entries in sorted(self.faults.items())}
        return json.dumps(vars(self) | {"totals": totals, "faults": faults}, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """Write the truth file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json(), encoding="utf-8")
