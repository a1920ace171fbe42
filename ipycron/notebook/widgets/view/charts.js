// @ts-check
// Small charts: the last runs, the next hours.

const MARKS = 20; // of a strip, as the kernel sends them

/** What an outcome means to who looks at many: each has a shape of its own. */
const KINDS = {
  queued: "queued",
  running: "running",
  finished: "finished",
  failed: "failed",
  timed_out: "failed",
  crashed: "failed",
  lost: "failed",
  stopped: "stopped",
  cancelled: "stopped",
  replaced: "stopped",
  missed: "missed",
  coordinator_error: "missed",
};

/** @param {string} outcome */
function findKind(outcome) {
  return Object.hasOwn(KINDS, outcome) ? KINDS[outcome] : "skipped";
}

/** An outcome in words, as the kernel's names have no blanks: timed out, missed 12 slots. */
function describeOutcome(outcome, slots = 1) {
  return `${outcome.replaceAll("_", " ")}${slots > 1 ? ` ${slots} slots` : ""}`;
}

/** A mark in words: failed, 03:00:01, 2.1 s. */
function describeMark([, at, took, outcome, slots], zone, now) {
  const words = [describeOutcome(outcome, slots), formatInstant(at, zone, now)];
  if (took !== null) words.push(formatDuration(took));
  return words.join(", ");
}

/**
 * The last runs and slots of a task, newest at the right: each a shape by its outcome,
 * below a bar as high as its duration. A click opens the run. One stop of the tab key;
 * the arrow keys go from mark to mark.
 *
 * One element each, moved and not made again: two hundred strips change each second.
 */
class Strip {
  /** @param {(run: string) => void} pick called with a run's id */
  constructor(pick) {
    this.pick = pick;
    /** @type {Map<string, any>} */
    this.items = new Map();
    this.shown = null;
    this.el = h("div", { class: "icr-strip", role: "group" });
    this.el.addEventListener("keydown", (event) => this.step(event));
    this.el.addEventListener("click", (event) => this.choose(event));
    // "03:00:01" is a date and a time the day after: written when it is read.
    for (const event of ["focusin", "pointerover"]) {
      this.el.addEventListener(event, ({ target }) => this.label(target.closest(".icr-mark")));
    }
  }

  /** @param {any} task @param {number} now */
  draw(task, now) {
    const { marks } = task;
    [this.zone, this.now] = [task.zone, now];
    if (marks === this.marks) return;
    this.marks = marks;
    const ids = new Set(marks.map(([id]) => id));
    for (const [id, item] of this.items) {
      if (ids.has(id)) continue;
      if (item === document.activeElement) item.nextElementSibling?.focus();
      this.items.delete(id);
    }
    const longest = Math.max(0.001, ...marks.map(([, , took]) => took ?? 0));
    place(this.el, marks.map((mark) => this.drawMark(mark, longest)));
    setAttribute(this.el, "aria-label", describeStrip(task));
    this.drawShown();
  }

  drawMark(mark, longest) {
    const [id, , took, outcome] = mark;
    let item = this.items.get(id);
    if (!item) {
      item = h("button", { type: "button", class: "icr-mark", tabindex: "-1" });
      this.items.set(id, item);
    }
    if (item.mark?.join() !== mark.join()) {
      item.mark = mark;
      setAttribute(item, "data-kind", findKind(outcome));
      this.label(item);
    }
    const share = took === null ? "0" : Math.max(0.1, took / longest).toFixed(2);
    if (share !== item.share) item.style.setProperty("--icr-share", share);
    item.share = share;
    return item;
  }

  label(item) {
    if (!item) return;
    const said = describeMark(item.mark, this.zone, this.now);
    setAttribute(item, "title", said);
    setAttribute(item, "aria-label", said);
  }

  /** Mark the run that is shown. @param {string | null} id */
  show(id) {
    if (id === this.shown) return;
    this.shown = id;
    this.drawShown();
  }

  drawShown() {
    for (const [id, item] of this.items) setAttribute(item, "aria-current", id === this.shown ? "true" : null);
    this.setStop();
  }

  /** The mark that the tab key stops at: the focused one, the shown one, or the newest. */
  setStop() {
    const focused = this.el.contains(document.activeElement) ? document.activeElement : null;
    const stop = focused ?? this.items.get(this.shown) ?? this.el.lastElementChild;
    for (const item of this.items.values()) {
      const index = item === stop ? 0 : -1;
      if (item.tabIndex !== index) item.tabIndex = index;
    }
  }

  step(event) {
    const { el } = this;
    const item = event.target.closest(".icr-mark");
    const next = {
      ArrowLeft: item?.previousElementSibling,
      ArrowRight: item?.nextElementSibling,
      Home: el.firstElementChild,
      End: el.lastElementChild,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
    this.setStop();
  }

  choose(event) {
    const item = event.target.closest(".icr-mark");
    if (item) this.pick(item.mark[0]);
  }
}

function describeStrip({ name, marks }) {
  if (!marks.length) return `No run of ${name} yet`;
  const count = (kind) => marks.filter(([, , , outcome]) => findKind(outcome) === kind).length;
  const bad = ["failed", "missed"].map((kind) => [count(kind), kind]).filter(([number]) => number);
  const parts = bad.map(([number, kind]) => `${number} ${kind}`);
  return `Last ${marks.length} of ${name}${parts.length ? `: ${parts.join(", ")}` : ""}`;
}

const WIDTH = 1000;

/** One line of the next hours: a tick for each slot, a band for many slots. */
function drawMarks(svg, marks, horizon) {
  const scale = WIDTH / horizon;
  svg.replaceChildren(
    ...marks.map((mark) => {
      const [from, to] = Array.isArray(mark) ? mark : [mark, mark];
      const x = from * scale;
      const width = Math.max(2.4, (to - from) * scale);
      // A band has room for text on how often it fires.
      const shape = Array.isArray(mark) ? { class: "icr-band", y: 0, height: 14 } : { class: "icr-tick", y: 3, height: 8 };
      return s("rect", { ...shape, x: x.toFixed(1), width: width.toFixed(1) });
    }),
  );
}
