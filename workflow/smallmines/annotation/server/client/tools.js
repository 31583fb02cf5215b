// Tools: what a click, a stroke or a lasso on a map does. All end in `State.label`.

import { api } from "./api.js";
import { announce } from "./dom.js";
import { inside, Stroke } from "./geometry.js";
import { CODES } from "./state.js";
import { fill, T } from "./texts.en.js";

/** @typedef {"look" | "click" | "brush" | "lasso" | "grow"} Tool */

/** @type {Tool[]} */
export const TOOLS = ["look", "click", "brush", "lasso", "grow"];

/** Segments of a batch; the server takes 4 MB. */
const MOST = 100000;

export const RADIUS = { least: 0, most: 60 };

export class Tools extends EventTarget {
  /**
   * @param {import("./state.js").State} state
   * @param {import("./tiles.js").Tiles} tiles
   * @param {import("./maps.js").Maps} maps
   * @param {import("./form.js").Form} form
   */
  constructor(state, tiles, maps, form) {
    super();
    this.state = state;
    this.tiles = tiles;
    this.maps = maps;
    this.form = form;
    /** @type {Tool} */
    this.tool = "look";
    /** @type {import("./state.js").Label} */
    this.label = "mining";
    this.radius = 3;
    this.similarity = 0.8;
    this.held = false;
    /** @type {Stroke | undefined} */
    this.stroke = undefined;
    /** @type {Set<unknown>} */
    this.equipped = new Set();
    maps.addEventListener("arranged", () => this.#equip());
    this.#equip();
  }

  #equip() {
    for (const { map } of this.maps.panes) {
      if (this.equipped.has(map)) continue;
      this.equipped.add(map);
      map.addInteraction(new Drawing(this));
      map.on("click", (event) => void this.click(event.coordinate[0], -event.coordinate[1]));
    }
  }

  /** @param {Tool} tool */
  use(tool) {
    this.tool = tool;
    this.#show();
  }

  /** @param {import("./state.js").Label} label */
  choose(label) {
    this.label = label;
    this.#show();
  }

  /** @param {number} radius */
  widen(radius) {
    this.radius = Math.min(RADIUS.most, Math.max(RADIUS.least, radius));
    this.#show();
  }

