"""The page's outbox without a browser: edits that the server refused never take the place of later ones."""

from __future__ import annotations

from typing import Any

from page_modules import run_module

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
    return run_module(SETTING, script)


def test_a_refused_edit_that_is_sent_again_leaves_later_edits_alone() -> None:
    """Segments 1 to 4 were refused; 2 was labelled again in the meantime, 3 afterwards; 9 is of another block."""
    result = run("""
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
    assert result["state"] == [[2, "unsure"], [1, "unsure"], [3, "not_mining"], [1, "mining"], [4, "mining"]]
    assert (result["refused"], result["left"], result["settled"]) == (1, 0, 1)


def test_a_refused_edit_of_which_nothing_is_left_is_forgotten() -> None:
    result = run("""
await outbox.add("s", "a", label([1], "mining", "bad"));
await idle();
const before = outbox.refused().length;
await outbox.add("s", "b", label([1, 2], "unsure"));
await idle();
console.log(JSON.stringify([before, outbox.refused().length, state()]));
""")
    assert result == [1, 0, [[1, "unsure"], [2, "unsure"]]]


def test_undo_of_a_refused_edit_forgets_it_before_and_after_it_was_refused() -> None:
    result = run("""
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
    assert result == {"got": ["e"], "left": 0, "settled": 2}


def test_edits_of_the_open_block_go_first_and_only_these_are_waited_for() -> None:
    """The other block is one that another tab writes; an entry of an earlier version may be of any block, and keeps its place."""
    result = run("""
const answer = globalThis.fetch;
globalThis.fetch = async (path, options) =>
  path.includes("/other/") ? { ok: false, status: 503, json: async () => ({}) } : answer(path, options);
on = false;
await outbox.add("old", "a", label([1], "mining"));
await outbox.add("other", "b", label([2], "mining"), "2016/2/review");
await outbox.add("tiles", "c", label([3], "mining"), "2016/1/review");
await outbox.add("s", "d", label([4], "mining"), "2016/1/review");
on = true;
const unsent = await outbox.drained("2016/1/review", 0.01);
await outbox.resume("s", "2016/1/review");
const sent = await outbox.drained("2016/1/review", 1);
const all = await outbox.drained("", 0.05);
console.log(JSON.stringify({ unsent, sent, all, got: got.map(({ uuid }) => uuid), left: outbox.waiting().map(({ uuid }) => uuid) }));
""")
    assert result == {"unsent": False, "sent": True, "all": False, "got": ["a", "c", "d"], "left": ["b"]}
