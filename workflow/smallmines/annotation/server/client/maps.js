// Two or more maps of one block, moved together, with one cursor. Coordinates are columns and negative rows of the block.

import { h, labelled, select, show } from "./dom.js";
import { fill, T } from "./texts.en.js";
import { SIDE } from "./tiles.js";

/** Milliseconds of a frame that may go into painting. */
const BUDGET = 10;
const FINEST = 1 / 24;
/** Pixels of the screen below which the outline of a tile is not drawn. */
const LEAST_TILE = 64;

/** @typedef {{root: HTMLElement, map: import("ol/Map").default, image: import("ol/layer/Tile").default<any>, layer: string, cursor: HTMLCanvasElement, chooser: HTMLSelectElement}} Pane */

export class Maps extends EventTarget {
  /**
   * @param {HTMLElement} root
   * @param {import("./state.js").State} state
   * @param {import("./tiles.js").Tiles} tiles
   * @param {import("./painter.js").Painter} painter
   */
  constructor(root, state, tiles, painter) {
    super();
    this.root = root;
    this.state = state;
    this.tiles = tiles;
    this.painter = painter;
    const [rows, cols] = state.opened.shape;
    const extent = [0, -rows, cols, 0];
    this.projection = new ol.proj.Projection({ code: "smallmines:pixels", units: "pixels", extent });
    const levels = state.opened.levels;
    this.levels = levels;
    this.grid = new ol.tilegrid.TileGrid({
      extent,
      origin: [0, 0],
      tileSize: SIDE,
      resolutions: Array.from({ length: levels }, (_, at) => 2 ** (levels - 1 - at)),
    });
    this.view = new ol.View({
      projection: this.projection,
      center: [cols / 2, -rows / 2],
      resolution: Math.max(rows, cols) / 400,
      minResolution: FINEST,
      maxResolution: Math.max(2, Math.max(rows, cols) / 250),
      extent,
      constrainOnlyCenter: true,
      enableRotation: false,
      smoothExtentConstraint: false,
    });
    /** @type {[number, number] | null} */
    this.cursor = null;
    /** @type {HTMLElement | null} */
    this.cursorPane = null;
    /** @type {[number, number][]} */
    this.line = [];
    this.radius = 0;
    this.round = false;
    /** @type {{row: number, col: number} | null} */
    this.marker = null;
    /** @type {Pane[]} */
    this.panes = [];
    tiles.addEventListener("loaded", () => this.render());
  }

