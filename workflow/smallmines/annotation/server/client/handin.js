// Hand in: what would be handed in and what is wrong with it, then the result, then what the workflow makes again.

import { api, ApiError } from "./api.js";
import { dialog, h, show, table } from "./dom.js";
import { fill, T, text } from "./texts.en.js";

const POLL = 1500;

/**
 * @param {{id: string, stream: string}} state session and stream
 * @param {import("./outbox.js").Outbox} outbox
 * @param {() => void} done after a hand-in
 */
export function handIn(state, outbox, done) {
  const body = h("div", { id: "hand-in-body", "aria-live": "polite" }, h("p", {}, T.hand_in_wait));
  const confirm = h("button", { id: "hand-in-confirm", type: "button", class: "main" }, T.hand_in);
  const close = h("button", { id: "hand-in-close", type: "button", click: () => box.close() }, T.cancel);
  const box = dialog(T.hand_in_title, body, h("div", { class: "row end" }, close, confirm));
  confirm.disabled = true;

  const attempt = async (/** @type {boolean} */ dry) => {
    confirm.disabled = true;
    try {
      if (!(await outbox.drained(state.stream))) throw new ApiError(0, { found: fill(T.unsaved, { n: outbox.waiting(state.stream).length }), do: outbox.paused ? T.other_tab : T.offline });
      const result = await api.handIn(state.id, outbox.writer, dry);
      show(body, ...summary(result, dry));
      confirm.disabled = !dry || !(result.events || result.pending);
      if (dry) return;
      confirm.remove();
      show(close, T.close);
      done();
      if (result.events) await follow(state, body, box);
    } catch (error) {
      show(body, fault(error));
    }
  };
  confirm.addEventListener("click", () => void attempt(false));
  void attempt(true);
}

/**
 * @param {import("./api.js").HandedIn} result
 * @param {boolean} dry
 */
function summary(result, dry) {
  const none = dry && result.pending ? T.hand_in_same : T.hand_in_none;
  const title = !result.events ? none : dry ? fill(T.hand_in_dry, { n: result.events }) : fill(T.hand_in_done, { n: result.events });
  const counts = Object.entries(result.counts).filter(([, count]) => count).map(([name, count]) => [text("", name), String(count)]);
  return [
    h("p", { id: "hand-in-result" }, title),
    ...(counts.length ? [table([T.hand_in_kind, T.hand_in_count], counts)] : []),
    ...(result.stale ? [h("p", { class: "help" }, T.hand_in_stale)] : []),
    ...(result.warnings.length ? [h("h3", {}, T.warnings), h("ul", {}, ...result.warnings.map((warning) => h("li", {}, warning)))] : []),
    ...(result.file ? [h("p", { class: "help" }, `${T.hand_in_file}: `, h("code", {}, result.file))] : []),
  ];
}

/** @param {unknown} error */
export function fault(error) {
  if (!(error instanceof ApiError)) return h("p", { class: "problem" }, error instanceof Error ? error.message : String(error));
  const { expected, found, do: remedy } = error.lines;
  const lines = [[T.expected, expected], [T.found, found ?? error.message], [T.do, remedy]].filter(([, line]) => line);
  return h("dl", { class: "problem" }, ...lines.flatMap(([name, line]) => [h("dt", {}, name ?? ""), h("dd", { class: "lines" }, line ?? "")]));
}

/**
 * Show what the workflow will make again, as soon as it is known.
 * @param {{id: string, stream: string}} state session and stream
 * @param {HTMLElement} body
 * @param {HTMLDialogElement} box
 */
async function follow(state, body, box) {
  const lines = h("ul", { id: "rerun" }, h("li", {}, T.hand_in_look));
  body.append(h("h3", {}, T.hand_in_again), lines);
  while (box.open) {
    const { state: at, lines: texts } = await api.rerun(state.id);
    if (at !== "running") {
      show(lines, ...texts.map((line) => h("li", {}, line)));
      lines.dataset.state = at;
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL));
  }
}
