// Keys: one table for what they do and for the list that `?` shows.

import { dialog, h, table } from "./dom.js";
import { T } from "./texts.en.js";

/**
 * @typedef {{keys: string[], shown: string, does: string, run: (key: string, shift: boolean) => void, once?: boolean}} Binding
 *   once: a key that is held down does it once
 */

/**
 * Listen to keys while no text is typed.
 * @param {Binding[]} bindings keys as in `KeyboardEvent.key`, lower case; with `ctrl+` before
 * @param {AbortSignal} signal ends it
 */
export function listen(bindings, signal) {
  addEventListener(
    "keydown",
    (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (document.querySelector("dialog[open]") || event.altKey) return;
      if (target.closest("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select")) {
        if (event.key === "Escape") target.blur();
        return;
      }
      if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
      if (target.closest("button, a, summary") && (event.key === " " || event.key === "Enter")) return;
      const key = (event.ctrlKey || event.metaKey ? "ctrl+" : "") + event.key.toLowerCase();
      const binding = bindings.find(({ keys }) => keys.includes(key));
      if (!binding) return;
      event.preventDefault();
      if (event.repeat && binding.once) return;
      binding.run(key, event.shiftKey);
    },
    { signal },
  );
}

/**
 * Show the list of keys.
 * @param {Binding[]} bindings
 */
export function showKeys(bindings) {
  const rows = bindings.filter(({ shown }) => shown).map(({ shown, does }) => [keys(shown), does]);
  const extra = [[keys("Space"), T.key_hold]];
  const box = dialog(T.keys_title, table([T.key_column, T.key_does], [...rows, ...extra]), h("button", { type: "button", click: () => box.close() }, T.close));
  box.id = "keys-list";
}

/** @param {string} shown keys between spaces */
function keys(shown) {
  return h("span", { class: "keys" }, ...shown.split(" ").map((key) => h("kbd", {}, key)));
}
