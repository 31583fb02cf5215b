// First view: who labels, and what there is to label.

import { api, ApiError } from "./api.js";
import { announce, h, show, table } from "./dom.js";
import { fill, T, text } from "./texts.en.js";

/** @typedef {{year: string, block: string, kind: string, tiles: string[] | null, everything: boolean}} Choice */

const HEAD = [T.year, T.block, T.kind, T.left, T.done, T.pending, ""];

/**
 * Ask who labels: a list on the own machine, else a hint about the link with the token.
 * @param {HTMLElement} root
 * @param {import("./api.js").Me} me
 * @param {() => void} done
 */
export function showLogin(root, me, done) {
  const people = me.annotators ?? [];
  const choose = async (/** @type {string} */ annotator) => {
    try {
      await api.login({ annotator });
      done();
    } catch (error) {
      announce(error instanceof ApiError ? `${error.message}. ${error.lines.do ?? ""}` : String(error), "fault");
    }
  };
  const name = h("input", { id: "annotator", type: "text", maxlength: 40, pattern: "[A-Za-z0-9][A-Za-z0-9_.\\-]{0,39}", autocomplete: "off", placeholder: "A01" });
  const local = [
    h("p", {}, T.sign_in_help),
    h("div", { class: "row" }, ...people.map((code) => h("button", { type: "button", click: () => void choose(code) }, code))),
    h("form", { class: "row low", submit: (event) => (event.preventDefault(), name.value && void choose(name.value)) }, h("label", { class: "field" }, h("span", {}, people.length ? T.other_code : T.code), name), h("button", { id: "sign-in" }, T.sign_in_button)),
  ];
  show(root, h("section", { class: "card narrow" }, h("h1", {}, T.sign_in), ...(me.needs_token ? [h("p", {}, T.sign_in_link)] : local)));
}

/**
 * Show the work there is.
 * @param {HTMLElement} root
 * @param {import("./outbox.js").Outbox} outbox
 * @param {(choice: Choice) => void} open
 */
export async function showWork(root, outbox, open) {
  show(root, h("p", { class: "card" }, T.loading));
  const { rows } = await api.work();
  const now = rows.filter((row) => row.available || row.pending);
  const later = rows.filter((row) => !now.includes(row));
  const waiting = outbox.waiting().length;
  show(
    root,
    h(
      "section",
      { class: "card" },
      h("h1", {}, T.work),
      waiting ? h("p", { class: "problem" }, fill(T.waiting, { n: waiting })) : null,
      h("p", { class: "help" }, T.work_help),
      now.length ? table(HEAD, now.map((row) => cells(row, open))) : h("p", {}, T.nothing),
      later.length ? h("details", { class: "later" }, h("summary", {}, fill(T.later, { n: later.length })), table(HEAD, later.map((row) => cells(row, open)))) : null,
    ),
  );
}

/**
 * @param {import("./api.js").Work} row
 * @param {(choice: Choice) => void} open
 */
function cells(row, open) {
  const { year, block, kind } = row;
  const count = (/** @type {number | null} */ value) => (value === null ? "–" : String(value));
  const title = fill(T.open_label, { kind: text("kind_", kind), year, block });
  const choices = row.available && kind === "review" ? h("details", {}, h("summary", {}, T.tiles), ...parts(row, open)) : null;
  const button = row.available
    ? h("button", { type: "button", "aria-label": title, "data-open": `${year}/${block}/${kind}`, click: () => open({ year, block, kind, tiles: null, everything: false }) }, T.open)
    : h("span", { class: "help" }, row.why_not);
  const first = row.asked_first ? h("strong", { class: "first" }, ` ${typeof row.asked_first === "string" ? row.asked_first : T.first}`) : null;
  return [year, block, h("span", {}, text("kind_", kind), first), count(row.left), count(row.done), count(row.pending), h("div", { class: "row" }, button, choices)];
}

/**
 * Other parts of a block than the queue: the whole, or some tiles.
 * @param {import("./api.js").Work} row
 * @param {(choice: Choice) => void} open
 */
function parts({ year, block, kind }, open) {
  const tiles = h("input", { type: "text", placeholder: "0012,0013", "aria-label": T.tiles_help });
  const chosen = () => tiles.value.split(/[\s,;]+/).filter(Boolean);
  return [
    h("button", { type: "button", title: T.everything_help, "data-everything": `${year}/${block}`, click: () => open({ year, block, kind, tiles: null, everything: true }) }, T.everything),
    h("form", { class: "row", submit: (event) => (event.preventDefault(), chosen().length && open({ year, block, kind, tiles: chosen(), everything: false })) }, tiles, h("button", {}, T.open)),
  ];
}
