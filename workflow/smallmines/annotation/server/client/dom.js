// Small helpers for elements. Texts only ever become text nodes.

/** @typedef {Record<string, string | number | boolean | EventListener | undefined>} Properties */

/**
 * Make an element: properties that are functions become listeners, the others attributes (false and undefined: none).
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Properties} [properties]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

/**
 * Element with an id that the page must have.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

/**
 * Replace the children of an element.
 * @param {Element} element
 * @param {...(Node | string)} children
 */
export function show(element, ...children) {
  element.replaceChildren(...children);
}

/**
 * A labelled control.
 * @param {string} title
 * @param {HTMLElement} control
 */
export function labelled(title, control) {
  return h("label", { class: "field" }, h("span", {}, title), control);
}

/**
 * A list to choose from.
 * @param {Iterable<readonly [string, string]>} options pairs of value and title
 * @param {string} chosen
 * @param {(value: string) => void} change
 * @param {Properties} [properties]
 */
export function select(options, chosen, change, properties = {}) {
  const list = h("select", properties);
  for (const [value, title] of options) list.append(h("option", { value, selected: value === chosen }, title));
  list.addEventListener("change", () => change(list.value));
  return list;
}

/**
 * A table of texts.
 * @param {readonly string[]} head
 * @param {readonly (readonly (string | Node)[])[]} rows
 * @param {string} [caption]
 */
export function table(head, rows, caption) {
  return h(
    "table",
    {},
    caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, ...head.map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, cell))))),
  );
}

/**
 * Say something to screen readers and show it for a while.
 * @param {string} message
 * @param {"info" | "fault"} [kind]
 */
export function announce(message, kind = "info") {
  const place = byId("message");
  place.className = kind;
  show(place, message);
  clearTimeout(Number(place.dataset.timer));
  place.dataset.timer = String(setTimeout(() => show(place), kind === "fault" ? 12000 : 4000));
}

/**
 * Open a dialog; closing removes it.
 * @param {string} title
 * @param {...Node} children
 * @returns {HTMLDialogElement}
 */
export function dialog(title, ...children) {
  const box = h("dialog", { "aria-label": title }, h("h2", {}, title), ...children);
  box.addEventListener("close", () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}
