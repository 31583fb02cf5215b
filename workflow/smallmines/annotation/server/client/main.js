// The page: signs in, shows start, status or labelling, keeps the outbox over all of them.

import { api, ApiError, uuid } from "./api.js";
import { Banners } from "./banners.js";
import { announce, byId, dialog, h, show } from "./dom.js";
import { fault } from "./handin.js";
import { Labelling } from "./labelling.js";
import { Outbox, writerOfTab } from "./outbox.js";
import { showLogin, showWork } from "./start.js";
import { showStatus } from "./status.js";
import { fill, T } from "./texts.en.js";
import { showUnfinished } from "./unfinished.js";

class Page {
  /** @param {string} writer */
  constructor(writer) {
    this.root = byId("content");
    this.outbox = new Outbox(writer);
    this.banners = new Banners(this.outbox);
    /** @type {Labelling | null} */
    this.view = null;
    /** @type {import("./api.js").Me | null} */
    this.me = null;
    /** Whether it is known who labels; before, an address leads nowhere. */
    this.ready = false;
    addEventListener("hashchange", () => void this.route());
    this.#frame();
  }

  /** Texts and buttons of the head. */
  #frame() {
    document.title = T.title;
    show(byId("skip"), T.skip);
    const theme = h("button", { id: "theme", type: "button", "aria-label": T.theme, title: T.theme, click: switchTheme }, "◐");
    this.who = h("span", { id: "who" });
    show(byId("nav"), h("a", { href: "#start" }, T.start), h("a", { href: "#status" }, T.status), this.who, theme);
  }

  /** Sign in with a token of the address, then show what the address says. */
  async start() {
    const token = location.hash.match(/^#token=(.+)$/)?.[1];
    if (token) {
      history.replaceState(null, "", location.pathname);
      try {
        await api.login({ token: decodeURIComponent(token) });
      } catch (error) {
        announce(error instanceof ApiError && error.status === 401 ? T.sign_in_failed : String(error), "fault");
      }
    }
    await this.signedIn();
  }

  async signedIn() {
    this.ready = false;
    this.me = await api.me();
    const { annotator, run } = this.me;
    this.banners.hide("login");
    show(this.who ?? byId("nav"), ...(annotator ? [fill(T.signed_in, { annotator, run }), " ", h("button", { id: "sign-out", type: "button", click: () => void this.signOut() }, T.sign_out)] : []));
    if (annotator) await this.outbox.start(annotator, run);
    this.ready = true;
    await this.route();
  }

  async signOut() {
    if (!(await this.outbox.drained("", 5))) announce(fill(T.unsaved, { n: this.outbox.waiting().length }), "fault");
    await api.logout();
    location.hash = "";
    await this.signedIn();
  }

  /** Show what the address says, in an element of its own: what an earlier address still waits for shows up nowhere. */
  async route() {
    if (!this.ready) return undefined;
    const place = location.hash.slice(1);
    this.view?.close();
    this.view = null;
    const root = h("div", { class: "view" });
    show(this.root, root);
    document.body.classList.remove("full");
    try {
      if (!this.me?.annotator && this.me) return showLogin(root, this.me, () => void this.signedIn());
      const opened = place.match(/^label\/([^/]+)\/([^/]+)\/([^/]+)(?:\/(.+))?$/)?.map((part) => part && decodeURIComponent(part));
      if (opened) return await this.open(root, opened, false);
      if (place === "status") return await showStatus(root);
      return await showWork(root, this.outbox, (choice) => this.choose(choice));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        this.me = { ...(await api.me()), annotator: null };
        return showLogin(root, this.me, () => void this.signedIn());
      }
      return show(root, h("section", { class: "card narrow" }, h("h1", {}, T.error), fault(error), h("a", { href: "#start" }, T.back)));
    }
  }

  /** @param {import("./start.js").Choice} choice */
  choose({ year, block, kind, tiles, everything }) {
    const part = everything ? "all" : (tiles ?? []).join(",");
    location.hash = ["label", year, block, kind, ...(part ? [part] : [])].map(encodeURIComponent).join("/");
  }

  /**
   * Open a block for labelling.
   * @param {HTMLElement} root
   * @param {string[]} place label, year, block, kind, part
   * @param {boolean} takeOver
   */
  async open(root, [, year, block, kind, part], takeOver) {
    show(root, h("p", { class: "card" }, T.loading));
    const tiles = part && part !== "all" ? part.split(",") : null;
    const stream = `${year}/${block}/${kind}`;
    const what = { year, block, kind, tiles, everything: part === "all", writer: this.outbox.writer, take_over: takeOver };
    try {
      const opened = await api.open(what);
      if (!root.isConnected) return;
      await this.outbox.resume(opened.session, stream);
      if (opened.changed) return showUnfinished(root, opened, this.outbox, stream);
      document.body.classList.add("full");
      this.view = new Labelling(root, opened, {
        outbox: this.outbox,
        banners: this.banners,
        back: () => (location.hash = "start"),
        again: () => void this.route(),
        takeOver: async () => {
          await api.open({ ...what, take_over: true });
          await this.outbox.start(this.outbox.owner, this.outbox.run);
          await this.outbox.resume(opened.session, stream);
          await this.outbox.drained(stream, 5);
          await this.view?.resumed();
        },
      });
      await this.view.show();
    } catch (error) {
      if (!(error instanceof ApiError) || error.lines.kind !== "writer" || takeOver) throw error;
      this.#askToTakeOver(root, ["", year, block, kind, part], error);
    }
  }

  /**
   * @param {HTMLElement} root
   * @param {string[]} place
   * @param {ApiError} error
   */
  #askToTakeOver(root, place, error) {
    show(root);
    const box = dialog(
      T.other_tab,
      fault(error),
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", click: () => (box.close(), (location.hash = "start")) }, T.cancel),
        h("button", { id: "take-over", type: "button", class: "main", click: () => (box.close(), void this.open(root, place, true)) }, T.take_over),
      ),
    );
  }
}

/** Switch between light and dark, and keep the choice. */
function switchTheme() {
  const { dataset } = document.documentElement;
  dataset.theme = dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", dataset.theme);
}

addEventListener("unhandledrejection", ({ reason }) => {
  if (!(reason instanceof ApiError)) return;
  announce(`${reason.message}. ${reason.lines.do ?? ""}`, "fault");
});

const page = new Page(await writerOfTab(uuid));
Object.assign(window, { page });
await page.start();
