// How many messages have come that nobody has seen, in step with the customer's other tabs. What has come is seen while the chat
// is open and the page is, too.

export class Unread {
  /**
   * @param memory keeps when what was read last was said
   * @param theirs () the entries of the other side
   * @param isOpen () whether the chat shows them
   * @param changed (count)
   * @param signal ends it
   */
  constructor(memory, { theirs, isOpen, changed, signal }) {
    Object.assign(this, { count: 0, _memory: memory, _theirs: theirs, _isOpen: isOpen, _changed: changed });
    const again = () => this.update();
    window.addEventListener("storage", ({ key }) => key === memory.readKey && again(), { signal });
    document.addEventListener("visibilitychange", again, { signal });
  }

  update() {
    const theirs = this._theirs();
    const last = theirs.at(-1)?.at;
    const read = this._memory.read;
    if (last && this._isOpen() && document.visibilityState === "visible" && !(read >= last)) this._memory.read = last;
    const count = theirs.filter(({ at }) => at > (this._memory.read ?? "")).length;
    if (count === this.count) return;
    this.count = count;
    this._changed(count);
  }
}
