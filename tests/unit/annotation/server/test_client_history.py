"""The page's undo and redo without a browser: over a reload of the page, with edits that the server refused, and while it is away."""

from __future__ import annotations

from typing import Any

import pytest

from page_modules import run_module

SETTING = """
globalThis.addEventListener = () => {};
const { Outbox } = await import(CLIENT + "outbox.js");
const { State } = await import(CLIENT + "state.js");
// a server of 9 segments that refuses the note "bad", and does not answer while it is off
const server = { batches: [], own: new Uint8Array(10), done: new Set(), on: true, handed: 0, read: async () => server.batches };
const CODE = { "": 0, mining: 1, not_mining: 2, unsure: 3 };
const NAME = ["", "mining", "not_mining", "unsure"];
function change(edits) {
  return edits.map(({ segments, label, tile, status }) => {
    if (tile) {
      const before = { tile, status: server.done.has(tile) ? "done" : "open" };
      server.done[status === "done" ? "add" : "delete"](tile);
      return before;
    }
    const before = segments.map((id) => ({ segments: [id], label: NAME[server.own[id]] }));
    segments.forEach((id) => (server.own[id] = CODE[label]));
    return before;
  }).flat();
}
const refusal = (found) => ({ status: 422, value: { error: { found, do: "" } } });
function edit(batch) {
  if (server.batches.some(({ uuid }) => uuid === batch.uuid)) throw new Error("twice");
  if (batch.edits?.some(({ form }) => form?.note === "bad")) return refusal("bad");
  const undone = server.batches.find(({ uuid }) => uuid === batch.undo);
  if (batch.undo && (!undone || server.frozen)) return refusal("no such batch");
  const edits = batch.edits ?? undone.inverse;
  server.batches.push({ uuid: batch.uuid, undo: batch.undo ?? "", inverse: change(edits) });
  return { status: 200, value: batch.undo ? { restored: edits } : {} };
}
globalThis.fetch = async (path, { body } = {}) => {
  if (!server.on) throw new TypeError("off");
  const name = path.split("?")[0].split("/").at(-1);
  const made = name === "history" ? await server.read() : [];
  const { status, value } = name === "edits" ? edit(JSON.parse(body))
    : name === "history" ? { status: 200, value: { batches: made.slice(server.handed).map(({ uuid, undo }) => ({ uuid, undo })) } }
    : name === "queue" ? { status: 200, value: { segment: [1, 2, 3], why: [], row: [], col: [] } }
    : { status: 200, value: name === "own" ? server.own.slice().buffer : new ArrayBuffer(20) };
  return { ok: status === 200, status, json: async () => value, arrayBuffer: async () => value };
};
const opened = { session: "s", segments: 9, kind: "review", year: "2016", block: "1", digest: "d", tiles: [] };
async function page(outbox = new Outbox("tab")) {
  const state = new State({ ...opened, done_tiles: [...server.done] }, outbox);
  await state.load();
  outbox.addEventListener("sent", ({ detail }) => state.acknowledged(detail.entry, detail.answer));
  outbox.addEventListener("settled", ({ detail }) => state.settled(detail.forgotten));
  return state;
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const idle = async (state) => { while (state.outbox.waiting().length) await sleep(5); await sleep(10); };
const own = (state) => Object.fromEntries([...state.own].map((code, id) => [id, code]).filter(([, code]) => code));
const depth = (state) => [state.past.length, state.future.length];
const FORM = { note: "" }, BAD = { note: "bad" };
"""


def run(script: str) -> Any:
    return run_module(SETTING, script)


def test_undo_and_redo_go_on_after_a_reload() -> None:
    result = run("""
let state = await page();
await state.label([1, 2], "mining", "bulk", FORM);
await state.label([2, 3], "unsure", "bulk", FORM);
await state.setTile("0002", true, FORM);
state.undo();
await idle(state);
state = await page();
const shown = [[depth(state), own(state), [...state.doneTiles]]];
for (const turn of ["redo", "undo", "undo", "undo", "redo"]) {
  await state[turn]();
  await idle(state);
  shown.push([depth(state), own(state), [...state.doneTiles]]);
}
console.log(JSON.stringify({ shown, kept: own({ own: server.own }) }));
""")
    both, first = {"1": 1, "2": 3, "3": 3}, {"1": 1, "2": 1}
    assert result["shown"] == [
        [[2, 1], both, []],
        [[3, 0], both, ["0002"]],
        [[2, 1], both, []],
        [[1, 2], first, []],
        [[0, 3], {}, []],
        [[1, 2], first, []],
    ]
    assert result["kept"] == first


def test_undo_reaches_back_to_the_last_hand_in() -> None:
    result = run("""
let state = await page();
await state.label([1], "mining", "single", FORM);
await state.label([2], "mining", "single", FORM);
await idle(state);
server.handed = 1;
state = await page();
const before = depth(state);
await state.undo();
await state.undo();
await idle(state);
console.log(JSON.stringify([before, depth(state), own(state), server.batches.length]));
""")
    assert result == [[1, 0], [0, 1], {"1": 1}, 3]


def test_edits_that_have_not_arrived_can_be_undone_after_a_reload() -> None:
    """The outbox is what the page kept on the disk; one of its batches arrived, and its acknowledgement did not."""
    result = run("""
let state = await page();
await state.label([1], "mining", "single", FORM);
await idle(state);
const outbox = state.outbox;
server.on = false;
await state.label([2], "mining", "single", FORM);
await state.undo();
await state.label([3], "unsure", "single", FORM);
edit({ uuid: outbox.entries[0].uuid, edits: outbox.entries[0].batch.edits });
server.on = true;
const reloaded = new Outbox("tab");
reloaded.entries = outbox.entries;
state = await page(reloaded);
console.log(JSON.stringify([depth(state), own(state), state.past.at(-1).uuid === reloaded.entries[2].uuid]));
""")
    assert result == [[2, 0], {"1": 1, "2": 1, "3": 3}, True]


