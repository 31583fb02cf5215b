// What is known about the selected segment.

import { api } from "./api.js";
import { h, show, table } from "./dom.js";
import { LABEL_OF } from "./state.js";
import { fill, T, text } from "./texts.en.js";

export class DetailsPanel {
  /**
   * @param {import("./state.js").State} state
   */
  constructor(state) {
    this.state = state;
    this.body = h("div", { id: "details" }, h("p", { class: "help" }, T.details_none));
    this.opinions = h("div", { id: "opinions" });
    const hint = state.isPoints ? h("p", { class: "help" }, T.point_help) : null;
    const title = state.isPoints ? T.details_point : T.details;
    this.root = h("section", { class: "details", "aria-label": title }, h("h2", {}, title), hint, this.opinions, this.body);
    this.shown = 0;
    state.addEventListener("selected", () => void this.show());
    state.addEventListener("changed", (event) => {
      const { ids } = /** @type {CustomEvent} */ (event).detail;
      if (ids === null || ids.includes(state.selected)) void this.show();
    });
  }

  /** Fetch and show the selected segment. */
  async show() {
    const segment = this.state.selected;
    this.shown = segment;
    if (!segment) return show(this.body, h("p", { class: "help" }, T.details_none));
    try {
      const details = await api.segment(this.state.id, segment);
      if (this.shown === segment) this.#fill(details);
    } catch (error) {
      if (this.shown === segment) show(this.body, h("p", { class: "problem" }, error instanceof Error ? error.message : String(error)));
    }
    return undefined;
  }

  /** @param {any} details */
  #fill(details) {
    const { state } = this;
    /** @type {[string, string | Node][]} */
    const rows = [];
    if (details.prediction) {
      rows.push([T.prediction, text("", details.prediction)]);
      rows.push([T.probability, `${number(details.probability)} (${fill(T.threshold, { n: number(details.threshold) })})`]);
    }
    if (details.why) rows.push([T.why, text("why_", details.why)]);
    for (const other of details.other_years) {
      const share = other.mining_share === null ? "–" : Math.round(other.mining_share * 100);
      rows.push([other.year, fill(T.other_year, { year: "", label: text("", other.label), share }).replace(/^: /, "")]);
    }
    if (details.previous) rows.push([T.before, details.previous]);
    rows.push([state.opened.kind === "adjudication" ? T.decide : T.own, this.#own(details)]);
    rows.push([T.area, fill(T.area_value, { px: details.area_px, ha: details.area_ha })]);
    rows.push([T.tile, details.tile], [T.place, `${details.lat}, ${details.lon}`]);
    show(
      this.body,
      h("dl", {}, ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      ...(details.reasons.length ? [this.#reasons(details.reasons)] : []),
      h("p", { class: "links" }, ...this.#links(details)),
    );
    this.#showOpinions(String(details.opinions ?? ""));
    state.dispatchEvent(new CustomEvent("details", { detail: details }));
  }

  /** @param {any} details */
  #own(details) {
    const label = LABEL_OF[this.state.own[details.segment]];
    const own = details.own;
    if (!label) return T.unseen;
    const parts = [text("", label)];
    if (own && own.label === label) {
      parts.push(`(${own.handed_in ? T.handed_in : T.not_handed_in})`);
      const form = own.form ?? {};
      for (const name of ["confidence", "reason", "evidence", "evidence_date", "note"]) if (form[name]) parts.push(`· ${form[name]}`);
    }
    return parts.join(" ");
  }

  /** @param {any[]} reasons */
  #reasons(reasons) {
    const most = Math.max(...reasons.map((reason) => reason.importance), 1e-9);
    return h(
      "details",
      { open: true },
      h("summary", {}, T.reasons),
      h("p", { class: "help" }, T.reasons_help),
      table(
        [T.feature, T.value, T.of_mining, T.of_other],
        reasons.map((reason) => [
          h("span", {}, reason.feature, h("meter", { min: 0, max: most, value: reason.importance, title: number(reason.importance) })),
          number(reason.value),
          number(reason.mining),
          number(reason.other),
        ]),
      ),
    );
  }

  /**
   * Links to other maps at the place and day, and the tile as KMZ.
   * @param {any} details
   */
  #links(details) {
    const { links, days, year, session, tiles } = this.state.opened;
    const date = days[year]?.[0] ?? `${year}-01-31`;
    const places = Object.entries(links).map(([title, template]) =>
      h("a", { href: fill(template, { lat: details.lat, lon: details.lon, date }), target: "_blank", rel: "noopener noreferrer" }, title),
    );
    const kmz = tiles.some((tile) => tile.tile_id === details.tile) && !this.state.isPoints;
    return [...places, ...(kmz ? [h("a", { href: `/api/sessions/${session}/tiles/${encodeURIComponent(details.tile)}.kmz`, download: "" }, T.kmz)] : [])];
  }

  /**
   * Opinions of others, one a card.
   * @param {string} opinions lines or parts between semicolons
   */
  #showOpinions(opinions) {
    if (!opinions) return show(this.opinions);
    const cards = opinions.split(/\n|; (?=[A-Za-z0-9_.-]+: )/).map((opinion) => {
      const [, who, rest] = opinion.match(/^([A-Za-z0-9_.-]+): ([^]*)$/) ?? ["", "", opinion];
      const label = /^not[_ ]mining/.test(rest) ? "not_mining" : /^mining/.test(rest) ? "mining" : "unsure";
      return h("article", { class: `opinion ${label}` }, h("strong", {}, who), h("span", {}, ` ${rest.replace("not_mining", T.not_mining)}`));
    });
    return show(this.opinions, h("h3", {}, T.opinions), ...cards);
  }
}

/** @param {number | null | undefined} value */
function number(value) {
  return value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString();
}
