// Status page: who has done what, agreement, open disputes, decisions by day.

import { api } from "./api.js";
import { h, show, table } from "./dom.js";
import { fill, T, text } from "./texts.en.js";

const PARTS = /** @type {const} */ (["blocks", "people", "agreement", "disputes", "burn_down"]);

/** @param {HTMLElement} root */
export async function showStatus(root) {
  show(root, h("p", { class: "card" }, T.loading));
  const figures = await api.status();
  show(root, h("div", { class: "status" }, h("h1", {}, T.status), ...PARTS.map((part) => section(part, figures[part] ?? []))));
}

/**
 * @param {typeof PARTS[number]} part
 * @param {Record<string, unknown>[]} rows
 */
function section(part, rows) {
  const title = text("status_", part);
  const help = { blocks: T.status_blocks_help, people: T.status_people_help, burn_down: T.status_burn_down_help }[/** @type {string} */ (part)];
  const content = rows.length ? part === "burn_down" ? [bars(rows)] : [plain(rows)] : [h("p", { class: "help" }, T.status_none)];
  return h("section", { class: "card", "aria-label": title }, h("h2", {}, title), help ? h("p", { class: "help" }, help) : null, ...content);
}

/**
 * Rows as a table with their own names as head.
 * @param {Record<string, unknown>[]} rows
 */
function plain(rows) {
  const names = Object.keys(rows[0]);
  return h("div", { class: "scroll" }, table(names.map((name) => name.replaceAll("_", " ")), rows.map((row) => names.map((name) => shown(row[name])))));
}

/** @param {unknown} value */
function shown(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(3)));
  return Array.isArray(value) ? value.join("; ") : String(value);
}

/**
 * Bars of the decisions a day, with the day before and the numbers behind each.
 * @param {Record<string, unknown>[]} rows
 */
function bars(rows) {
  const most = Math.max(...rows.map((row) => Number(row.decisions)), 1);
  const named = rows.map((row) => ({ row, place: fill(T.status_place, { year: String(row.year), block: String(row.block) }) }));
  const places = [...new Set(named.map(({ place }) => place))];
  return h("figure", { class: "bars" }, ...places.flatMap((place) => [
    h("figcaption", {}, place),
    ...named.filter((bar) => bar.place === place).flatMap(({ row }) => bar(row, most)),
  ]));
}

/**
 * @param {Record<string, unknown>} row
 * @param {number} most decisions of a day
 */
function bar({ day, decisions, left, queue }, most) {
  const numbers = fill(T.status_day, { n: Number(decisions), left: Number(left), queue: Number(queue) });
  return [
    h("span", { class: "day" }, String(day)),
    h("meter", { min: 0, max: most, value: Number(decisions), "aria-label": `${day}: ${numbers}` }),
    h("span", { "aria-hidden": "true" }, numbers),
  ];
}
