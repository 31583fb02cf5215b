// The form that goes with each decision: given once, used until it is changed. It is kept for the session in this tab.

import { h, labelled, select, show } from "./dom.js";
import { T, text } from "./texts.en.js";

export class Form {
  /**
   * @param {import("./state.js").State} state
   */
  constructor(state) {
    this.key = `form-${state.id}`;
    const kept = JSON.parse(sessionStorage.getItem(this.key) ?? "{}");
    const changed = () => this.#keep();
    this.confidence = select(["", "sure", "likely", "guess"].map((value) => [value, value ? text("", value) : T.confidence_none]), kept.confidence ?? "", changed, { id: "confidence" });
    this.reason = h("input", { id: "reason", type: "text", maxlength: 10000, input: changed });
    this.evidence = h("input", { id: "evidence", type: "text", maxlength: 10000, list: "evidences", autocomplete: "off", input: changed });
    this.day = h("input", { id: "evidence-date", type: "date", list: "days", min: "1972-07-23", input: changed });
    this.note = h("textarea", { id: "note", rows: 2, maxlength: 10000 });
    this.reason.value = kept.reason ?? "";
    this.evidence.value = kept.evidence ?? "";
    this.day.value = kept.evidence_date ?? "";
    this.problem = h("p", { class: "problem", role: "alert", id: "evidence-problem" });
    this.problem.hidden = true;
    const days = Object.values(state.opened.days).flat();
    this.root = h(
      "form",
      { class: "form", "aria-label": T.form, submit: (event) => event.preventDefault() },
      h("h2", {}, T.form),
      h("p", { class: "help" }, T.form_help),
      this.problem,
      labelled(T.evidence, this.evidence),
      labelled(T.evidence_date, this.day),
      h("datalist", { id: "evidences" }, ...["Google Earth", "Planet", "Sentinel-2"].map((value) => h("option", { value }))),
      h("datalist", { id: "days" }, ...days.map((value) => h("option", { value }))),
      labelled(T.confidence, this.confidence),
      labelled(T.reason, this.reason),
      labelled(T.note, this.note),
    );
  }

  #keep() {
    const { note: _, ...kept } = this.values();
    sessionStorage.setItem(this.key, JSON.stringify(kept));
    if (this.hasEvidence()) this.#fault("");
  }

  /** @returns {import("./api.js").FormValues} */
  values() {
    return {
      confidence: this.confidence.value,
      reason: this.reason.value.trim(),
      evidence: this.evidence.value.trim(),
      evidence_date: this.day.value,
      note: this.note.value.trim(),
    };
  }

  /** Values for an edit; the note is used once. */
  take() {
    const values = this.values();
    this.note.value = "";
    return values;
  }

  hasEvidence() {
    return this.evidence.value.trim() !== "" && this.day.value !== "";
  }

  /**
   * Say what is missing, and go there.
   * @param {string} message
   */
  ask(message) {
    this.#fault(message);
    // after the press of the button that led here, which moves the focus to the map
    setTimeout(() => (this.evidence.value.trim() ? this.day : this.evidence).focus());
  }

  /** @param {string} message */
  #fault(message) {
    show(this.problem, message);
    this.problem.hidden = message === "";
    for (const control of [this.evidence, this.day]) {
      const missing = message !== "" && control.value.trim() === "";
      control.setAttribute("aria-invalid", String(missing));
      if (missing) control.setAttribute("aria-describedby", "evidence-problem");
    }
  }
}
