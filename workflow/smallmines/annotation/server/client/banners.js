// What the person must know at once: unsent edits, refused edits, another tab, products that changed.

import { byId, h, show } from "./dom.js";
import { fill, T } from "./texts.en.js";

export class Banners {
  /**
   * @param {import("./outbox.js").Outbox} outbox
   */
  constructor(outbox) {
    this.outbox = outbox;
    /** @type {Map<string, HTMLElement>} */
    this.shown = new Map();
    outbox.addEventListener("changed", () => this.count());
    outbox.addEventListener("sent", () => this.hide("offline"));
    outbox.addEventListener("offline", () => this.show("offline", T.offline));
    outbox.addEventListener("login", () => this.show("login", T.login_again));
    outbox.addEventListener("memory", () => this.show("memory", T.memory));
    for (const name of ["refused", "settled"]) outbox.addEventListener(name, () => this.refused());
    this.count();
  }

  /** Show how many edits the server has not acknowledged. */
  count() {
    const n = this.outbox.waiting().length;
    const place = byId("saved");
    place.dataset.unsent = String(n);
    show(place, n ? fill(T.unsaved, { n }) : T.saved);
    if (!n) this.hide("offline");
    if (this.outbox.refused().length > 0 !== this.shown.has("refused")) this.refused();
  }

  /** Show what the server refused, with the choice to send it again or to drop it. */
  refused() {
    const refused = this.outbox.refused();
    if (!refused.length) return this.hide("refused");
    const { found, do: remedy } = refused[0].refused ?? { found: "", do: "" };
    const again = h("button", { type: "button", click: () => void this.outbox.again() }, T.refused_again);
    const drop = h("button", {
      type: "button",
      id: "drop-refused",
      click: () => void this.outbox.drop(),
    }, T.refused_drop);
    return this.show("refused", fill(T.refused, { n: refused.length, found, do: remedy }), again, drop);
  }

  /**
   * @param {string} name
   * @param {string} message
   * @param {...HTMLElement} actions
   */
  show(name, message, ...actions) {
    this.hide(name);
    const banner = h("div", { class: "banner", role: "alert", "data-banner": name }, h("span", {}, message), ...actions);
    this.shown.set(name, banner);
    byId("banners").append(banner);
  }

  /** @param {string} name */
  hide(name) {
    this.shown.get(name)?.remove();
    this.shown.delete(name);
  }
}
