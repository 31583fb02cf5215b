"""Append to a journal on a disk that is too small, then read-only, then large enough: `unshare --mount python journal_disk.py`.

Reads {"place" (a pickled BlockYear), "folder"} as JSON from stdin; prints what came of each step. The disk vanishes with the process.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

from browser_edits import Page, batch_of, labelled, new_uuid, now_ms
from faults.disks import mount
from smallmines.annotation.server.edits.journal import Journal, JournalFull
from smallmines.annotation.server.edits.session import open_session
from smallmines.core.errors import UserError


def rows(journal: Journal) -> dict[str, int]:
    """Return the number of edits of each batch that is in the journal."""
    with journal.reading() as file:
        return dict(file.execute("SELECT b.uuid, count(e.number) FROM batches b LEFT JOIN edits e ON e.batch = b.seq GROUP BY b.seq"))


def until_full(page: Page, acknowledged: list[str]) -> tuple[dict[str, Any], str]:
    """Append batches of two edits until one is refused; return it, and the error."""
    while True:
        edits = [labelled(range(1, 1000), "unsure", "bulk", note="x" * 1000), labelled([5], "unsure")]
        name = new_uuid()
        try:
            page.journal.append(page.session, batch_of(*edits, name=name), now_ms())
        except JournalFull as error:
            return {"name": name, "edits": edits}, str(error)
        acknowledged.append(name)


def main() -> None:
    """Do the steps."""
    job = json.load(sys.stdin)
    folder = Path(job["folder"])
    folder.mkdir()
    mount(folder, "size=2m")
    session = open_session(pickle.loads(bytes.fromhex(job["place"])), "A01")
    journal = Journal.open(session.block_year.user, folder)
    page, acknowledged, report = Page(journal, session), list[str](), dict[str, Any]()
    refused, report["full"] = until_full(page, acknowledged)
    report["kept when full"] = rows(journal) == dict.fromkeys(acknowledged, 2)
    try:
        page.send(labelled([7], "unsure"))
        report["small batch when full"] = "acknowledged"
        acknowledged.append(page.sent[-1])
    except JournalFull:
        report["small batch when full"] = "refused"
    mount(folder, "remount", "size=64m")
    for _ in range(2):
        page.journal.append(session, batch_of(*refused["edits"], name=refused["name"]), now_ms())
    acknowledged.append(refused["name"])
    report["repeated with room"] = set(rows(journal)) == set(acknowledged) and rows(journal)[refused["name"]] == 2
    report["labels"] = len(page.labels)
    report["acknowledged"] = len(acknowledged)
    journal.close()
    again = Journal.open(session.block_year.user, folder)
    report["after a restart"] = rows(again) == {name: 2 if name != page.sent[-1] else 1 for name in acknowledged}
    again.close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        Journal.open(session.block_year.user, folder)
    except UserError as error:
        report["read-only"] = str(error)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
