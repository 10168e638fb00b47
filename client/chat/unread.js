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
    const last = theirs.at(-1);
    if (last && isAfter(last, this._memory.read) && this._isOpen() && document.visibilityState === "visible") this._memory.read = last.at;
    const { read } = this._memory;
    const count = theirs.filter((entry) => isAfter(entry, read)).length;
    if (count === this.count) return;
    this.count = count;
    this._changed(count);
  }
}

/** The hook's clock and the browser's may write a time differently. */
function isAfter({ at }, read) {
  return Date.parse(at) > (Date.parse(read) || 0);
}