  /**
   * Show this many maps.
   * @param {number} count
   */
  arrange(count) {
    while (this.panes.length > count) {
      const pane = /** @type {Pane} */ (this.panes.pop());
      pane.map.setTarget(undefined);
      pane.root.remove();
    }
    while (this.panes.length < count) this.panes.push(this.#pane(this.panes.length));
    this.root.dataset.count = String(count);
    requestAnimationFrame(() => this.panes.forEach((pane) => pane.map.updateSize()));
    this.dispatchEvent(new Event("arranged"));
  }

  /**
   * @param {number} number
   * @returns {Pane}
   */
  #pane(number) {
    const title = [T.map_one, T.map_two][number] ?? `${T.maps} ${number + 1}`;
    const layers = this.state.opened.layers;
    const layer = this.#first(number);
    const target = h("div", { class: "map", tabindex: "0", role: "application", "aria-label": title });
    const cursor = h("canvas", { class: "cursor", "aria-hidden": "true" });
    const chooser = select(
      layers.map(({ id, title: name }) => /** @type {const} */ ([id, name])),
      layer,
      (value) => this.choose(number, value),
      { "aria-label": `${title}: ${T.layer_of_map}`, id: `layer-${number + 1}` },
    );
    const root = h("section", { class: "pane", "aria-label": title }, h("div", { class: "chooser" }, chooser), target, cursor);
    this.root.append(root);
    const image = new ol.layer.Tile({ source: this.#source(layer), preload: 1 });
    const labels = new ol.layer.Layer({ render: (frame) => this.#labels(canvas, frame) });
    const canvas = h("canvas", { class: "labels" });
    const map = new ol.Map({
      target,
      view: this.view,
      layers: this.state.isPoints ? [image] : [image, labels],
      controls: [],
      interactions: ol.interaction.defaults.defaults({ altShiftDragRotate: false, pinchRotate: false, doubleClickZoom: false, shiftDragZoom: false, dragPan: false, keyboard: false }),
    });
    map.addInteraction(new ol.interaction.DragPan({ condition: () => true, kinetic: new ol.Kinetic(-0.005, 0.05, 100) }));
    map.on("pointermove", (event) => this.point(/** @type {[number, number]} */ (event.coordinate), target));
    map.on("postrender", () => this.#drawCursor(pane));
    target.addEventListener("pointerleave", () => this.point(null, target));
    target.addEventListener("contextmenu", (event) => event.preventDefault());
    const pane = { root, map, image, layer, cursor, chooser };
    return pane;
  }

  /**
   * Image that a map shows first: true colour of the session's year, then of another year.
   * @param {number} number
   */
  #first(number) {
    const { layers, year } = this.state.opened;
    const colours = layers.filter(({ id, style }) => /true/.test(style + id));
    const own = colours.filter((layer) => layer.year === year);
    const others = [...colours.filter((layer) => layer.year !== year), ...layers.filter((layer) => layer.year === year && /false/.test(layer.style + layer.id))];
    const order = [...new Set([...own, ...others, ...layers])];
    return (order[number] ?? layers[0]).id;
  }

  /** @param {string} layer */
  #source(layer) {
    const { session, layers } = this.state.opened;
    const version = layers.find(({ id }) => id === layer)?.version;
    return new ol.source.TileImage({
      projection: this.projection,
      tileGrid: this.grid,
      interpolate: false,
      transition: 0,
      tileUrlFunction: ([z, x, y]) => `/api/sessions/${session}/layers/${layer}/${this.levels - 1 - z}/${x}/${y}?v=${version}`,
    });
  }

  /**
   * Show an image in a map.
   * @param {number} number
   * @param {string} layer
   */
  choose(number, layer) {
    const pane = this.panes[number];
    if (!pane) return;
    pane.layer = layer;
    pane.chooser.value = layer;
    pane.image.setSource(this.#source(layer));
  }

  /**
   * Show the next image in a map.
   * @param {number} number
   */
  next(number) {
    const pane = this.panes[number];
    if (!pane) return;
    const layers = this.state.opened.layers;
    const at = layers.findIndex(({ id }) => id === pane.layer);
    this.choose(number, layers[(at + 1) % layers.length].id);
  }

  /** Draw all maps again in the next frame. */
  render() {
    for (const pane of this.panes) pane.map.render();
  }

  /**
   * Layer of the segments: draws the painted parts of the label tiles in view.
   * @param {HTMLCanvasElement} canvas
   * @param {import("ol/Map").FrameState} frame
   */
  #labels(canvas, frame) {
    const { center, resolution } = frame.viewState;
    const [width, height] = frame.size.map((side) => Math.round(side * frame.pixelRatio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    const scale = frame.pixelRatio / resolution;
    const z = Math.min(this.levels - 1, Math.max(0, Math.floor(Math.log2(1 / scale))));
    const detail = z > 0 || scale < 1.5 ? 1 : scale < 3 ? 2 : scale < 6 ? 4 : 8;
    const part = Math.min(SIDE, 512 / detail);
    const left = width / 2 - center[0] * scale;
    const top = height / 2 + center[1] * scale;
    const step = part << z;
    const end = performance.now() + BUDGET;
    let complete = true;
    for (let row = Math.floor(-top / scale / step) * step; row * scale + top < height; row += step) {
      for (let col = Math.floor(-left / scale / step) * step; col * scale + left < width; col += step) {
        const [x, y] = [Math.floor(col / (SIDE << z)), Math.floor(row / (SIDE << z))];
        if (!this.tiles.inside(z, x, y)) continue;
        const tile = this.tiles.get(z, x, y);
        if (!tile) {
          void this.tiles.load(z, x, y);
          continue;
        }
        const at = [(col >> z) & (SIDE - 1), (row >> z) & (SIDE - 1)];
        const { canvas: patch, fresh } = this.painter.patch(tile, detail, part, at[0], at[1], performance.now() < end);
        complete &&= fresh;
        if (!patch) continue;
        const [x0, y0] = [Math.round(col * scale + left), Math.round(row * scale + top)];
        context.drawImage(patch, x0, y0, Math.round((col + step) * scale + left) - x0, Math.round((row + step) * scale + top) - y0);
      }
    }
    if (!complete) requestAnimationFrame(() => this.render());
    return canvas;
  }

  /**
   * Put the cursor at a place in all maps.
   * @param {[number, number] | null} place
   * @param {HTMLElement | null} pane
   */
  point(place, pane) {
    this.cursor = place && [place[0], -place[1]];
    this.cursorPane = pane;
    this.drawCursors();
  }

  /** Draw cursor, brush and lasso again in the next frame. */
  drawCursors() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      for (const pane of this.panes) this.#drawCursor(pane);
    });
  }

  /** @param {Pane} pane */
  #drawCursor(pane) {
    const size = pane.map.getSize();
    if (!size) return;
    const ratio = devicePixelRatio;
    const [width, height] = size.map((side) => Math.round(side * ratio));
    if (pane.cursor.width !== width || pane.cursor.height !== height) [pane.cursor.width, pane.cursor.height] = [width, height];
    const context = /** @type {CanvasRenderingContext2D} */ (pane.cursor.getContext("2d"));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size[0], size[1]);
    const scale = 1 / (this.view.getResolution() ?? 1);
    const [centerX, centerY] = this.view.getCenter() ?? [0, 0];
    /** @type {(col: number, row: number) => [number, number]} */
    const at = (col, row) => [(col - centerX) * scale + size[0] / 2, (row + centerY) * scale + size[1] / 2];
    if (this.marker) this.#drawMarker(context, at(this.marker.col, this.marker.row), scale);
    this.#drawTiles(context, at, scale, size);
    if (this.line.length > 1) {
      const path = new Path2D();
      this.line.forEach(([col, row], number) => path[number ? "lineTo" : "moveTo"](...at(col, row)));
      twice(context, path);
    }
    if (!this.cursor) return;
    const [x, y] = at(...this.cursor);
    const path = new Path2D();
    if (this.round) path.arc(x, y, Math.max(this.radius, 0.5) * scale, 0, 7);
    if (!this.round || this.cursorPane !== pane.map.getTargetElement()) {
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        path.moveTo(x + dx * 4, y + dy * 4);
        path.lineTo(x + dx * 12, y + dy * 12);
      }
    }
    twice(context, path);
  }

  /**
   * Mark the pixel of a point: its square, with a gap around it.
   * @param {CanvasRenderingContext2D} context
   * @param {[number, number]} corner
   * @param {number} scale
   */
  #drawMarker(context, [x, y], scale) {
    const path = new Path2D();
    path.rect(x - 0.5, y - 0.5, scale + 1, scale + 1);
    const [middleX, middleY, gap] = [x + scale / 2, y + scale / 2, scale / 2 + 5];
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      path.moveTo(middleX + dx * gap, middleY + dy * gap);
      path.lineTo(middleX + dx * (gap + 14), middleY + dy * (gap + 14));
    }
    twice(context, path, "#00e5ff");
  }

  /**
   * Outlines of the tiles, green where they are done.
   * @param {CanvasRenderingContext2D} context
   * @param {(col: number, row: number) => [number, number]} at
   * @param {number} scale
   * @param {number[]} size
   */
  #drawTiles(context, at, scale, size) {
    const { tiles } = this.state.opened;
    if (this.state.isPoints || !tiles.length || tiles[0].size * scale < LEAST_TILE) return;
    context.lineWidth = 1;
    for (const { tile_id: tile, row, col, size: side } of tiles) {
      const [x, y] = at(col, row);
      if (x > size[0] || y > size[1] || x + side * scale < 0 || y + side * scale < 0) continue;
      const done = this.state.doneTiles.has(tile);
      context.strokeStyle = done ? "#33a02c" : "rgba(255,255,255,0.6)";
      context.strokeRect(x + 1.5, y + 1.5, side * scale - 3, side * scale - 3);
      if (!done) continue;
      context.fillStyle = "#1b7a1e";
      context.font = "600 12px system-ui, sans-serif";
      const [name, ...place] = /** @type {const} */ ([fill("✓ {tile}", { tile }), Math.max(x, 0) + 6, Math.max(y, 0) + 16]);
      context.save();
      [context.lineWidth, context.strokeStyle] = [3, "#ffffff"];
      context.strokeText(name, ...place);
      context.restore();
      context.fillText(name, ...place);
    }
  }

  /**
   * Move the maps so that a place is in the middle.
   * @param {number} row
   * @param {number} col
   * @param {boolean} [still] keep the zoom
   */
  go(row, col, still = true) {
    this.view.setCenter([col + 0.5, -row - 0.5]);
    if (!still || (this.view.getResolution() ?? 1) > 0.5) this.view.setResolution(1 / 8);
  }

  /**
   * @param {number} steps
   */
  zoom(steps) {
    this.view.animate({ zoom: (this.view.getZoom() ?? 0) + steps, duration: 150 });
  }

  /**
   * @param {number} right
   * @param {number} down
   */
  pan(right, down) {
    const resolution = this.view.getResolution() ?? 1;
    const [x, y] = this.view.getCenter() ?? [0, 0];
    this.view.animate({ center: [x + right * 120 * resolution, y - down * 120 * resolution], duration: 100 });
  }

  /** Chooser of how many maps. */
  counter() {
    return labelled(
      T.maps,
      select([["1", "1"], ["2", "2"], ["3", "3"], ["4", "4"]], String(this.panes.length || 2), (value) => this.arrange(Number(value)), { id: "maps-count" }),
    );
  }

  /** Take the maps away. */
  close() {
    this.arrange(0);
    show(this.root);
  }
}

/**
 * A line that is seen on dark and on light ground.
 * @param {CanvasRenderingContext2D} context
 * @param {Path2D} path
 * @param {string} [colour]
 */
function twice(context, path, colour = "#ffffff") {
  context.lineWidth = 3;
  context.strokeStyle = "rgba(0,0,0,0.7)";
  context.stroke(path);
  context.lineWidth = 1.5;
  context.strokeStyle = colour;
  context.stroke(path);
}
