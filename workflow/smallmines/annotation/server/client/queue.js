// The queue: which segment comes next, how many are left, how fast it goes.

import { api } from "./api.js";
import { announce, h, labelled, select, show } from "./dom.js";
import { fill, T, text } from "./texts.en.js";

export class QueuePanel {
  /**
   * @param {import("./state.js").State} state
   * @param {(row: number, col: number, segment: number) => void} go
   */
  constructor(state, go) {
    this.state = state;
    this.go = go;
    this.at = -1;
    this.why = "";
    this.order = select([["run", T.order_run], ["learned", T.order_learned]], "run", (value) => void this.sort(value === "learned" ? "learned" : "run"), { id: "order" });
    this.chooser = h("span");
    this.place = h("p", { id: "queue-place", "aria-live": "polite" });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": T.queue });
    this.counts = h("p", { id: "queue-count" });
    this.speed = h("p", { id: "pace", class: "help" });
    const learns = state.isReview;
    this.root = h(
      "section",
      { class: "queue", "aria-label": T.queue },
      h("h2", {}, T.queue),
      this.chooser,
      learns ? labelled(T.order, this.order) : null,
      h(
        "div",
        { class: "row" },
        h("button", { id: "previous", type: "button", click: () => this.step(-1) }, T.previous, h("kbd", {}, "←")),
        h("button", { id: "next", type: "button", click: () => this.step(1) }, T.next, h("kbd", {}, "→")),
      ),
      this.place,
      this.bar,
      this.counts,
      this.speed,
    );
    this.#choose();
    this.show();
  }

  /** Chooser of the reason, with the number of segments of each. */
  #choose() {
    const counts = new Map();
    for (const why of this.state.queue.why) counts.set(why, (counts.get(why) ?? 0) + 1);
    /** @type {[string, string][]} */
    const options = [["", `${T.why_all} (${this.state.queue.segment.length})`]];
    for (const [why, count] of counts) options.push([why, `${text("why_", why)} (${count})`]);
    show(this.chooser, labelled(T.why, select(options, this.why, (value) => this.#filter(value), { id: "why" })));
  }

  /** @param {string} why */
  #filter(why) {
    this.why = why;
    this.at = -1;
    this.step(1);
  }

  /**
   * Whether the segment at a place of the queue is decided, by itself or with its tile.
   * @param {number} at
   */
  #decided(at) {
    const { own, queue, doneTiles, opened, tileOf } = this.state;
    const segment = queue.segment[at];
    return own[segment] > 0 || (doneTiles.size > 0 && doneTiles.has(opened.tiles[tileOf[segment]]?.tile_id));
  }

  /**
   * Go to the next segment without a decision, or back to the one before.
   * @param {1 | -1} direction
   */
  step(direction) {
    const { queue } = this.state;
    const fits = (/** @type {number} */ at) => (!this.why || queue.why[at] === this.why) && (direction < 0 || !this.#decided(at));
    const n = queue.segment.length;
    for (let steps = 1; steps <= n; steps++) {
      const at = direction > 0 ? (this.at + steps) % n : this.at - steps;
      if (at < 0) break;
      if (fits(at)) return this.#to(at);
    }
    if (direction > 0) announce(T.queue_end);
  }

  /** @param {number} at */
  #to(at) {
    this.at = at;
    const { segment, row, col } = this.state.queue;
    this.go(row[at], col[at], segment[at]);
    this.show();
  }

  /** Whether the selected segment is the one of the queue. */
  get isHere() {
    return this.at >= 0 && this.state.queue.segment[this.at] === this.state.selected;
  }

  /** @param {"run" | "learned"} order */
  async sort(order) {
    try {
      this.state.queue = withRest(await api.queue(this.state.id, order), this.state.queue);
      this.order.value = order;
      this.at = -1;
      this.show();
    } catch (error) {
      this.order.value = "run";
      announce(String(error instanceof Error ? error.message : error), "fault");
    }
  }

  /** Show place, progress and pace. */
  show() {
    const { queue } = this.state;
    const n = queue.segment.length;
    let decided = 0;
    for (let at = 0; at < n; at++) if (this.#decided(at)) decided++;
    show(this.place, this.at < 0 ? "" : `${this.at + 1} / ${n}: ${text("why_", queue.why[this.at])}`);
    this.bar.value = n ? decided / n : 1;
    show(this.counts, fill(T.queue_of, { n: decided, all: n }));
    const minutes = this.state.minutesPer100();
    show(this.speed, minutes === null ? T.pace_none : fill(T.pace, { minutes: minutes.toFixed(1) }));
  }
}

/**
 * A queue with the segments that only another one has, which are decided, at its end: they count for the progress.
 * @param {import("./api.js").Queue} queue
 * @param {import("./api.js").Queue} other
 */
function withRest(queue, other) {
  const known = new Set(queue.segment);
  other.segment.forEach((segment, at) => {
    if (known.has(segment)) return;
    queue.segment.push(segment);
    queue.why.push(other.why[at]);
    queue.row.push(other.row[at]);
    queue.col.push(other.col[at]);
  });
  return queue;
}
