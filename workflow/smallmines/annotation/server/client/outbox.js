// Edits on their way to the server: written into IndexedDB first, sent in order, removed when the server has acknowledged them.

import { api, ApiError } from "./api.js";

/**
 * @typedef {{order?: number, uuid: string, session: string, stream?: string, annotator: string, run: string,
 *   batch: {edits?: import("./api.js").Edit[], undo?: string}, refused?: {found: string, do: string}}} Entry
 *
 * `stream`: year, block and kind, whose edits are handed in together, of whatever session; missing in entries of earlier versions.
 */

const WAITS = [500, 1000, 2000, 5000];
const REFUSED = "refused";

/**
 * @param {IDBRequest} request
 * @returns {Promise<any>}
 */
const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/** @returns {Promise<IDBDatabase>} */
function database() {
  const request = indexedDB.open("smallmines", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("outbox", { keyPath: "order", autoIncrement: true });
  return result(request);
}

export class Outbox extends EventTarget {
  /**
   * @param {string} writer id of this page as the one writer
   */
  constructor(writer) {
    super();
    this.writer = writer;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {IDBDatabase | null} */
    this.store = null;
    /** @type {WeakMap<Entry, Promise<void>>} */
    this.keeping = new WeakMap();
    this.sending = false;
    this.failures = 0;
    this.paused = false;
    /** Session and stream that this page labels; another tab may label others. */
    this.open = "";
    this.stream = "";
    /** Batches that the server has acknowledged since the page opened. */
    this.acknowledged = 0;
    /** Sessions in which another tab writes. @type {Set<string>} */
    this.blocked = new Set();
    this.owner = "";
    this.run = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    addEventListener("online", () => this.flush());
    addEventListener("beforeunload", (event) => {
      if (this.waiting().length) event.preventDefault();
    });
  }

  /**
   * Read what an earlier page left of this person and run, and begin to send it.
   * @param {string} annotator
   * @param {string} run
   */
  async start(annotator, run) {
    this.owner = annotator;
    this.run = run;
    try {
      this.store ??= await database();
      const all = /** @type {Entry[]} */ (await result(this.store.transaction("outbox").objectStore("outbox").getAll()));
      const known = new Set(this.entries.map((entry) => entry.uuid));
      const kept = all.filter((entry) => entry.annotator === annotator && entry.run === run && !known.has(entry.uuid));
      this.entries = [...kept, ...this.entries.filter((entry) => entry.annotator === annotator && entry.run === run)];
    } catch {
      this.dispatchEvent(new Event("memory"));
    }
    this.#changed();
    void this.flush();
  }

  /**
   * Entries that the server has neither acknowledged nor refused.
   * @param {string} [stream] only those that are, or may be, of this stream
   */
  waiting(stream) {
    return this.entries.filter((entry) => !entry.refused && (!stream || !entry.stream || entry.stream === stream));
  }

  /** Entries that the server refused. */
  refused() {
    return this.entries.filter((entry) => entry.refused);
  }

  /**
   * Keep a batch on the disk, then send it.
   * @param {string} session
   * @param {string} uuid
   * @param {Entry["batch"]} batch
   * @param {string} [stream]
   */
  async add(session, uuid, batch, stream) {
    /** @type {Entry} */
    const entry = { uuid, session, stream, annotator: this.owner, run: this.run, batch };
    const undone = this.refused().find((refused) => refused.uuid === batch.undo);
    if (undone) {
      await this.#takenBack([undone, entry]);
      return;
    }
    this.entries.push(entry);
    const kept = this.#keep(entry);
    this.keeping.set(entry, kept);
    this.#changed();
    await kept;
    for (const refused of this.refused()) if (refused !== entry) await this.#leaveToLater(refused, [entry]);
    void this.flush();
  }

  /** Send what waits, in order, until the server does not answer. */
  async flush() {
    if (this.sending || this.paused) return;
    this.sending = true;
    clearTimeout(this.timer);
    try {
      this.blocked.clear();
      for (let entry = this.#next(); entry && !this.paused; entry = this.#next()) {
        if (!(await this.#send(entry))) break;
      }
    } finally {
      this.sending = false;
    }
    if (this.waiting().length && !this.paused) {
      this.timer = setTimeout(() => this.flush(), WAITS[Math.min(this.failures, WAITS.length) - 1] ?? WAITS[0]);
    }
  }

  /** The first entry whose session takes edits of this page; those of the open block go first. */
  #next() {
    const free = this.waiting().filter((entry) => !this.blocked.has(entry.session));
    return free.find((entry) => !entry.stream || entry.stream === this.stream) ?? free[0];
  }

  /**
   * Send one entry; false where the rest has to wait.
   * @param {Entry} entry
   */
  async #send(entry) {
    await this.keeping.get(entry);
    try {
      const answer = await api.edits(entry.session, { uuid: entry.uuid, writer: this.writer, ...entry.batch });
      this.failures = 0;
      this.acknowledged += 1;
      await this.#forget(entry);
      this.dispatchEvent(new CustomEvent("sent", { detail: { entry, answer } }));
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return this.#failed(entry, error);
    }
  }

  /**
   * @param {Entry} entry
   * @param {ApiError} error
   */
  async #failed(entry, error) {
    if (error.status === 423 && entry.session !== this.open) {
      this.failures = WAITS.length;
      this.blocked.add(entry.session);
      return true;
    }
    if (error.status === 423) {
      this.paused = true;
      this.dispatchEvent(new Event("taken"));
      return false;
    }
    if (error.passing) {
      this.failures += 1;
      this.dispatchEvent(new Event(error.status === 401 ? "login" : "offline"));
      return false;
    }
    entry.refused = { found: error.message, do: error.lines.do ?? "" };
    const undo = this.waiting().find(({ batch }) => batch.undo === entry.uuid);
    if (undo) {
      const redo = this.waiting().find(({ batch }) => batch.undo === undo.uuid);
      if (redo) redo.batch = entry.batch; // the server has nothing to do again: it does it for the first time
      await this.#takenBack([entry, undo]);
      if (redo) await this.keeping.get(redo);
      if (redo) await this.#keep(redo);
      return true;
    }
    if (entry.batch.undo) {
      this.dispatchEvent(new CustomEvent(REFUSED, { detail: { entry } }));
      await this.#takenBack([entry]);
      return true;
    }
    await this.#keep(entry);
    await this.#leaveToLater(entry, this.entries.slice(this.entries.indexOf(entry) + 1));
    this.dispatchEvent(new CustomEvent(REFUSED, { detail: { entry } }));
    this.#changed();
    return true;
  }

  /**
   * Forget refused batches and what undoes them: the server never had them.
   * @param {Entry[]} entries
   */
  async #takenBack(entries) {
    const written = entries.map((entry) => this.#forget(entry));
    this.#settled(entries);
    await Promise.all(written);
  }

  /**
   * Leave out of a refused entry what later edits are about: sent again, it must not take their place.
   * @param {Entry} refused
   * @param {Entry[]} later
   */
  async #leaveToLater(refused, later) {
    const edits = later.flatMap(({ session, batch }) => (session === refused.session ? (batch.edits ?? []) : []));
    const segments = new Set(edits.flatMap((edit) => edit.segments ?? []));
    const tiles = new Set(edits.map((edit) => edit.tile));
    if (!edits.length || !refused.batch.edits) return;
    refused.batch.edits = refused.batch.edits
      .map((edit) => (edit.segments ? { ...edit, segments: edit.segments.filter((id) => !segments.has(id)) } : edit))
      .filter((edit) => (edit.segments ? edit.segments.length > 0 : !tiles.has(edit.tile)));
    if (refused.batch.edits.length) return this.#keep(refused);
    await this.#forget(refused);
    this.#changed();
  }

  /** Send what was refused once more. */
  async again() {
    for (const entry of this.refused()) {
      delete entry.refused;
      await this.#keep(entry);
    }
    this.#changed();
    await this.flush();
    this.#settled();
  }

  /** Forget what was refused, by the person's choice. */
  async drop() {
    await this.#takenBack(this.refused());
  }

  /**
   * Go on after this page has become the writer of a session.
   * @param {string} session
   * @param {string} stream
   */
  async resume(session, stream) {
    this.open = session;
    this.stream = stream;
    this.paused = false;
    await this.flush();
  }

  /**
   * Wait until nothing waits; false after some seconds.
   * @param {string} [stream] only entries that are, or may be, of this stream
   */
  async drained(stream, seconds = 20) {
    const end = Date.now() + seconds * 1000;
    void this.flush();
    while (this.waiting(stream).length && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
    return this.waiting(stream).length === 0;
  }

  /** @param {Entry} entry */
  async #keep(entry) {
    if (!this.store) return;
    try {
      const change = this.store.transaction("outbox", "readwrite", { durability: "strict" });
      const order = result(change.objectStore("outbox").put(entry));
      const written = new Promise((resolve, reject) => {
        change.oncomplete = resolve;
        change.onabort = change.onerror = () => reject(change.error);
      });
      entry.order = await order;
      await written;
    } catch {
      this.dispatchEvent(new Event("memory"));
    }
  }

  /** @param {Entry} entry */
  async #forget(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    this.#changed();
    await this.keeping.get(entry);
    if (!this.store || entry.order === undefined) return;
    try {
      await result(this.store.transaction("outbox", "readwrite").objectStore("outbox").delete(entry.order));
    } catch {
      this.dispatchEvent(new Event("memory"));
    }
  }

  /**
   * Say that refused edits were sent again or forgotten: only the server knows what is in force.
   * @param {Entry[]} [forgotten]
   */
  #settled(forgotten = []) {
    this.dispatchEvent(new CustomEvent("settled", { detail: { forgotten: forgotten.map(({ uuid }) => uuid) } }));
  }

  #changed() {
    this.dispatchEvent(new Event("changed"));
  }
}

/**
 * Id of this page as a writer. It stays over a reload; a duplicated tab, which has a copy of it, takes a new one.
 * @param {() => string} fresh
 * @returns {Promise<string>}
 */
export async function writerOfTab(fresh) {
  const kept = sessionStorage.getItem("writer");
  const channel = new BroadcastChannel("smallmines-writers");
  let writer = kept ?? fresh();
  if (kept) {
    const taken = await new Promise((resolve) => {
      channel.onmessage = (event) => event.data === `${kept} is mine` && resolve(true);
      channel.postMessage(`${kept}?`);
      setTimeout(() => resolve(false), 150);
    });
    if (taken) writer = fresh();
  }
  sessionStorage.setItem("writer", writer);
  channel.onmessage = (event) => event.data === `${writer}?` && channel.postMessage(`${writer} is mine`);
  return writer;
}
