"""Print the table of `docs/reliability.md` from the record of the tests of faults: `python tests/faults/table.py [RECORD]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Sum the trials of each fault up; a trial of the same case counts once, the last."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else ".faults/record.jsonl")
    rows = {(row["fault"], row["case"]): row for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    print("| fault | tried | survived | lost |\n| --- | --- | --- | --- |")
    total = {"tried": 0, "survived": 0, "lost": 0}
    for fault in sorted({fault for fault, _ in rows}):
        sums = {key: sum(row[key] for (name, _), row in rows.items() if name == fault) for key in total}
        total = {key: total[key] + sums[key] for key in total}
        print(f"| {fault} | {sums['tried']} | {sums['survived']} | {sums['lost']} |")
    print(f"| all | {total['tried']} | {total['survived']} | {total['lost']} |")


if __name__ == "__main__":
    main()
