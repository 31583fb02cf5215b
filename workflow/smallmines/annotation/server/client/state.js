// What is known of a session: columns of its segments, the person's own labels, edits under way, history.

import { api, uuid } from "./api.js";
import { replay } from "./history.js";

/** Codes of the column `own`, and of labels in edits. */
export const CODES = { "": 0, mining: 1, not_mining: 2, unsure: 3 };

/** @typedef {keyof typeof CODES} Label */

/** @type {Label[]} */
export const LABEL_OF = ["", "mining", "not_mining", "unsure"];

/**
 * @typedef {{uuid: string, ids: number[], before: Uint8Array, after: number, tile: string, wasDone: boolean}} Step
 *
 * A step of an earlier page has no ids: the server says what undoing it brings back.
 */

export class State extends EventTarget {
  /**
   * @param {import("./api.js").Opened} opened
   * @param {import("./outbox.js").Outbox} outbox
   */
  constructor(opened, outbox) {
    super();
    this.opened = opened;
    this.id = opened.session;
    this.stream = `${opened.year}/${opened.block}/${opened.kind}`;
    this.outbox = outbox;
    const n = opened.segments + 1;
    this.own = new Uint8Array(n);
    this.sent = new Uint8Array(n);
    this.inQueue = new Uint8Array(n);
    this.tileOf = new Uint16Array(n).fill(65535);
    /** @type {Record<string, Uint8Array>} */
    this.columns = {};
    /** @type {import("./api.js").Queue} */
    this.queue = { segment: [], why: [], row: [], col: [] };
    this.doneTiles = new Set(opened.done_tiles);
    /** @type {Step[]} */
    this.past = [];
    /** @type {Step[]} */
    this.future = [];
    this.selected = 0;
    this.suggestionThreshold = 0.5;
    /** @type {number[]} */
    this.pace = [];
    this.decided = 0;
    this.isPoints = !["review", "adjudication"].includes(opened.kind);
    this.isReview = opened.kind === "review";
  }

  /** Fetch what every view needs. */
  async load() {
    const names = this.isPoints ? [] : ["prediction", "tile"];
    const [queue, , prediction, tile] = await Promise.all([
      api.queue(this.id, "run"),
      this.#present(),
      ...names.map((name) => api.column(this.id, name, this.opened.digest)),
    ]);
    this.queue = queue;
    if (prediction) this.columns.prediction = new Uint8Array(prediction);
    if (tile) this.tileOf = new Uint16Array(tile);
    for (const segment of queue.segment) this.inQueue[segment] = 1;
  }

