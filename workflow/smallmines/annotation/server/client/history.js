// What can be undone and done again, from the batches of a session in their order.

/** @typedef {{uuid: string, undo: string, refused?: boolean}} Made a batch; the one that it undoes, empty: none */

/**
 * Numbers of the batches to undo and of those to do again; the next one is last.
 * @param {Made[]} batches
 */
export function replay(batches) {
  /** @type {string[]} */
  const past = [];
  /** @type {string[]} */
  const future = [];
  for (const { uuid, undo, refused } of batches) {
    if (!undo) {
      past.push(uuid);
      if (!refused) future.length = 0; // the server never had a refused one
    } else if (past.at(-1) === undo) {
      past.pop();
      future.push(uuid);
    } else if (future.at(-1) === undo) {
      future.pop();
      past.push(uuid);
    } else {
      past.length = future.length = 0; // it undoes what is handed in: what can be undone begins after it
    }
  }
  return { past, future };
}
