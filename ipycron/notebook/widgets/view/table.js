// @ts-check
// Every task of the kernel, one row each, and the details of the open row.

const COLUMNS = [
  { key: "name", title: "Task" },
  { key: "status", title: "Status" },
  { key: "pattern", title: "Schedule" },
  { key: "next", title: "Next run" },
  { key: "last", title: "Last run" },
  { key: "duration", title: "History" },
  { key: "", title: "" },
];

/** The sort key of a column: a text, a number, or null if there is nothing yet. */
const SORTS = {
  status: (task, now) => findStatus(task, now),
  name: (task) => task.name,
  pattern: (task) => task.pattern,
  next: (task, now) => findNext(task.fires, now),
  last: (task) => findStart(findFollowed(task)),
  duration: (task) => task.last?.duration ?? null,
};
/** Columns whose first click shows the largest first: the newest run, the longest. */
const FALLING = new Set(["last", "duration"]);
const COLLATOR = new Intl.Collator(undefined, { numeric: true });

/** Compare two values of a column as ascending; see `SORTS`. */
function compare(a, b) {
  return typeof a === "string" ? COLLATOR.compare(a, b) : a - b;
}

function findStart(run) {
  return run ? (run.started ?? run.date) : null;
}

/** One task of the table, and its detail while it is open. */
class Row {
  /** @param {Store} store @param {string} id @param {(id: string) => void} toggle */
  constructor(store, id, toggle) {
    this.store = store;
    this.id = id;
    this.status = new StatusMark();
    this.countdown = new Countdown(false);
    this.controls = new Controls(store, id, false);
    this.strip = new Strip((run) => store.setUi({ open: id, run }));
    this.name = h("bdi", { class: "icr-name icr-clip" });
    this.words = h("span", { class: "icr-small icr-clip" });
    this.pattern = h("code", { class: "icr-pattern icr-clip" });
    this.at = h("span", { class: "icr-small icr-number icr-clip" });
    this.lastHolder = h("span", { class: "icr-holder" });
    this.last = h("span", { class: "icr-number" });
    this.took = h("span", { class: "icr-took icr-number icr-muted icr-clip" });
    this.lastLine = h("span", { class: "icr-last" }, this.lastHolder, this.last, this.took);
    this.summary = h("bdi", { class: "icr-small icr-clip" });
    const chevron = h("span", { class: "icr-holder" });
    setIcon(chevron, "chevron");
    this.opener = h(
      "button",
      { type: "button", class: "icr-opener", "aria-expanded": "false", on: { click: () => toggle(id) } },
      chevron,
      this.name,
    );
    const counts = (this.counts = h("span", { class: "icr-small icr-counts icr-number icr-clip" }));
    this.el = h(
      "tr",
      { class: "icr-row", "data-task": id },
      h("th", { scope: "row" }, this.opener, counts),
      h("td", {}, this.status.el, this.status.queued),
      h("td", {}, this.pattern, this.words),
      h("td", {}, this.countdown.el, this.at),
      h("td", {}, this.lastLine, this.summary),
      h("td", {}, this.strip.el),
      h("td", { class: "icr-end" }, this.controls.el),
    );
    // A click anywhere in the row also opens it; the button is for keyboard and reader.
    this.el.addEventListener("click", (event) => {
      const isText = !document.getSelection()?.isCollapsed;
      if (!event.target.closest("button") && !isText) toggle(id);
    });
  }

  draw(task, now) {
    if (task === this.task) return;
    this.task = task;
    setText(this.name, task.name);
    setAttribute(this.name, "title", task.name);
    setText(this.pattern, task.pattern);
    setText(this.words, task.words);
    setAttribute(this.words, "title", `${task.words} (${task.zone})`);
    setText(this.counts, describeCounts(task));
    this.strip.draw(task, now);
    this.controls.draw(task);
    setAttribute(this.el, "data-status", task.status);
  }