  #show() {
    this.maps.radius = this.radius;
    this.maps.round = this.tool === "brush";
    this.maps.root.dataset.tool = this.tool;
    this.maps.drawCursors();
    this.dispatchEvent(new Event("changed"));
  }

  /** Whether a drag draws, and does not move the map. */
  get draws() {
    return !this.held && !this.state.isPoints && (this.tool === "brush" || this.tool === "lasso");
  }

  /**
   * Label segments, or say at the form what is missing.
   * @param {number[]} ids
   * @param {string} look
   * @param {import("./state.js").Label} [label]
   * @param {Uint8Array} [before]
   */
  async apply(ids, look, label = this.label, before) {
    if (!ids.length || !this.ready(ids, label)) return;
    const form = this.form.take();
    const parts = [];
    for (let from = 0; from < ids.length; from += MOST) {
      const part = before?.slice(from, from + MOST);
      parts.push(this.state.label(ids.slice(from, from + MOST), label, look, form, part));
    }
    await Promise.all(parts);
  }

  /**
   * Whether the form has what a label needs; says so where not.
   * @param {number[]} ids
   * @param {import("./state.js").Label} label
   */
  ready(ids, label) {
    const corrections = this.state.corrections(ids, label);
    if (!corrections || this.form.hasEvidence()) return true;
    const message = this.state.isReview ? fill(T.evidence_missing, { n: corrections }) : T.evidence_missing_point;
    this.form.ask(message);
    announce(message, "fault");
    return false;
  }

  /**
   * @param {number} col
   * @param {number} row
   */
  async click(col, row) {
    if (this.state.isPoints || this.draws) return;
    const { tool, label } = this;
    await this.tiles.cover(Math.floor(row), Math.floor(col), Math.floor(row), Math.floor(col));
    const id = this.tiles.at(Math.floor(row), Math.floor(col));
    if (id <= 0) return;
    this.state.select(id);
    if (tool === "click") await this.apply(this.state.allowed([id]), "single", label);
    if (tool === "grow") await this.grow(id, label);
  }

  /** Choose the segment under the cursor. */
  async pick() {
    if (!this.maps.cursor || this.state.isPoints) return;
    const [col, row] = this.maps.cursor.map(Math.floor);
    await this.tiles.cover(row, col, row, col);
    const id = this.tiles.at(row, col);
    if (id > 0) this.state.select(id);
  }

  /**
   * Label a segment and the similar ones around it.
   * @param {number} id
   * @param {import("./state.js").Label} label
   */
  async grow(id, label) {
    const { segments } = await api.grow(this.state.id, id, this.similarity);
    await this.apply(this.#new(segments, label), "bulk", label);
  }

  /**
   * Segments that may be labelled and have another label.
   * @param {number[]} ids
   * @param {import("./state.js").Label} label
   */
  #new(ids, label) {
    return this.state.allowed(ids).filter((id) => this.state.own[id] !== CODES[label]);
  }

  /**
   * Begin a brush stroke.
   * @param {number} col
   * @param {number} row
   */
  begin(col, row) {
    this.stroke = new Stroke(this.tiles, this.radius, this.label);
    this.paint(col, row);
  }

  /**
   * @param {number} col
   * @param {number} row
   */
  paint(col, row) {
    if (this.stroke) this.#colour(this.stroke, this.stroke.to(col, row));
  }

  /**
   * Show newly covered segments with their label; without the evidence that they need, the stroke ends and is taken back.
   * @param {Stroke} stroke
   * @param {number[]} fresh
   */
  #colour(stroke, fresh) {
    const { label } = stroke;
    const ids = this.#new(fresh, label);
    if (!ids.length) return;
    if (!this.ready(ids, label)) {
      this.#revert(stroke);
      this.stroke = undefined;
      return;
    }
    for (const id of ids) {
      stroke.painted.push(id);
      stroke.before.push(this.state.own[id]);
      this.state.own[id] = CODES[label];
    }
    this.state.changed(ids, false, false);
  }

  /** End a stroke: what it painted becomes one edit. Another stroke may begin while tiles for this one are fetched. */
  async end() {
    const { stroke } = this;
    this.stroke = undefined;
    if (!stroke) return;
    if (stroke.missed.length) this.#colour(stroke, await stroke.finish());
    if (this.ready(stroke.painted, stroke.label)) await this.apply(stroke.painted, "bulk", stroke.label, Uint8Array.from(stroke.before));
    else this.#revert(stroke);
  }

  /** Give a stroke or lasso up. */
  abort() {
    if (this.stroke) this.#revert(this.stroke);
    this.stroke = undefined;
    this.maps.line = [];
    this.maps.drawCursors();
  }

  /** @param {Stroke} stroke */
  #revert(stroke) {
    stroke.painted.forEach((id, at) => (this.state.own[id] = stroke.before[at]));
    this.state.changed(stroke.painted, false, false);
    stroke.painted = [];
    stroke.before = [];
  }

  /** Label what the lasso holds. */
  async close() {
    const { label } = this;
    const line = this.maps.line;
    this.maps.line = [];
    this.maps.drawCursors();
    await this.apply(this.#new(await inside(this.tiles, line), label), "bulk", label);
  }

  /** Say that the tile of the selected segment, or under the cursor, is right as it is; or take it back. */
  async toggleTile() {
    const tile = await this.tileHere();
    if (!tile || !this.state.isReview) return;
    await this.state.setTile(tile, !this.state.doneTiles.has(tile), this.form.values());
  }

  /** Tile of the selected segment, else under the cursor, else in the middle of the maps. */
  async tileHere() {
    const { opened, selected, tileOf } = this.state;
    if (selected && opened.tiles[tileOf[selected]]) return opened.tiles[tileOf[selected]].tile_id;
    const [x, y] = this.maps.view.getCenter() ?? [0, 0];
    const [col, row] = this.maps.cursor ?? [x, -y];
    return opened.tiles.find((tile) => row >= tile.row && row < tile.row + tile.size && col >= tile.col && col < tile.col + tile.size)?.tile_id;
  }
}

/** Strokes and lassos with the main button or one finger; a second finger, the other buttons and the space bar move the map. */
class Drawing extends ol.interaction.Pointer {
  /** @param {Tools} tools */
  constructor(tools) {
    super();
    this.tools = tools;
    this.active = false;
  }

  /** @param {import("ol/MapBrowserEvent").default<any>} event */
  handleEvent(event) {
    if (this.active && event.type === "pointerdown") {
      this.active = false;
      this.handlingDownUpSequence = false;
      this.tools.abort();
      return true;
    }
    return super.handleEvent(event);
  }

  /** @param {import("ol/MapBrowserEvent").default<any>} event */
  handleDownEvent(event) {
    if (!this.tools.draws || event.originalEvent.button !== 0 || this.targetPointers.length > 1) return false;
    this.active = true;
    const [x, y] = event.coordinate;
    if (this.tools.tool === "brush") this.tools.begin(x, -y);
    else this.tools.maps.line = [[x, -y]];
    return true;
  }

  /** @param {import("ol/MapBrowserEvent").default<any>} event */
  handleDragEvent(event) {
    if (!this.active) return;
    const [x, y] = event.coordinate;
    this.tools.maps.point([x, y], event.map.getTargetElement() ?? null);
    if (this.tools.tool === "brush") this.tools.paint(x, -y);
    else this.tools.maps.line.push([x, -y]);
  }

  handleUpEvent() {
    if (this.active) void (this.tools.tool === "brush" ? this.tools.end() : this.tools.close());
    this.active = false;
    return false;
  }

  /** @param {boolean} handled */
  stopDown(handled) {
    return handled;
  }
}
