// Controls above the maps: tools, labels, brush, fill, outlines, undo.

import { h, labelled, select, show } from "./dom.js";
import { provenanceColour, ramp } from "./painter.js";
import { fill, T, text } from "./texts.en.js";
import { RADIUS, TOOLS } from "./tools.js";

const TOOL_KEYS = { look: "V", click: "C", brush: "B", lasso: "L", grow: "G" };
const LABELS = /** @type {const} */ ([["mining", "M"], ["not_mining", "N"], ["unsure", "U"], ["", "E"]]);
const FILLS = /** @type {const} */ (["none", "prediction", "probability", "label", "provenance", "suggestion"]);
const OUTLINES = /** @type {const} */ (["all", "queue", "none"]);

export class Toolbar {
  /**
   * @param {{state: import("./state.js").State, tools: import("./tools.js").Tools, painter: import("./painter.js").Painter,
   *   maps: import("./maps.js").Maps, label: (label: import("./state.js").Label) => void, restyle: () => void}} parts
   */
  constructor({ state, tools, painter, maps, label, restyle }) {
    this.state = state;
    this.tools = tools;
    this.painter = painter;
    this.restyle = restyle;
    this.fills = FILLS.filter((name) => name !== "suggestion" || state.isReview);
    this.toolButtons = TOOLS.map((tool) =>
      h("button", { type: "button", "data-tool": tool, title: text("tool_", `${tool}_help`), click: () => tools.use(tool) }, text("tool_", tool), h("kbd", {}, TOOL_KEYS[tool])),
    );
    this.labelButtons = LABELS.map(([name, key]) =>
      h("button", { type: "button", "data-label": name, click: () => label(name) }, name ? text("", name) : T.erase, h("kbd", {}, key)),
    );
    this.radius = h("input", { id: "radius", type: "range", min: RADIUS.least, max: RADIUS.most, step: 1, input: () => tools.widen(Number(this.radius.value)) });
    this.radiusText = h("span", {});
    this.similarity = h("input", { id: "similarity", type: "range", min: 0, max: 1, step: 0.05, value: tools.similarity, input: () => (tools.similarity = Number(this.similarity.value)) });
    this.fill = select(this.fills.map((name) => [name, text("fill_", name)]), painter.fill, (value) => void this.chooseFill(value), { id: "fill" });
    this.outlines = select(OUTLINES.map((name) => [name, text("outlines_", name)]), painter.outlines, (value) => this.chooseOutlines(value), { id: "outlines" });
    this.opacity = h("input", { id: "opacity", type: "range", min: 0.1, max: 1, step: 0.1, value: painter.opacity, input: () => this.setOpacity(Number(this.opacity.value)) });
    this.legend = h("p", { class: "legend", id: "legend" });
    this.tile = h("button", { id: "tile-right", type: "button", click: () => void tools.toggleTile() }, T.tile_right, h("kbd", {}, "T"));
    this.undo = h("button", { id: "undo", type: "button", click: () => void state.undo() }, T.undo, h("kbd", {}, "Z"));
    this.redo = h("button", { id: "redo", type: "button", click: () => void state.redo() }, T.redo, h("kbd", {}, "Y"));
    const group = (/** @type {string} */ title, /** @type {Node[]} */ ...children) => h("div", { class: "group", role: "group", "aria-label": title }, ...children);
    const brush = h("label", { class: "field slider radius" }, h("span", {}, T.radius, " ", this.radiusText), this.radius);
    const similar = h("label", { class: "field slider similarity" }, h("span", {}, T.similarity), this.similarity);
    const drawing = state.isPoints ? [] : [group(T.tools, ...this.toolButtons), h("div", { class: "sliders" }, brush, similar)];
    const looks = state.isPoints ? [] : [labelled(T.fill, this.fill), labelled(T.outlines, this.outlines), h("label", { class: "field slider" }, h("span", {}, T.opacity), this.opacity)];
    this.root = h(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": T.tools },
      group(T.labels, ...this.labelButtons),
      ...drawing,
      group(T.undo, this.undo, this.redo, ...(state.isReview ? [this.tile] : [])),
      group(T.layer_of_map, ...looks, maps.counter()),
      this.legend,
    );
    tools.addEventListener("changed", () => this.show());
    state.addEventListener("changed", () => this.show());
    state.addEventListener("selected", () => void this.showTile());
    this.show();
  }

  /** Show what is chosen. */
  show() {
    const { tools, state } = this;
    for (const button of this.toolButtons) button.setAttribute("aria-pressed", String(button.dataset.tool === tools.tool));
    for (const button of this.labelButtons) button.setAttribute("aria-pressed", String(button.dataset.label === tools.label));
    this.root.dataset.tool = tools.tool;
    this.radius.value = String(tools.radius);
    show(this.radiusText, fill(T.radius_px, { n: tools.radius }));
    this.undo.disabled = !state.past.length;
    this.redo.disabled = !state.future.length;
    void this.showTile();
  }

  async showTile() {
    const tile = await this.tools.tileHere();
    show(this.tile, tile && this.state.doneTiles.has(tile) ? T.tile_open : T.tile_right, ` ${tile ?? ""}`, h("kbd", {}, "T"));
  }

  /** @param {string} value */
  async chooseFill(value) {
    const name = FILLS.find((known) => known === value) ?? "none";
    if (name !== "none") await this.state.column(name);
    this.painter.fill = name;
    this.fill.value = name;
    this.#showLegend();
    this.restyle();
  }

  /** @param {string} value */
  chooseOutlines(value) {
    this.painter.outlines = OUTLINES.find((known) => known === value) ?? "all";
    this.outlines.value = value;
    this.restyle();
  }

  /** @param {number} value */
  setOpacity(value) {
    this.painter.opacity = Math.min(1, Math.max(0.1, value));
    this.opacity.value = String(this.painter.opacity);
    this.restyle();
  }

  nextFill() {
    void this.chooseFill(this.fills[(this.fills.indexOf(this.painter.fill) + 1) % this.fills.length]);
  }

  nextOutlines() {
    this.chooseOutlines(OUTLINES[(OUTLINES.indexOf(this.painter.outlines) + 1) % OUTLINES.length]);
  }

  /** Colours of the fill. */
  #showLegend() {
    const fills = this.painter.fill;
    /** @type {[number[], string][]} */
    let entries = [];
    if (fills === "prediction" || fills === "label") entries = [[[0xe3, 0x1a, 0x1c], T.mining], [[0x33, 0xa0, 0x2c], T.not_mining]];
    if (fills === "label") entries.push([[0xff, 0x7f, 0x00], T.open_label_value]);
    if (fills === "probability" || fills === "suggestion") entries = [0, 0.25, 0.5, 0.75, 1].map((share) => [ramp(share), String(share)]);
    if (fills === "provenance") {
      const present = new Set(this.state.columns.provenance);
      entries = this.state.opened.provenances.flatMap((name, at) => (present.has(at) ? [/** @type {[number[], string]} */ ([provenanceColour(at), text("", name)])] : []));
    }
    show(this.legend, ...entries.map(([colour, title]) => {
      const swatch = h("i", { class: "swatch" });
      swatch.style.backgroundColor = `rgb(${colour.join(" ")})`;
      return h("span", {}, swatch, title);
    }));
  }
}
