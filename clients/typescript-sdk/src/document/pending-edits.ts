/**
 * What a person has typed and the replica does not hold yet.
 *
 * An editor shows its person's text at once. The operations are written on the pulse, so they must not be in the
 * document before: an import would commit them, on top of a version that is about to be old.
 */
export interface PendingEdits {
  /** Changes that wait, 0 when there are none. */
  readonly count: number;
  /**
   * Writes what waits into the document, inserting at most `insertedBytesMax` bytes of text; the session commits. What
   * did not fit waits on.
   */
  write(insertedBytesMax: number): void;
}
