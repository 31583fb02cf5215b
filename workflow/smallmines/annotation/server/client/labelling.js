// The view in which a block is labelled: queue, maps, details, form. Adjudication and samples of pixels are the same with other parts.

import { api, ApiError } from "./api.js";
import { announce, h, show } from "./dom.js";
import { DetailsPanel } from "./details.js";
import { Form } from "./form.js";
import { handIn } from "./handin.js";
import { listen, showKeys } from "./keys.js";
import { Learning } from "./learning.js";
import { Maps } from "./maps.js";
import { Painter } from "./painter.js";
import { QueuePanel } from "./queue.js";
import { State } from "./state.js";
import { T, text } from "./texts.en.js";
import { Tiles } from "./tiles.js";
import { Toolbar } from "./toolbar.js";
import { Tools, TOOLS } from "./tools.js";

const HEARTBEAT = 10000;
const LABEL_KEYS = /** @type {Record<string, import("./state.js").Label>} */ ({ m: "mining", 1: "mining", n: "not_mining", 2: "not_mining", u: "unsure", 3: "unsure", e: "" });
const TOOL_KEYS = /** @type {Record<string, import("./tools.js").Tool>} */ ({ v: "look", c: "click", b: "brush", l: "lasso", g: "grow" });

export class Labelling {
  /**
   * @param {HTMLElement} root
   * @param {import("./api.js").Opened} opened
   * @param {{outbox: import("./outbox.js").Outbox, banners: import("./banners.js").Banners, back: () => void, again: () => void,
   *   takeOver: () => Promise<void>}} frame
   */
  constructor(root, opened, frame) {
    this.root = root;
    this.opened = opened;
    this.frame = frame;
    this.state = new State(opened, frame.outbox);
    this.ending = new AbortController();
  }

  /** Fetch, build and show the view. */
  async show() {
    const { state } = this;
    this.tiles = new Tiles(state);
    const mapsRoot = h("div", { class: "maps", id: "maps" });
    this.painter = new Painter(state, this.tiles);
    this.maps = new Maps(mapsRoot, state, this.tiles, this.painter);
    await state.load();
    this.form = new Form(state);
    this.tools = new Tools(state, this.tiles, this.maps, this.form);
    this.details = new DetailsPanel(state);
    this.queue = new QueuePanel(state, (row, col, segment) => this.go(row, col, segment));
    this.toolbar = new Toolbar({ state, tools: this.tools, painter: this.painter, maps: this.maps, label: (label) => void this.label(label), restyle: () => this.restyle() });
    this.learning = new Learning(state, this.queue, () => this.restyle());
    this.#build(mapsRoot);
    this.maps.arrange(2);
    this.#listen();
    if (state.isReview && !state.queue.segment.length) this.maps.view.fit([0, -this.opened.shape[0], this.opened.shape[1], 0]);
    else this.queue.step(1);
    if (state.isReview) this.tools.use("brush");
    else this.tools.use("look");
    if (state.isReview) void this.learning.resume();
  }

