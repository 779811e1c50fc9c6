// Log: the newest of what came, drawn on a list once a frame, the newest on top.
//
// A thousand items a second cost no more than those that are still kept when the browser draws.

export class Log {
  /**
   * @param {HTMLElement} list
   * @param {number} limit how many items are kept
   * @param {(item: object) => HTMLElement} draw
   * @param {(log: Log) => void} changed called when the list or the counts have changed
   */
  constructor(list, limit, draw, changed) {
    Object.assign(this, { list, limit, draw, changed });
    this.total = 0;
    this.paused = false;
    this.matches = () => true;
    this.kept = []; // the oldest first, as `held`
    this.held = []; // what came while the log is paused
    this.undrawn = 0; // of the newest of `kept`
    this.drawing = false;
  }

  add(item) {
    this.total += 1;
    append(this.paused ? this.held : this.kept, item, this.limit);
    if (!this.paused) this.undrawn += 1;
    this.drawSoon();
  }

  togglePause() {
    this.paused = !this.paused;
    for (const item of this.held.splice(0)) {
      append(this.kept, item, this.limit);
      this.undrawn += 1;
    }
    this.drawSoon();
  }

  clear() {
    this.kept = [];
    this.held = [];
    this.total = this.undrawn = 0;
    this.list.replaceChildren();
    this.changed(this);
  }

  /** List only the items that match. */
  filter(matches) {
    this.matches = matches;
    for (const item of this.kept) if (item.element) item.element.hidden = !matches(item);
    this.changed(this);
  }

  /** Return the items that are listed, the oldest first. */
  get listed() {
    return this.kept.filter(this.matches);
  }

  drawSoon() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.drawNew();
      this.changed(this);
    });
  }

  drawNew() {
    const fresh = this.undrawn ? this.kept.slice(-this.undrawn) : [];
    this.undrawn = 0;
    for (const item of fresh) {
      item.element = this.draw(item);
      item.element.hidden = !this.matches(item);
    }
    this.list.prepend(...fresh.map((item) => item.element).reverse());
    while (this.list.childElementCount > this.limit) this.list.lastElementChild.remove();
  }
}

function append(items, item, limit) {
  items.push(item);
  if (items.length > limit) items.shift();
}