  drawTime(now) {
    const { task } = this;
    this.status.draw(task, now);
    this.countdown.draw(task, now);
    this.strip.draw(task, now);
    const next = findNext(task.fires, now);
    const isWhole = task.pattern.split(" ").length < 6; // no field of seconds
    const at = next === null ? "" : formatInstant(next, task.zone, now, isWhole);
    setText(this.at, at && at + nameZone(next, task.zone));
    const run = findFollowed(task);
    const state = run ? findState(run, now) : "";
    setAttribute(this.lastLine, "data-state", state);
    this.lastHolder.hidden = !run;
    if (run) setIcon(this.lastHolder, state);
    setText(this.last, run ? describeWhen(run, task.zone, now) : "–");
    setText(this.took, run ? describeTook(run, now) : "");
    const goesOn = run && isResting(run, now) ? `${describeProgress(run, now)}, at ${formatInstant(run.next, task.zone, now)}` : null;
    setAttribute(this.lastLine, "title", goesOn);
    const { trouble } = task;
    const summary = trouble ?? (run ? describeSummary(run) : "");
    setText(this.summary, summary);
    setAttribute(this.summary, "title", summary || null);
    setAttribute(this.summary, "data-state", trouble ? "failed" : state);
  }
}

/** When a run was, or goes on. */
function describeWhen(run, zone, now) {
  return isResting(run, now) ? `in ${formatSpan(Math.ceil(run.next - now))}` : formatInstant(findStart(run), zone, now);
}

function describeTook(run, now) {
  if (isResting(run, now)) return run.attempt ? `attempt ${run.attempt}` : "";
  if (run.state === "queued") return findWaited(run, now);
  if (run.state === "running") return formatSpan(now - (run.started ?? now));
  return run.duration === null ? "" : formatDuration(run.duration);
}

/** The details of the open row: its last runs and the output of one. */
class Detail {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    this.pane = new Pane(store);
    this.head = new RunHead();
    this.runs = new RunList(store, (run) => store.setUi({ run }));
    const side = h("div", { class: "icr-history" }, this.runs.el);
    this.trouble = new Trouble();
    const main = h("div", { class: "icr-detail-main" }, this.trouble.el, this.head.el, this.pane.el);
    const cell = h("td", { colspan: COLUMNS.length }, h("div", { class: "icr-body" }, side, main));
    this.el = h("tr", { class: "icr-detail" }, cell);
    this.id = null;
  }

  open(id) {
    this.id = id;
    this.pane.showWhole(this.known?.pane ?? null);
  }

  get known() {
    const { opened } = this.store;
    return opened && opened.task === this.id ? opened : null;
  }

  take(news) {
    if (!this.id) return;
    if (news === null) this.pane.showWhole(this.known?.pane ?? null);
    else if (news.task === this.id) this.pane.take(news);
  }

  draw(now) {
    const task = this.store.tasks.get(this.id);
    if (!task) return;
    const shown = this.pane.findShown(this.known?.pane);
    this.trouble.draw(task);
    this.head.draw(task, shown, now);
    this.runs.draw(task, this.known?.runs ?? [], shown?.id ?? null, now);
    this.shown = shown?.id ?? null;
  }
}