  /** @param {HTMLElement} mapsRoot */
  #build(mapsRoot) {
    const { year, block, kind } = this.opened;
    const tab = (/** @type {string} */ id, /** @type {string} */ title, /** @type {() => void} */ run, /** @type {string} */ key) =>
      h("button", { id, type: "button", click: run }, title, h("kbd", {}, key));
    show(
      this.root,
      h(
        "div",
        { class: `labelling ${kind}` },
        h(
          "div",
          { class: "bar" },
          h("button", { id: "back", type: "button", "aria-label": T.back, click: this.frame.back }, "←"),
          h("h1", {}, `${text("kind_", kind)} · ${year} · ${T.block.toLowerCase()} ${block}`),
          ...(this.state.isReview ? [this.learning?.root ?? ""] : []),
          tab("keys", T.keys, () => showKeys(this.bindings()), "?"),
          tab("hand-in", T.hand_in, () => this.handIn(), "H"),
        ),
        h("aside", { class: "left" }, this.queue?.root ?? "", this.form?.root ?? ""),
        h("div", { class: "middle" }, this.toolbar?.root ?? "", mapsRoot),
        h("aside", { class: "right" }, this.details?.root ?? ""),
      ),
    );
  }

  #listen() {
    const { state, tiles, maps } = this;
    const signal = this.ending.signal;
    const redraw = (/** @type {Event} */ event) => {
      const { ids } = /** @type {CustomEvent} */ (event).detail;
      tiles?.touch(ids);
      maps?.render();
    };
    state.addEventListener("changed", (event) => {
      const all = /** @type {CustomEvent} */ (event).detail.tile;
      if (all) tiles?.touch(null);
      redraw(event);
      maps?.drawCursors();
      this.queue?.show();
    });
    state.addEventListener("look", redraw);
    tiles?.addEventListener("fault", (event) => this.#fault(/** @type {CustomEvent} */ (event).detail));
    const { outbox } = this.frame;
    outbox.addEventListener("sent", (event) => {
      const { entry, answer } = /** @type {CustomEvent} */ (event).detail;
      if (entry.session !== state.id) return;
      state.acknowledged(entry, answer);
      if (answer.changed) this.changed();
    }, { signal });
    outbox.addEventListener("refused", (event) => {
      const { entry } = /** @type {CustomEvent} */ (event).detail;
      if (entry.session === state.id) announce(entry.refused.found, "fault");
    }, { signal });
    outbox.addEventListener("settled", (event) => void state.settled(/** @type {CustomEvent} */ (event).detail.forgotten), { signal });
    outbox.addEventListener("taken", () => this.#taken(), { signal });
    listen(this.bindings(), signal);
    addEventListener("keydown", (event) => this.#hold(event, true), { signal });
    addEventListener("keyup", (event) => this.#hold(event, false), { signal });
    const beat = setInterval(() => void this.#beat(), HEARTBEAT);
    signal.addEventListener("abort", () => clearInterval(beat));
  }

  /**
   * The space bar, while it is held, lets a drag move the map.
   * @param {KeyboardEvent} event
   * @param {boolean} down
   */
  #hold(event, down) {
    if (event.key !== " " || !this.tools) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (down && target.closest("input, textarea, select, button, a, summary, dialog")) return;
    this.tools.held = down;
    event.preventDefault();
  }

  async #beat() {
    try {
      const { changed } = await api.heartbeat(this.state.id, this.frame.outbox.writer);
      if (changed) this.changed();
      if (this.frame.outbox.waiting().length) void this.frame.outbox.flush();
    } catch (error) {
      this.#fault(error);
    }
  }

  /** @param {unknown} error */
  #fault(error) {
    if (!(error instanceof ApiError)) return;
    if (error.status === 423) this.#taken();
    else if (error.status === 409) this.changed();
  }

  #taken() {
    this.frame.outbox.paused = true;
    this.frame.banners.show("taken", T.taken_over, h("button", { id: "take-over", type: "button", click: () => void this.frame.takeOver() }, T.take_over));
  }

  /** Say that the products were made again. */
  changed() {
    if (this.frame.banners.shown.has("changed")) return;
    this.frame.banners.show(
      "changed",
      T.changed,
      h("button", { type: "button", click: () => this.handIn() }, T.hand_in),
      h("button", { id: "open-again", type: "button", click: this.frame.again }, T.open_again),
    );
  }

  /** Take the labels from the server after this page became the writer again. */
  async resumed() {
    this.frame.banners.hide("taken");
    await this.state.reload();
  }

  /**
   * Show a segment or point.
   * @param {number} row
   * @param {number} col
   * @param {number} segment
   */
  go(row, col, segment) {
    if (this.state.isPoints && this.maps) this.maps.marker = { row, col };
    this.maps?.go(row, col);
    this.state.select(segment);
  }

  /**
   * A label was chosen: label the selected segment with it, where that is what the tool does; else draw with it.
   * @param {import("./state.js").Label} label
   */
  async label(label) {
    const { tools, state, queue } = this;
    if (!tools || !queue) return;
    tools.choose(label);
    if (tools.tool !== "look" || !state.selected) return;
    const ids = state.allowed([state.selected]);
    if (!ids.length || !tools.ready(ids, label)) return;
    const here = queue.isHere;
    const sent = tools.apply(ids, "single", label);
    if (here && label) queue.step(1); // at once: the next key is about the next segment
    await sent;
  }

  /** Paint fill and outlines again. */
  restyle() {
    this.painter?.restyle();
    this.maps?.render();
  }

  handIn() {
    handIn(this.state, this.frame.outbox, () => void this.details?.show());
  }

  /** @returns {import("./keys.js").Binding[]} */
  bindings() {
    const { tools, queue, toolbar, maps, state } = this;
    if (!tools || !queue || !toolbar || !maps) return [];
    const points = state.isPoints;
    /** @type {(import("./keys.js").Binding | null)[]} */
    const all = [
      { keys: Object.keys(LABEL_KEYS), shown: "M/1 N/2 U/3 E", does: T.key_labels, once: true, run: (key) => void this.label(LABEL_KEYS[key]) },
      points ? null : { keys: Object.keys(TOOL_KEYS), shown: TOOLS.map((tool) => Object.keys(TOOL_KEYS).find((key) => TOOL_KEYS[key] === tool)?.toUpperCase()).join(" "), does: T.key_tools, run: (key) => tools.use(TOOL_KEYS[key]) },
      points ? null : { keys: ["[", "]"], shown: "[ ]", does: T.key_radius, run: (key) => tools.widen(tools.radius + (key === "]" ? 1 : -1)) },
      { keys: ["arrowright", "arrowleft"], shown: "→ ←", does: T.key_next, run: (key) => queue.step(key === "arrowright" ? 1 : -1) },
      points ? null : { keys: ["p"], shown: "P", does: T.key_pick, run: () => void tools.pick() },
      state.isReview ? { keys: ["t"], shown: "T", does: T.key_tile, once: true, run: () => void tools.toggleTile() } : null,
      { keys: ["z", "ctrl+z", "y", "ctrl+y"], shown: "Z Y", does: T.key_undo, run: (key, shift) => void (tools.stroke ? null : key.endsWith("y") || shift ? state.redo() : state.undo()) },
      points ? null : { keys: ["f"], shown: "F", does: T.key_fill, run: () => toolbar.nextFill() },
      points ? null : { keys: ["o"], shown: "O", does: T.key_outlines, run: () => toolbar.nextOutlines() },
      points ? null : { keys: [",", "."], shown: ", .", does: T.key_opacity, run: (key) => toolbar.setOpacity((this.painter?.opacity ?? 0.5) + (key === "." ? 0.1 : -0.1)) },
      { keys: ["j", "k"], shown: "J K", does: T.key_image, run: (key) => maps.next(key === "j" ? 0 : 1) },
      { keys: ["+", "=", "-"], shown: "+ -", does: T.key_zoom, run: (key) => maps.zoom(key === "-" ? -1 : 1) },
      { keys: ["w", "a", "s", "d"], shown: "W A S D", does: T.key_pan, run: (key) => maps.pan(key === "d" ? 1 : key === "a" ? -1 : 0, key === "s" ? 1 : key === "w" ? -1 : 0) },
      { keys: ["x"], shown: "X", does: T.key_form, run: () => this.form?.evidence.focus() },
      state.isReview ? { keys: ["r"], shown: "R", does: T.key_learn, run: () => void this.learning?.start() } : null,
      { keys: ["h"], shown: "H", does: T.key_hand_in, run: () => this.handIn() },
      { keys: ["?"], shown: "?", does: T.key_help, run: () => showKeys(this.bindings()) },
    ];
    return all.filter((binding) => binding !== null);
  }

  /** Leave the view. */
  close() {
    this.ending.abort();
    this.maps?.close();
    for (const name of ["taken", "changed"]) this.frame.banners.hide(name);
  }
}