  /** Take labels, and what can be undone, from the server, with what waits in the outbox on top; again where some arrived meanwhile. */
  async #present() {
    let [own, batches, acknowledged] = [new ArrayBuffer(0), /** @type {import("./history.js").Made[]} */ ([]), -1];
    while (acknowledged !== this.outbox.acknowledged) {
      acknowledged = this.outbox.acknowledged;
      [own, { batches }] = await Promise.all([api.column(this.id, "own", uuid()), api.history(this.id)]);
    }
    this.own.set(new Uint8Array(own));
    this.sent.fill(0);
    this.waiting = new Map();
    const known = new Set(batches.map((batch) => batch.uuid));
    const left = this.outbox.entries.filter((entry) => entry.session === this.id && !known.has(entry.uuid));
    const more = left.map(({ uuid, batch, refused }) => ({ uuid, undo: batch.undo ?? "", refused: Boolean(refused) }));
    const { past, future } = replay([...batches, ...more]);
    const here = new Map([...this.past, ...this.future].map((step) => [step.uuid, step]));
    [this.past, this.future] = [past, future].map((numbers) => numbers.map((number) => here.get(number) ?? earlier(number)));
    this.#repeat();
  }

  /** Show again what waits in the outbox: the server does not know it yet. */
  #repeat() {
    for (const entry of this.outbox.entries.filter((entry) => entry.session === this.id)) {
      for (const edit of entry.batch.edits ?? []) {
        for (const segment of edit.segments ?? []) {
          this.own[segment] = CODES[/** @type {Label} */ (edit.label ?? "")];
          this.sent[segment] += 1;
        }
        if (edit.tile) this.doneTiles[edit.status === "done" ? "add" : "delete"](edit.tile);
      }
    }
  }

  /**
   * A column, fetched once.
   * @param {string} name
   */
  async column(name) {
    this.columns[name] ??= new Uint8Array(await api.column(this.id, name, name === "suggestion" ? uuid() : this.opened.digest));
    return this.columns[name];
  }

  /**
   * Segments that may be labelled here.
   * @param {number[]} ids
   */
  allowed(ids) {
    return ids.filter((id) => id > 0 && (this.isReview || this.inQueue[id]));
  }

  /**
   * How many of some segments would need evidence with a label.
   * @param {number[]} ids
   * @param {Label} label
   */
  corrections(ids, label) {
    if (label === "" || label === "unsure") return 0;
    if (!this.isReview) return ids.length;
    const predicted = label === "mining" ? 1 : 0;
    return ids.filter((id) => this.columns.prediction[id] !== predicted).length;
  }

  /**
   * Label segments: at once here, then through the outbox.
   * @param {number[]} ids
   * @param {Label} label
   * @param {string} look
   * @param {import("./api.js").FormValues} form
   * @param {Uint8Array} [before] labels before, where they are shown already
   */
  async label(ids, label, look, form, before) {
    const step = this.#step(ids, CODES[label], "", before);
    for (const id of ids) this.own[id] = step.after;
    await this.#add(step, { edits: [{ segments: ids, label, look, form }] });
  }

  /**
   * Say that all of a tile is right as predicted, or take that back.
   * @param {string} tile
   * @param {boolean} done
   * @param {import("./api.js").FormValues} form
   */
  async setTile(tile, done, form) {
    const step = this.#step([], 0, tile);
    this.doneTiles[done ? "add" : "delete"](tile);
    await this.#add(step, { edits: [{ tile, status: done ? "done" : "open", look: "task", form }] });
  }

  /**
   * @param {number[]} ids
   * @param {number} after
   * @param {string} tile
   * @param {Uint8Array} [before]
   * @returns {Step}
   */
  #step(ids, after, tile, before) {
    return { uuid: uuid(), ids, after, tile, before: before ?? Uint8Array.from(ids, (id) => this.own[id]), wasDone: this.doneTiles.has(tile) };
  }

  /**
   * @param {Step} step
   * @param {import("./outbox.js").Entry["batch"]} batch
   */
  async #add(step, batch) {
    this.past.push(step);
    this.future = [];
    if (step.after || step.tile) this.#count(step.ids.length);
    await this.#send(step, step.uuid, batch);
  }

  /**
   * @param {Step} step
   * @param {string} id
   * @param {import("./outbox.js").Entry["batch"]} batch
   */
  async #send(step, id, batch) {
    for (const segment of step.ids) this.sent[segment] += 1;
    this.changed(step.ids, step.tile !== "");
    this.#listen(id, step.ids);
    await this.outbox.add(this.id, id, batch, this.stream);
  }

  /**
   * Redraw segments when their batch has been acknowledged or refused.
   * @param {string} id
   * @param {number[]} ids
   */
  #listen(id, ids) {
    this.waiting ??= new Map();
    this.waiting.set(id, ids);
  }

  /**
   * A batch is on the server.
   * @param {import("./outbox.js").Entry} entry
   * @param {import("./api.js").Acknowledgement} answer
   */
  acknowledged(entry, { restored = [] }) {
    const ids = this.waiting?.get(entry.uuid) ?? (entry.batch.edits ?? []).flatMap((edit) => edit.segments ?? []);
    this.waiting?.delete(entry.uuid);
    for (const segment of ids) if (this.sent[segment]) this.sent[segment] -= 1;
    this.#restore(restored);
    this.changed([...ids, ...restored.flatMap((edit) => edit.segments ?? [])], restored.some((edit) => edit.tile));
  }

  /**
   * Show what an undo brought back, as the server says; not where a later edit is under way.
   * @param {import("./api.js").Restored[]} edits
   */
  #restore(edits) {
    const later = new Set(this.outbox.waiting().flatMap(({ session, batch }) => (session === this.id ? (batch.edits ?? []) : [])).map((edit) => edit.tile));
    for (const { segments = [], label = "", tile, status } of edits) {
      for (const segment of segments) if (!this.sent[segment]) this.own[segment] = CODES[/** @type {Label} */ (label)];
      if (tile && !later.has(tile)) this.doneTiles[status === "done" ? "add" : "delete"](tile);
    }
  }

  /**
   * Refused edits were sent again or forgotten: these cannot be undone, nor done again.
   * @param {string[]} forgotten
   */
  async settled(forgotten) {
    const stays = (/** @type {Step} */ step) => !forgotten.includes(step.uuid);
    [this.past, this.future] = [this.past.filter(stays), this.future.filter(stays)];
    await this.reload();
  }

  /** Undo the last step, or do the last undone one again. */
  undo() {
    return this.#turn(this.past, this.future, true);
  }

  redo() {
    return this.#turn(this.future, this.past, false);
  }

  /**
   * @param {Step[]} from
   * @param {Step[]} to
   * @param {boolean} back
   */
  async #turn(from, to, back) {
    const step = from.pop();
    if (!step) return false;
    const undone = step.uuid;
    step.uuid = uuid();
    step.ids.forEach((id, at) => (this.own[id] = back ? step.before[at] : step.after));
    if (step.tile) {
      const done = back ? step.wasDone : !step.wasDone;
      this.doneTiles[done ? "add" : "delete"](step.tile);
    }
    to.push(step);
    await this.#send(step, step.uuid, { undo: undone });
    return true;
  }

  /** Take the labels from the server again, with what waits on top. */
  async reload() {
    await this.#present();
    this.dispatchEvent(new CustomEvent("changed", { detail: { ids: null, tile: true } }));
  }

  /**
   * @param {number} segments
   */
  #count(segments) {
    const now = Date.now();
    const last = this.pace.at(-1);
    this.time = (this.time ?? 0) + (last ? Math.min(now - last, 60000) : 0);
    this.pace.push(now);
    this.decided += segments;
  }

  /** Minutes of work for 100 segments in this sitting; null before there are ten. */
  minutesPer100() {
    return this.decided >= 10 && this.time ? (this.time / 60000 / this.decided) * 100 : null;
  }

  /**
   * @param {number} segment
   */
  select(segment) {
    const before = this.selected;
    this.selected = segment;
    this.dispatchEvent(new CustomEvent("selected", { detail: { segment } }));
    this.changed([before, segment].filter(Boolean), false, false);
  }

  /**
   * Tell the views which segments look different now.
   * @param {number[] | null} ids
   * @param {boolean} tile
   * @param {boolean} [labels] whether labels changed
   */
  changed(ids, tile, labels = true) {
    this.dispatchEvent(new CustomEvent(labels ? "changed" : "look", { detail: { ids, tile } }));
  }
}

/**
 * A step of which only the server knows what it changed.
 * @param {string} number
 * @returns {Step}
 */
const earlier = (number) => ({ uuid: number, ids: [], before: new Uint8Array(0), after: 0, tile: "", wasDone: false });
