// Which segments a brush stroke or a lasso means: those that it covers by half, and those under the middle of the brush.

import { SIDE } from "./tiles.js";

/** Pixels around a place whose tiles are loaded too: a segment's half is known only where all of it is. */
const REACH = 64;

export class Stroke {
  /**
   * @param {import("./tiles.js").Tiles} tiles
   * @param {number} radius in pixels of the block; 0: only the pixel under the pointer
   * @param {import("./state.js").Label} label of the whole stroke, whatever is chosen while it lasts
   */
  constructor(tiles, radius, label) {
    this.tiles = tiles;
    this.radius = radius;
    this.label = label;
    /** @type {Map<number, Uint8Array>} */
    this.covered = new Map();
    /** @type {Map<number, number>} */
    this.counts = new Map();
    /** @type {Set<number>} */
    this.picked = new Set();
    /** Places where tiles were missing. @type {[number, number][]} */
    this.missed = [];
    /** Segments that the stroke has labelled, and their labels before. @type {number[]} */
    this.painted = [];
    /** @type {number[]} */
    this.before = [];
    /** @type {[number, number] | null} */
    this.last = null;
  }

  /**
   * Draw on to a place; return the segments that are new.
   * @param {number} col
   * @param {number} row
   * @returns {number[]}
   */
  to(col, row) {
    /** @type {number[]} */
    const fresh = [];
    const [fromCol, fromRow] = this.last ?? [col, row];
    const far = Math.hypot(col - fromCol, row - fromRow);
    const steps = Math.max(1, Math.ceil(far / Math.max(0.5, this.radius / 2)));
    for (let step = this.last ? 1 : steps; step <= steps; step++) {
      this.#stamp(fromCol + ((col - fromCol) * step) / steps, fromRow + ((row - fromRow) * step) / steps, fresh);
    }
    this.last = [col, row];
    return fresh;
  }

  /**
   * Fetch the tiles that were missing and cover them too; return the segments that are new.
   * @returns {Promise<number[]>}
   */
  async finish() {
    /** @type {number[]} */
    const fresh = [];
    const missed = this.missed;
    this.missed = [];
    for (const [col, row] of missed) {
      await this.#load(col, row);
      this.#stamp(col, row, fresh);
    }
    return fresh;
  }

  /**
   * @param {number} col
   * @param {number} row
   * @param {number[]} fresh
   */
  #stamp(col, row, fresh) {
    const middle = this.tiles.at(Math.floor(row), Math.floor(col));
    if (middle > 0) this.#pick(middle, fresh);
    if (middle < 0 || (this.radius && !this.#surrounded(col, row))) {
      this.missed.push([col, row]);
      void this.#load(col, row);
      return;
    }
    const square = this.radius * this.radius;
    for (let y = Math.floor(row - this.radius); y <= row + this.radius; y++) {
      for (let x = Math.floor(col - this.radius); x <= col + this.radius; x++) {
        if ((x + 0.5 - col) ** 2 + (y + 0.5 - row) ** 2 > square) continue;
        const id = this.tiles.at(y, x);
        if (id <= 0 || this.#cover(y, x)) continue;
        const count = (this.counts.get(id) ?? 0) + 1;
        this.counts.set(id, count);
        if (count * 2 >= this.tiles.area[id]) this.#pick(id, fresh);
      }
    }
  }

  /**
   * @param {number} col
   * @param {number} row
   */
  #load(col, row) {
    const reach = this.radius + REACH;
    return this.tiles.cover(Math.floor(row - reach), Math.floor(col - reach), Math.floor(row + reach), Math.floor(col + reach));
  }

  /**
   * Whether the tiles are loaded in which segments under the brush may lie.
   * @param {number} col
   * @param {number} row
   */
  #surrounded(col, row) {
    const reach = this.radius + REACH;
    const near = [-reach, 0, reach];
    return near.every((down) => near.every((right) => this.tiles.at(Math.floor(row + down), Math.floor(col + right)) >= 0));
  }

  /**
   * @param {number} id
   * @param {number[]} fresh
   */
  #pick(id, fresh) {
    if (this.picked.has(id)) return;
    this.picked.add(id);
    fresh.push(id);
  }

  /**
   * Note a pixel as covered; whether it was already.
   * @param {number} row
   * @param {number} col
   */
  #cover(row, col) {
    const key = (row >> 8) * 65536 + (col >> 8);
    let tile = this.covered.get(key);
    if (!tile) this.covered.set(key, (tile = new Uint8Array(SIDE * SIDE)));
    const at = ((row & 255) << 8) | (col & 255);
    const was = tile[at] === 1;
    tile[at] = 1;
    return was;
  }
}

/**
 * Segments that lie by half inside a closed line.
 * @param {import("./tiles.js").Tiles} tiles
 * @param {[number, number][]} line columns and rows
 * @returns {Promise<number[]>}
 */
export async function inside(tiles, line) {
  if (line.length < 3) return [];
  const rows = line.map(([, row]) => row);
  const cols = line.map(([col]) => col);
  const [row0, row1] = [Math.max(0, Math.floor(Math.min(...rows))), Math.min(tiles.rows - 1, Math.ceil(Math.max(...rows)))];
  const [col0, col1] = [Math.max(0, Math.floor(Math.min(...cols))), Math.min(tiles.cols - 1, Math.ceil(Math.max(...cols)))];
  await tiles.cover(row0 - REACH, col0 - REACH, row1 + REACH, col1 + REACH);
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (let row = row0; row <= row1; row++) {
    const crossings = crossed(line, row + 0.5);
    for (let at = 0; at + 1 < crossings.length; at += 2) {
      for (let col = Math.max(col0, Math.ceil(crossings[at] - 0.5)); col + 0.5 < crossings[at + 1] && col <= col1; col++) {
        const id = tiles.at(row, col);
        if (id > 0) counts.set(id, (counts.get(id) ?? 0) + 1);
      }
    }
  }
  return [...counts].filter(([id, count]) => count * 2 >= tiles.area[id]).map(([id]) => id);
}

/**
 * Where a closed line crosses a row, ascending.
 * @param {[number, number][]} line
 * @param {number} y
 */
function crossed(line, y) {
  const found = [];
  for (let at = 0; at < line.length; at++) {
    const [x0, y0] = line[at];
    const [x1, y1] = line[(at + 1) % line.length];
    if (y0 <= y !== y1 <= y) found.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
  }
  return found.sort((a, b) => a - b);
}
