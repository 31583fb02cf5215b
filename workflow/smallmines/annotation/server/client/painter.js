// Paint label tiles on canvases: outlines by own label, a fill, a hatch over what the server has not acknowledged.

import { SIDE } from "./tiles.js";

/** Colours as in the QGIS project, red, green, blue. */
export const COLOURS = {
  unseen: [0xff, 0xff, 0x33],
  mining: [0xe3, 0x1a, 0x1c],
  not_mining: [0x33, 0xa0, 0x2c],
  unsure: [0xff, 0x7f, 0x00],
};

const OWN = [COLOURS.unseen, COLOURS.mining, COLOURS.not_mining, COLOURS.unsure];
const CLASSES = [COLOURS.not_mining, COLOURS.mining, COLOURS.unsure];
const PROVENANCES = ["#9e9e9e", "#1f78b4", "#e31a1c", "#33a02c", "#6a3d9a", "#ff7f00", "#b15928", "#fb9a99", "#ffffff", "#a6cee3"].map(parsed);
const SELECTED = [0x00, 0xe5, 0xff];
const KEPT = 96;

/** @typedef {"none" | "prediction" | "probability" | "label" | "provenance" | "suggestion"} Fill */
/** @typedef {"all" | "queue" | "none"} Outlines */
/** @typedef {{canvas: HTMLCanvasElement, stamp: number, look: number}} Patch */

/**
 * @param {string} hex
 * @returns {number[]}
 */