/** The table of all tasks. */
class Table {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.detail = new Detail(store);
    this.body = h("tbody");
    this.heads = COLUMNS.map((column) => this.makeHead(column));
    const columns = COLUMNS.map(({ key }) => h("col", { class: `icr-col-${key || "end"}` }));
    this.table = h(
      "table",
      { class: "icr-table" },
      h("caption", { class: "icr-hidden" }, "Scheduled tasks"),
      h("colgroup", {}, ...columns),
      h("thead", {}, h("tr", {}, ...this.heads)),
      this.body,
    );
    this.none = h("div", { class: "icr-empty" });
    this.el = h("div", { class: "icr-scroll" }, this.table, this.none);
    this.body.addEventListener("keydown", (event) => this.step(event));
    this.el.addEventListener("scroll", () => this.keepScroll());
  }

  makeHead({ key, title }) {
    if (!key) return h("th", { scope: "col" }, h("span", { class: "icr-hidden" }, "Controls"));
    const orders = [key, `-${key}`, null];
    const [first, second] = FALLING.has(key) ? [orders[1], orders[0]] : orders;
    const sort = () => {
      const { sort: before } = this.store.ui;
      this.store.setUi({ sort: before === first ? second : before === second ? null : first });
    };
    const hint = `Sort by ${key === "duration" ? "the last run's duration" : title.toLowerCase()}`;
    const button = h("button", { type: "button", title: hint, on: { click: sort } }, title);
    return h("th", { scope: "col", "data-key": key }, button);
  }

  keepScroll() {
    clearTimeout(this.scrollTimer);
    this.scrollTimer = setTimeout(() => this.store.setUi({ scroll: this.el.scrollTop }), 600);
  }

  /** Up and down go from row to row, on the same kind of button. */
  step(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest(".icr-row");
    if (!move || !row) return;
    const rows = [...this.body.querySelectorAll(".icr-row")];
    const next = rows[rows.indexOf(row) + move];
    if (!next) return;
    event.preventDefault();
    const kind = [...event.target.classList].find((name) => name.startsWith("icr-do-")) ?? "icr-opener";
    const twin = next.querySelector(`.${kind}:not([hidden])`) ?? next.querySelector(".icr-opener");
    twin.focus();
  }

  find(now) {
    const { sort } = this.store.ui;
    const tasks = this.store.findWanted();
    const key = (sort ?? "").replace("-", "");
    const rank = SORTS[key];
    if (!rank) return tasks;
    const sign = sort.startsWith("-") ? -1 : 1;
    const ranked = tasks.map((task) => [rank(task, now), task]);
    // Rows without a value come last in both orders.
    const missing = ranked.filter(([value]) => value === null);
    const present = ranked.filter(([value]) => value !== null);
    present.sort(([a], [b]) => sign * compare(a, b));
    return [...present, ...missing].map(([, task]) => task);
  }

  draw(now) {
    const tasks = this.find(now);
    for (const [id, row] of this.rows) {
      if (!this.store.tasks.has(id)) {
        row.el.remove();
        this.rows.delete(id);
      }
    }
    const wanted = tasks.flatMap((task) => this.drawRow(task, now));
    place(this.body, wanted);
    if (!wanted.includes(this.detail.el)) this.detail.id = null;
    const { size } = this.store.tasks;
    setText(this.none, size ? "No task matches the filter." : "No task is scheduled.");
    this.fitNames(tasks);
    this.none.hidden = tasks.length > 0;
    this.table.hidden = tasks.length === 0;
    this.drawHeads();
  }

  drawRow(task, now) {
    let row = this.rows.get(task.id);
    if (!row) {
      row = new Row(this.store, task.id, (id) => this.toggle(id));
      this.rows.set(task.id, row);
    }
    row.draw(task, now);
    const isOpen = this.store.ui.open === task.id;
    setAttribute(row.opener, "aria-expanded", String(isOpen));
    setAttribute(row.el, "data-open", isOpen);
    if (!isOpen) return [row.el];
    if (this.detail.id !== task.id) this.detail.open(task.id);
    return [row.el, this.detail.el];
  }

  /** Pass the width of the longest name to the style sheet: columns share the rest. */
  fitNames(tasks) {
    const names = tasks.map((task) => task.name).join("\n");
    if (names === this.fitted) return;
    this.fitted = names;
    const width = Math.max(0, ...tasks.map((task) => measure(task.name)));
    this.el.parentElement?.style.setProperty("--icr-names", `${Math.ceil(width)}px`);
  }

  drawHeads() {
    const { sort } = this.store.ui;
    for (const head of this.heads) {
      const { key } = head.dataset;
      const order = sort === key ? "ascending" : sort === `-${key}` ? "descending" : "none";
      setAttribute(head, "aria-sort", key ? order : null);
    }
  }

  toggle(id) {
    this.store.setUi({ open: this.store.ui.open === id ? null : id, run: null });
  }

  drawTime(now) {
    for (const row of this.rows.values()) if (row.el.isConnected) row.drawTime(now);
    this.detail.draw(now);
    this.drawShown();
  }

  /** Mark the run that is shown in the strip of its task. */
  drawShown() {
    for (const row of this.rows.values()) row.strip.show(row.id === this.detail.id ? this.detail.shown : null);
  }

  drawControls() {
    for (const row of this.rows.values()) row.controls.draw(row.task);
    this.detail.draw(this.store.clock.now());
  }
}

/** @type {CanvasRenderingContext2D | null} */
let canvas = null;

/** The width of a name in pixels, without layout. */
function measure(name) {
  canvas ??= document.createElement("canvas").getContext("2d");
  if (!canvas) return 0;
  canvas.font = `600 13px ${getComputedStyle(document.body).getPropertyValue("--jp-ui-font-family") || "sans-serif"}`;
  return canvas.measureText(name.slice(0, 200)).width;
}

/** Put children in this order, moving as few as possible and keeping the focus. */
function place(parent, wanted) {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const set = new Set(wanted);
  for (const child of [...parent.children]) if (!set.has(child)) child.remove();
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus();
}
