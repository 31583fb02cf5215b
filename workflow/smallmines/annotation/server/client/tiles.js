// Label tiles: which segment each pixel belongs to. Fetched once, kept while the session is open.

import { api } from "./api.js";

export const SIDE = 256;

/**
 * @typedef {{z: number, x: number, y: number, ids: Uint32Array, index: Uint16Array, changed: number}} LabelTile
 */

export class Tiles extends EventTarget {
  /**
   * @param {import("./state.js").State} state
   */
  constructor(state) {
    super();
    this.state = state;
    this.rows = state.opened.shape[0];
    this.cols = state.opened.shape[1];
    /** @type {Map<string, LabelTile>} */
    this.tiles = new Map();
    /** @type {Map<string, Promise<LabelTile | null>>} */
    this.loading = new Map();
    /** Pixels of each segment in the tiles that are loaded. */
    this.area = new Uint32Array(state.opened.segments + 1);
    this.count = 0;
  }

  /**
   * @param {number} z
   * @param {number} x
   * @param {number} y
   */
  get(z, x, y) {
    return this.tiles.get(`${z}/${x}/${y}`);
  }

  /**
   * Whether a tile lies in the block.
   * @param {number} z
   * @param {number} x
   * @param {number} y
   */
  inside(z, x, y) {
    const side = SIDE << z;
    return x >= 0 && y >= 0 && x * side < this.cols && y * side < this.rows;
  }

  /**
   * @param {number} z
   * @param {number} x
   * @param {number} y
   * @returns {Promise<LabelTile | null>}
   */
  load(z, x, y) {
    const key = `${z}/${x}/${y}`;
    const known = this.tiles.get(key);
    if (known) return Promise.resolve(known);
    let loading = this.loading.get(key);
    if (!loading) {
      loading = api.labelTile(this.state.id, z, x, y, this.state.opened.digest).then(
        (buffer) => this.#add(z, x, y, buffer),
        (error) => {
          this.dispatchEvent(new CustomEvent("fault", { detail: error }));
          setTimeout(() => this.loading.delete(key), 2000);
          return null;
        },
      );
      this.loading.set(key, loading);
    }
    return loading;
  }

  /**
   * @param {number} z
   * @param {number} x
   * @param {number} y
   * @param {ArrayBuffer} buffer
   */
  #add(z, x, y, buffer) {
    const n = new DataView(buffer).getUint32(0, true);
    const ids = new Uint32Array(buffer, 4, n);
    const index = new Uint16Array(buffer, 4 + 4 * n, SIDE * SIDE);
    /** @type {LabelTile} */
    const tile = { z, x, y, ids, index, changed: ++this.count };
    this.tiles.set(`${z}/${x}/${y}`, tile);
    this.loading.delete(`${z}/${x}/${y}`);
    if (z === 0) {
      const counts = new Uint32Array(n);
      for (const local of index) counts[local] += 1;
      ids.forEach((id, local) => (this.area[id] += counts[local]));
    }
    for (const [dx, dy] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
      const neighbour = this.get(z, x + dx, y + dy);
      if (neighbour) neighbour.changed = ++this.count;
    }
    this.dispatchEvent(new Event("loaded"));
    return tile;
  }

  /**
   * Segment of a pixel; 0 outside, -1 where its tile is not loaded.
   * @param {number} row
   * @param {number} col
   */
  at(row, col) {
    if (row < 0 || col < 0 || row >= this.rows || col >= this.cols) return 0;
    const tile = this.get(0, col >> 8, row >> 8);
    return tile ? tile.ids[tile.index[((row & 255) << 8) | (col & 255)]] : -1;
  }

  /**
   * Load the full-resolution tiles that a box of pixels touches.
   * @param {number} row0
   * @param {number} col0
   * @param {number} row1 last row
   * @param {number} col1 last column
   */
  async cover(row0, col0, row1, col1) {
    const wanted = [];
    for (let y = Math.max(row0, 0) >> 8; y <= Math.min(row1, this.rows - 1) >> 8; y++) {
      for (let x = Math.max(col0, 0) >> 8; x <= Math.min(col1, this.cols - 1) >> 8; x++) wanted.push(this.load(0, x, y));
    }
    await Promise.all(wanted);
  }

  /**
   * Note that segments look different, so that the tiles with them are painted again; all where `ids` is null.
   * @param {number[] | null} ids
   */
  touch(ids) {
    const stamp = ++this.count;
    for (const tile of this.tiles.values()) {
      if (ids === null || ids.some((id) => has(tile.ids, id))) tile.changed = stamp;
    }
  }
}

/**
 * Whether an ascending list holds a number.
 * @param {Uint32Array} list
 * @param {number} wanted
 */
function has(list, wanted) {
  let low = 0;
  let high = list.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (list[middle] === wanted) return true;
    if (list[middle] < wanted) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