function parsed(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/**
 * Pixel of an image: alpha, blue, green, red from the highest byte.
 * @param {number[]} colour
 * @param {number} alpha 0 to 1
 */
function pixel([red, green, blue], alpha) {
  return ((Math.round(alpha * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

export class Painter {
  /**
   * @param {import("./state.js").State} state
   * @param {import("./tiles.js").Tiles} tiles
   */
  constructor(state, tiles) {
    this.state = state;
    this.tiles = tiles;
    /** @type {Fill} */
    this.fill = "none";
    /** @type {Outlines} */
    this.outlines = "all";
    this.opacity = 0.5;
    this.look = 1;
    /** @type {Map<string, Patch>} */
    this.patches = new Map();
  }

  /** Paint everything again: fill, outlines or opacity changed. */
  restyle() {
    this.look += 1;
  }

  /**
   * Canvas of a part of a tile, painted where it is not up to date and `may` paint.
   * @param {import("./tiles.js").LabelTile} tile
   * @param {number} scale canvas pixels a pixel
   * @param {number} part side of the part in pixels
   * @param {number} px first column in the tile
   * @param {number} py first row in the tile
   * @param {boolean} may
   * @returns {{canvas: HTMLCanvasElement | null, fresh: boolean}}
   */
  patch(tile, scale, part, px, py, may) {
    const key = `${tile.z}/${tile.x}/${tile.y}/${scale}/${px}/${py}`;
    let patch = this.patches.get(key);
    if (patch && patch.stamp === tile.changed && patch.look === this.look) {
      this.patches.delete(key);
      this.patches.set(key, patch);
      return { canvas: patch.canvas, fresh: true };
    }
    if (!may) return { canvas: patch?.canvas ?? null, fresh: false };
    patch ??= { canvas: this.#canvas(part * scale), stamp: 0, look: 0 };
    patch.stamp = tile.changed;
    patch.look = this.look;
    this.#paint(patch.canvas, tile, scale, part, px, py);
    this.patches.delete(key);
    this.patches.set(key, patch);
    return { canvas: patch.canvas, fresh: true };
  }

  /**
   * A canvas of a size, one that is not needed any more where there are many.
   * @param {number} side
   */
  #canvas(side) {
    for (const [key, patch] of this.patches) {
      if (this.patches.size <= KEPT) break;
      this.patches.delete(key);
      if (patch.canvas.width === side) return patch.canvas;
    }
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    return canvas;
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./tiles.js").LabelTile} tile
   * @param {number} scale
   * @param {number} part
   * @param {number} px
   * @param {number} py
   */
  #paint(canvas, tile, scale, part, px, py) {
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = context.createImageData(canvas.width, canvas.height);
    const out = new Uint32Array(image.data.buffer);
    const { fills, lines, hatches, thick } = this.#palette(tile, scale);
    const width = part * scale;
    const sides = { index: tile.index, ids: tile.ids };
    const left = this.tiles.get(tile.z, tile.x - 1, tile.y) ?? sides;
    const right = this.tiles.get(tile.z, tile.x + 1, tile.y) ?? sides;
    const above = this.tiles.get(tile.z, tile.x, tile.y - 1) ?? sides;
    const below = this.tiles.get(tile.z, tile.x, tile.y + 1) ?? sides;
    for (let y = py; y < py + part; y++) {
      for (let x = px; x < px + part; x++) {
        const at = (y << 8) | x;
        const local = tile.index[at];
        const fill = fills[local];
        const line = lines[local];
        const hatch = hatches[local];
        if (!(fill | line | hatch)) continue;
        const start = (y - py) * scale * width + (x - px) * scale;
        if (fill | hatch) {
          for (let sy = 0; sy < scale; sy++) {
            const row = start + sy * width;
            for (let sx = 0; sx < scale; sx++) {
              const stripe = hatch && ((x * scale + sx + y * scale + sy) & 7) < 3;
              out[row + sx] = stripe ? hatch : fill;
            }
          }
        }
        if (!line || scale === 1) continue;
        const id = tile.ids[local];
        const wide = Math.min(thick[local], scale >> 1);
        if ((x ? tile.ids[tile.index[at - 1]] : edge(left, tile, at + 255, at)) !== id) box(out, start, width, wide, scale, line);
        if ((x < 255 ? tile.ids[tile.index[at + 1]] : edge(right, tile, at - 255, at)) !== id) {
          box(out, start + scale - wide, width, wide, scale, line);
        }
        if ((y ? tile.ids[tile.index[at - 256]] : edge(above, tile, at | 0xff00, at)) !== id) box(out, start, width, scale, wide, line);
        if ((y < 255 ? tile.ids[tile.index[at + 256]] : edge(below, tile, at & 0xff, at)) !== id) {
          box(out, start + (scale - wide) * width, width, scale, wide, line);
        }
      }
    }
    context.putImageData(image, 0, 0);
  }

  /**
   * Colours of a tile's segments by local index.
   * @param {import("./tiles.js").LabelTile} tile
   * @param {number} scale
   */
  #palette(tile, scale) {
    const n = tile.ids.length;
    const fills = new Uint32Array(n);
    const lines = new Uint32Array(n);
    const hatches = new Uint32Array(n);
    const thick = new Uint8Array(n).fill(1);
    const { own, sent, inQueue, selected } = this.state;
    for (let local = 0; local < n; local++) {
      const id = tile.ids[local];
      if (!id) continue;
      fills[local] = this.#fillOf(id);
      const label = own[id];
      const shown = label || this.outlines === "all" || (this.outlines === "queue" && inQueue[id]);
      if (shown && (label || this.outlines !== "none")) lines[local] = this.#lineOf(id, label);
      if (label && scale === 1 && this.outlines !== "none") fills[local] = pixel(OWN[label], 0.6);
      if (label && scale > 1) thick[local] = Math.max(1, scale >> 2);
      if (sent[id]) hatches[local] = pixel(OWN[label], 0.75);
      if (id === selected) {
        lines[local] = pixel(SELECTED, 1);
        thick[local] = Math.max(1, scale >> 2);
      }
    }
    return { fills, lines, hatches, thick };
  }

  /**
   * @param {number} id
   * @param {number} label
   */
  #lineOf(id, label) {
    if (label) return pixel(OWN[label], 1);
    const { doneTiles, tileOf, opened, columns, inQueue } = this.state;
    if (doneTiles.size && doneTiles.has(opened.tiles[tileOf[id]]?.tile_id)) return pixel(CLASSES[columns.prediction[id]], 0.55);
    return pixel(COLOURS.unseen, inQueue[id] ? 0.95 : 0.3);
  }

  /** @param {number} id */
  #fillOf(id) {
    if (this.fill === "none") return 0;
    const column = this.state.columns[this.fill];
    if (!column) return 0;
    const value = column[id];
    if (this.fill === "probability") return pixel(ramp(value / 255), this.opacity);
    if (this.fill === "suggestion") {
      return value / 255 >= this.state.suggestionThreshold ? pixel(ramp(value / 255), this.opacity) : 0;
    }
    if (this.fill === "provenance") return pixel(PROVENANCES[value % PROVENANCES.length], this.opacity);
    return pixel(CLASSES[value] ?? COLOURS.unsure, this.opacity);
  }
}

/**
 * Colour of a provenance in the legend, as text for CSS.
 * @param {number} index
 */
export function provenanceColour(index) {
  return PROVENANCES[index % PROVENANCES.length];
}

/**
 * From blue over white to red.
 * @param {number} share
 */
export function ramp(share) {
  const from = share < 0.5 ? [0x21, 0x66, 0xac] : [0xf7, 0xf7, 0xf7];
  const to = share < 0.5 ? [0xf7, 0xf7, 0xf7] : [0xb2, 0x18, 0x2b];
  const part = (share % 0.5) * 2 + (share === 1 ? 1 : 0);
  return from.map((low, at) => Math.round(low + (to[at] - low) * part));
}

/**
 * Segment beyond the edge of a tile; that of the pixel itself where the neighbour is not loaded.
 * @param {{index: Uint16Array, ids: Uint32Array}} neighbour
 * @param {import("./tiles.js").LabelTile} tile
 * @param {number} there
 * @param {number} here
 */
function edge(neighbour, tile, there, here) {
  return neighbour.index === tile.index ? tile.ids[tile.index[here]] : neighbour.ids[neighbour.index[there]];
}

/**
 * @param {Uint32Array} out
 * @param {number} start
 * @param {number} width of a row of `out`
 * @param {number} w
 * @param {number} height
 * @param {number} colour
 */
function box(out, start, width, w, height, colour) {
  for (let y = 0; y < height; y++) out.fill(colour, start + y * width, start + y * width + w);
}

export { SIDE };
