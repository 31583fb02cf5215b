// "Learn from my labels": a forest that is trained again on the server, its suggestions and its order of the queue.

import { api } from "./api.js";
import { announce, h, show } from "./dom.js";
import { fill, T } from "./texts.en.js";

const POLL = 1000;

export class Learning {
  /**
   * @param {import("./state.js").State} state
   * @param {import("./queue.js").QueuePanel} queue
   * @param {() => void} restyle
   */
  constructor(state, queue, restyle) {
    this.state = state;
    this.queue = queue;
    this.restyle = restyle;
    this.text = h("span", { id: "learn-state", class: "help", "aria-live": "polite" });
    this.button = h("button", { id: "learn", type: "button", click: () => void this.start() }, T.learn, h("kbd", {}, "R"));
    this.root = h("span", { class: "row" }, this.text, this.button);
    this.running = false;
  }

  /** Show what was learned before this page was opened, or wait for what was begun. */
  async resume() {
    const at = await api.learning(this.state.id).catch(() => null); // the button says what is wrong when it is pressed
    if (at && (at.state === "done" || this.#goesOn(at)) && !this.running) await this.#follow(at, false);
  }

  /** Begin, and wait for the end. */
  async start() {
    if (this.running) return;
    await this.#follow(null, true);
  }

  /** @param {import("./api.js").Learning} at */
  #goesOn(at) {
    return at.state === "waiting" || at.state === "running";
  }

  /**
   * Wait for the end of a refit, and show what it gave.
   * @param {import("./api.js").Learning | null} at a refit that was begun; null: begin one
   * @param {boolean} sorts whether the queue follows what was learned
   */
  async #follow(at, sorts) {
    this.running = this.button.disabled = true;
    show(this.text, T.learning);
    try {
      if (!at) {
        await this.state.outbox.drained(this.state.stream);
        at = await api.learn(this.state.id);
      }
      while (this.#goesOn(at)) {
        show(this.text, at.before ? fill(T.learn_waiting, { n: at.before }) : T.learning);
        await new Promise((resolve) => setTimeout(resolve, POLL));
        at = await api.learning(this.state.id);
      }
      if (at.state !== "done") throw new Error(at.error || T.learn_failed);
      this.state.suggestionThreshold = at.threshold ?? this.state.opened.threshold;
      delete this.state.columns.suggestion;
      await this.state.column("suggestion");
      if (sorts) await this.queue.sort("learned");
      this.restyle();
      show(this.text, fill(T.learned, { n: at.labels, seconds: at.seconds.toFixed(1) }));
    } catch (error) {
      show(this.text, T.learn_failed);
      announce(error instanceof Error ? error.message : String(error), "fault");
    } finally {
      this.running = this.button.disabled = false;
    }
  }
}
