// Edits that are not handed in, in a block of which nothing is left to label: hand them in, or drop them.

import { api } from "./api.js";
import { dialog, h, show } from "./dom.js";
import { fault, handIn } from "./handin.js";
import { fill, T, text } from "./texts.en.js";

/**
 * @param {HTMLElement} root
 * @param {import("./api.js").Opened} opened
 * @param {import("./outbox.js").Outbox} outbox
 * @param {string} stream
 */
export function showUnfinished(root, opened, outbox, stream) {
  const { kind, year, block, session } = opened;
  const back = () => (location.hash = "start");
  const drop = async () => {
    try {
      await api.drop(session, outbox.writer);
      back();
    } catch (error) {
      show(problem, fault(error));
    }
  };
  const ask = () => {
    const yes = h("button", { id: "drop-confirm", type: "button", class: "main", click: () => (box.close(), void drop()) }, T.unfinished_drop);
    const no = h("button", { type: "button", click: () => box.close() }, T.cancel);
    const box = dialog(T.unfinished_drop, h("p", {}, fill(T.unfinished_lost, { n: opened.own.pending })), h("div", { class: "row end" }, no, yes));
  };
  const problem = h("div", { "aria-live": "polite" });
  show(
    root,
    h(
      "section",
      { class: "card narrow", id: "unfinished" },
      h("h1", {}, `${text("kind_", kind)} · ${year} · ${T.block.toLowerCase()} ${block}`),
      h("p", {}, fill(T.unfinished, { n: opened.own.pending })),
      problem,
      h(
        "div",
        { class: "row" },
        h("button", { id: "hand-in", type: "button", class: "main", click: () => handIn({ id: session, stream }, outbox, back) }, T.hand_in),
        h("button", { id: "drop", type: "button", click: ask }, T.unfinished_drop),
        h("button", { type: "button", click: back }, T.back),
      ),
    ),
  );
}