def test_a_batch_that_is_acknowledged_while_the_history_is_read_is_in_it() -> None:
    result = run("""
const state = await page();
await state.label([1], "mining", "single", FORM);
await idle(state);
let reads = 0;
server.read = async () => {
  if (reads++) return server.batches;
  const made = server.batches.slice();
  await state.label([2], "unsure", "single", FORM);
  await idle(state);
  return made;
};
await state.reload();
console.log(JSON.stringify([depth(state), own(state)]));
""")
    assert result == [[2, 0], {"1": 1, "2": 3}]


@pytest.mark.parametrize("wait", ["", "await idle(state);"], ids=["at once", "after the refusal"])
def test_a_refused_edit_leaves_undo_and_redo_of_the_others(wait: str) -> None:
    """The refused edit is undone last: redo brings back the ones after it."""
    result = run(f"""
const state = await page();
await state.label([1], "mining", "single", FORM);
await state.label([2], "mining", "single", BAD);
{wait}
await state.label([3], "unsure", "single", FORM);
{wait}
await state.undo();
{wait}
await state.undo();
await idle(state);
const shown = [[depth(state), own(state), state.outbox.entries.length]];
for (const turn of ["redo", "redo", "undo", "undo", "redo"]) {{
  await state[turn]();
  await idle(state);
  shown.push([depth(state), own(state), state.outbox.entries.length]);
}}
console.log(JSON.stringify({{ shown, kept: own({{ own: server.own }}) }}));
""")
    assert result["shown"] == [
        [[1, 1], {"1": 1}, 0],
        [[2, 0], {"1": 1, "3": 3}, 0],
        [[2, 0], {"1": 1, "3": 3}, 0],
        [[1, 1], {"1": 1}, 0],
        [[0, 2], {}, 0],
        [[1, 1], {"1": 1}, 0],
    ]
    assert result["kept"] == {"1": 1}


def test_an_edit_that_is_undone_and_done_again_before_it_is_refused_is_refused_once() -> None:
    result = run("""
const state = await page();
server.on = false;
await state.label([2], "mining", "single", BAD);
await state.undo();
await state.redo();
server.on = true;
await state.outbox.flush();
await idle(state);
const refused = state.outbox.refused().map(({ batch }) => batch.edits?.[0].segments);
const before = [refused, depth(state), own(state)];
state.outbox.refused()[0].batch.edits[0].form = FORM;
await state.outbox.again();
await idle(state);
const after = [state.outbox.entries.length, depth(state), own(state)];
await state.undo();
await idle(state);
console.log(JSON.stringify([before, after, [depth(state), own({ own: server.own })]]));
""")
    assert result == [[[[2]], [1, 0], {"2": 1}], [0, [1, 0], {"2": 1}], [[0, 1], {}]]


def test_dropped_edits_cannot_be_undone() -> None:
    result = run("""
const state = await page();
await state.label([1], "mining", "single", FORM);
await state.label([2], "mining", "single", BAD);
await idle(state);
const before = depth(state);
await state.outbox.drop();
await idle(state);
console.log(JSON.stringify([before, depth(state), own(state)]));
""")
    assert result == [[2, 0], [1, 0], {"1": 1}]


def test_an_undo_that_is_refused_did_not_happen() -> None:
    result = run("""
const state = await page();
let refusals = 0;
state.outbox.addEventListener("refused", () => (refusals += 1));
await state.label([1], "mining", "single", FORM);
await idle(state);
server.frozen = true;
await state.undo();
await idle(state);
console.log(JSON.stringify([refusals, depth(state), own(state), state.outbox.entries.length]));
""")
    assert result == [1, [1, 0], {"1": 1}, 0]


def test_what_an_undo_brings_back_does_not_cover_later_edits() -> None:
    """An undo of an earlier page, whose content only the server knows, and labels given before it is acknowledged."""
    result = run("""
let state = await page();
await state.label([1, 2], "mining", "bulk", FORM);
await idle(state);
state = await page();
state.undo();
await state.label([2], "unsure", "single", FORM);
await idle(state);
const after = own(state);
await state.undo();
await idle(state);
console.log(JSON.stringify([after, own(state), own({ own: server.own })]));
""")
    assert result == [{"2": 3}, {}, {}]


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ("[a(1), a(2), u(3, 2)]", {"past": [1], "future": [3]}),
        ("[a(1), u(2, 1), a(3)]", {"past": [3], "future": []}),
        ("[u(2, 1), u(3, 2)]", {"past": [], "future": []}),
        ("[a(5), u(2, 1), a(6)]", {"past": [6], "future": []}),
        ("[a(1), u(2, 1), { ...a(3), refused: true }]", {"past": [3], "future": [2]}),
    ],
    ids=["undone", "then another", "undo of what is handed in", "between", "refused"],
)
def test_replay(batches: str, expected: dict[str, list[int]]) -> None:
    script = f"""
const a = (uuid) => ({{ uuid, undo: "" }}), u = (uuid, undo) => ({{ uuid, undo }});
const {{ replay }} = await import(CLIENT + "history.js");
console.log(JSON.stringify(replay({batches})));
"""
    assert run_module("", script) == expected
