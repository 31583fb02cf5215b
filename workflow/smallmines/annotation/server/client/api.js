// Calls of the server. Errors come as three lines: expected, found, do.

/**
 * @typedef {{annotator: string | null, role: string, run: string, needs_token: boolean, annotators: string[], years: string[], blocks: string[],
 *   version: string}} Me
 * @typedef {{year: string, block: string, kind: string, left: number | null, done: number | null, pending: number,
 *   asked_first: boolean, available: boolean, why_not: string}} Work
 * @typedef {{id: string, title: string, year: string, style: string, version: string}} LayerInfo
 * @typedef {{tile_id: string, row: number, col: number, size: number}} TileInfo
 * @typedef {{session: string, digest: string, shape: [number, number], resolution: number, transform: number[], crs: string,
 *   levels: number, segments: number, threshold: number, provenances: string[], layers: LayerInfo[], tiles: TileInfo[],
 *   links: Record<string, string>, days: Record<string, string[]>, own: {pending: number}, done_tiles: string[],
 *   kind: string, year: string, block: string, changed: boolean}} Opened
 * @typedef {{segment: number[], why: string[], row: number[], col: number[], opinions?: Opinion[][]}} Queue
 * @typedef {{annotator: string, label: string, confidence?: string, reason?: string, evidence?: string, evidence_date?: string,
 *   note?: string, time?: string}} Opinion
 * @typedef {{confidence: string, reason: string, evidence: string, evidence_date: string, note: string}} FormValues
 * @typedef {{segments?: number[], tile?: string, status?: "done" | "open", label?: string, look: string, form: FormValues}} Edit
 * @typedef {{segments?: number[], label?: string, tile?: string, status?: string}} Restored
 * @typedef {{uuid: string, seq: number, edits: number, changed: boolean, pending: number, restored?: Restored[]}} Acknowledgement
 * @typedef {{events: number, counts: Record<string, number>, file: string | null, warnings: string[], stale: boolean,
 *   pending: number}} HandedIn
 * @typedef {{state: "none" | "waiting" | "running" | "done" | "failed", before: number, seconds: number, labels: number,
 *   threshold: number | null, error: string}} Learning
 */

export class ApiError extends Error {
  /**
   * @param {number} status of the answer; 0 where there is none
   * @param {{expected?: string, found?: string, do?: string, kind?: string}} lines
   */
  constructor(status, lines) {
    super(lines.found || lines.expected || `status ${status}`);
    this.status = status;
    this.lines = lines;
  }

  /** Whether the same call may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 401 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/**
 * @param {string} path
 * @param {{method?: string, body?: unknown, timeout?: number, keepalive?: boolean}} [options]
 * @returns {Promise<Response>}
 */
async function call(path, { method = "GET", body, timeout = 60000, keepalive = false } = {}) {
  /** @type {RequestInit} */
  const request = { method, signal: AbortSignal.timeout(timeout), keepalive, credentials: "same-origin" };
  if (method !== "GET") {
    request.body = JSON.stringify(body ?? {});
    request.headers = { "Content-Type": "application/json" };
  }
  /** @type {Response} */
  let response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    throw new ApiError(0, { found: String(error) });
  }
  if (response.ok) return response;
  const lines = await response.json().then(
    (content) => content.error ?? {},
    () => ({}),
  );
  throw new ApiError(response.status, lines);
}

/**
 * @param {string} path
 * @param {{method?: string, body?: unknown, timeout?: number, keepalive?: boolean}} [options]
 */
async function json(path, options) {
  const response = await call(path, options);
  return response.status === 204 ? {} : response.json();
}

/**
 * @param {string} path
 * @param {unknown} [body]
 */
const post = (path, body) => json(path, { method: "POST", body });

/** @param {string} session */
const at = (session) => `/api/sessions/${session}`;

export const api = {
  /** @returns {Promise<Me>} */
  me: () => json("/api/me"),
  /** @param {{token: string} | {annotator: string}} who */
  login: (who) => post("/api/login", who),
  logout: () => post("/api/logout"),
  /** @returns {Promise<{rows: Work[]}>} */
  work: () => json("/api/work"),
  /**
   * @param {{year: string, block: string, kind: string, tiles: string[] | null, everything: boolean, writer: string,
   *   take_over: boolean}} what
   * @returns {Promise<Opened>}
   */
  open: async (what) => ({ ...(await json("/api/open", { method: "POST", body: what, timeout: 300000 })), kind: what.kind, year: what.year, block: what.block }),
  /**
   * @param {string} session
   * @param {object} batch
   * @returns {Promise<Acknowledgement>}
   */
  edits: (session, batch) => post(`${at(session)}/edits`, batch),
  /**
   * Batches that are not handed in, in their order.
   * @param {string} session
   * @returns {Promise<{batches: import("./history.js").Made[]}>}
   */
  history: (session) => json(`${at(session)}/history`),
  /**
   * @param {string} session
   * @param {string} writer
   */
  heartbeat: (session, writer) => post(`${at(session)}/heartbeat`, { writer }),
  /**
   * @param {string} session
   * @param {"run" | "learned"} order
   * @returns {Promise<Queue>}
   */
  queue: (session, order) => json(`${at(session)}/queue?order=${order}`),
  /**
   * @param {string} session
   * @param {number} segment
   */
  segment: (session, segment) => json(`${at(session)}/segment/${segment}`),
  /**
   * @param {string} session
   * @param {number} segment
   * @param {number} similarity
   * @returns {Promise<{segments: number[]}>}
   */
  grow: (session, segment, similarity) => post(`${at(session)}/grow`, { segment, similarity }),
  /**
   * @param {string} session
   * @param {string} writer
   * @param {boolean} dry
   * @returns {Promise<HandedIn>}
   */
  handIn: (session, writer, dry) => json(`${at(session)}/handin`, { method: "POST", body: { writer, dry }, timeout: 300000 }),
  /**
   * Leave the edits that are not handed in out of the next hand-in.
   * @param {string} session
   * @param {string} writer
   * @returns {Promise<{pending: number}>}
   */
  drop: (session, writer) => post(`${at(session)}/drop`, { writer }),
  /**
   * @param {string} session
   * @returns {Promise<{state: string, lines: string[]}>}
   */
  rerun: (session) => json(`${at(session)}/rerun`),
  /**
   * @param {string} session
   * @returns {Promise<Learning>}
   */
  learn: (session) => post(`${at(session)}/learn`),
  /**
   * @param {string} session
   * @returns {Promise<Learning>}
   */
  learning: (session) => json(`${at(session)}/learn`),
  /** @returns {Promise<Record<string, Record<string, unknown>[]>>} */
  status: () => json("/api/status"),
  /**
   * A column of the segments; entry 0 is outside.
   * @param {string} session
   * @param {string} name
   * @param {string} version
   * @returns {Promise<ArrayBuffer>}
   */
  column: async (session, name, version) => {
    const response = await call(`${at(session)}/columns/${name}?v=${version}`);
    return response.arrayBuffer();
  },
  /**
   * @param {string} session
   * @param {number} z
   * @param {number} x
   * @param {number} y
   * @param {string} version
   * @returns {Promise<ArrayBuffer>}
   */
  labelTile: async (session, z, x, y, version) => {
    const response = await call(`${at(session)}/segments/${z}/${x}/${y}?v=${version}`);
    return response.arrayBuffer();
  },
};

/** A random UUID; `crypto.randomUUID` is missing on pages without TLS. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
