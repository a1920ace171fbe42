// @ts-check
// Below the panel's table: the last and the next hours, and the last events.

const HORIZONS = [
  [3600, "1 hour"],
  [6 * 3600, "6 hours"],
  [24 * 3600, "24 hours"],
  [7 * 86400, "7 days"],
  [31 * 86400, "31 days"],
  [366 * 86400, "1 year"],
];

/** A collapsible part of the panel. */
class Section {
  constructor(store, key, title, ...tools) {
    this.store = store;
    this.key = key;
    const id = `icr-${makeId()}`;
    const chevron = h("span", { class: "icr-holder" });
    setIcon(chevron, "chevron");
    this.opener = h(
      "button",
      {
        type: "button",
        class: "icr-opener",
        "aria-controls": id,
        on: { click: () => store.setUi({ [key]: !this.isOpen }) },
      },
      chevron,
      h("span", {}, title),
    );
    this.body = h("div", { id, class: "icr-section-body" });
    this.tools = h("span", { class: "icr-tools" }, ...tools);
    const head = h("div", { class: "icr-section-head" }, this.opener, h("span", { class: "icr-grow" }), this.tools);
    this.el = h("div", { class: "icr-section" }, head, this.body);
  }

  get isOpen() {
    return Boolean(this.store.ui[this.key]);
  }

  drawUi() {
    setAttribute(this.opener, "aria-expanded", String(this.isOpen));
    this.body.hidden = !this.isOpen;
    this.tools.hidden = !this.isOpen;
  }
}

const WEEKDAY = { weekday: "short", ...MINUTES };
/** Steps of the axis: seconds, format of an instant, its width in pixels. */
const STEPS = [
  [300, MINUTES, 46],
  [600, MINUTES, 46],
  [1800, MINUTES, 46],
  [3600, MINUTES, 46],
  [7200, MINUTES, 46],
  [14400, MINUTES, 46],
  [43200, WEEKDAY, 74],
  [86400, WEEKDAY, 74],
  [2 * 86400, DAY, 56],
  [7 * 86400, DAY, 56],
  [30 * 86400, DAY, 56],
  [91 * 86400, DAY, 56],
];

/** A section with an axis of time, and a line for each task. */
class Chart extends Section {
  constructor(store, key, title, ...tools) {
    super(store, key, title, ...tools);
    this.axis = h("div", { class: "icr-axis", "aria-hidden": "true" });
    this.lines = h("div", { class: "icr-lines", role: "list" });
    this.chart = h("div", { class: "icr-timeline" }, this.axis, this.lines);
    this.none = h("div", { class: "icr-empty" });
    this.body.append(this.chart, this.none);
    /** @type {Map<string, any>} */
    this.rows = new Map();
    // The axis has as many labels as fit.
    this.sizes = new ResizeObserver(() => this.drawAxis());
    this.sizes.observe(this.axis);
  }

  close() {
    this.sizes.disconnect();
  }

  /** The first instant and the number of seconds; null if there is nothing to show. */
  get range() {
    return null;
  }

  drawAxis() {
    const { range } = this;
    const width = this.axis.clientWidth;
    if (!range || !width) return;
    const [start, horizon] = range;
    const [step, options] = STEPS.find(([size, , room]) => (size / horizon) * width >= room) ?? STEPS[STEPS.length - 1];
    const format = getFormat(undefined, options);
    const room = STEPS.find(([size]) => size === step)?.[2] ?? 0;
    // Whole hours of the browser's clock, which may differ from UTC's by half an hour.
    const shift = new Date(start * 1000).getTimezoneOffset() * 60;
    const first = Math.ceil((start - shift) / step) * step + shift;
    const labels = [];
    for (let at = first; at <= start + horizon * (1 - room / width); at += step) {
      const label = h("span", {}, format.format(at * 1000));
      label.style.left = `${((at - start) / horizon) * 100}%`;
      labels.push(label);
    }
    this.axis.replaceChildren(...labels);
  }
}

/** The last 24 hours of every task, one line each: what became of its slots and calls. */
class LastDay extends Chart {
  constructor(store) {
    super(store, "day", "Last 24 hours");
    this.chart.classList.add("icr-day");
  }

  get range() {
    const { day } = this.store;
    return day ? [day.start, day.step * day.steps] : null;
  }

  drawUi() {
    super.drawUi();
    this.draw();
  }

  draw() {
    const { day } = this.store;
    if (!this.isOpen) return;
    const shown = this.store.findWanted().filter(({ id }) => day?.rows.get(id)?.size);
    const empty = this.store.isFiltered ? "No run of the tasks that are shown." : "Nothing has run in the last 24 hours.";
    setText(this.none, day ? day.note || empty : this.store.isDead ? "It was not loaded." : "Loading…");
    this.chart.hidden = shown.length === 0;
    this.none.hidden = shown.length > 0;
    if (day?.start !== this.start) {
      this.start = day?.start;
      this.drawAxis();
    }
    place(this.lines, shown.map((task) => this.drawRow(task, day)));
  }

  drawRow(task, day) {
    let row = this.rows.get(task.id);
    if (!row) {
      const open = () => this.store.setUi({ open: task.id, run: null });
      const name = h("bdi", {});
      const button = h("button", { type: "button", class: "icr-link icr-clip icr-timeline-name", on: { click: open } }, name);
      const line = h("div", { class: "icr-timeline-line", role: "img" });
      row = { name, button, line, el: h("div", { class: "icr-timeline-row", role: "listitem" }, button, line) };
      this.rows.set(task.id, row);
    }
    const steps = day.rows.get(task.id);
    const kept = day.kept[task.id] ?? null;
    setText(row.name, task.name);
    setAttribute(row.button, "title", `Open ${task.name}`);
    if (row.steps === steps && row.start === day.start && row.kept === kept) return row.el;
    Object.assign(row, { steps, kept, start: day.start });
    const total = [...steps.values()].reduce((sums, counts) => sums.map((sum, n) => sum + counts[n]));
    const since = kept === null ? "" : `; older ones than ${formatInstant(kept, task.zone, this.store.clock.now())} are not kept`;
    setAttribute(row.line, "aria-label", `${task.name}: ${describeCounted(total)}${since}`);
    row.line.replaceChildren(...this.makeGap(day, kept), ...[...steps].map(([n, counts]) => this.makeStep(task, day, n, counts)));
    return row.el;
  }

  /** The time of which nothing is known: not that nothing has happened. */
  makeGap(day, kept) {
    if (kept === null) return [];
    const gap = h("span", { class: "icr-unkept", title: "Older runs are not kept" });
    gap.style.width = `${Math.min(100, ((kept - day.start) / (day.step * day.steps)) * 100)}%`;
    return [gap];
  }

  makeStep(task, day, number, counts) {
    const from = day.start + number * day.step;
    const now = this.store.clock.now();
    const [begin, end] = [from, from + day.step].map((at) => formatInstant(at, task.zone, now, true));
    const step = h("span", {
      class: "icr-step",
      "data-kind": ORDER.find((kind) => counts[COUNTED.indexOf(kind)]),
      "data-ran": counts[0] > 0,
      title: `${begin} to ${end}: ${describeCounted(counts)}`,
    });
    step.style.left = `${(number / day.steps) * 100}%`;
    step.style.width = `${100 / day.steps}%`;
    return step;
  }
}

/** The kinds in the order of the kernel's counts, and in the order of importance. */
const COUNTED = ["finished", "failed", "stopped", "missed", "skipped"];
const ORDER = ["failed", "missed", "stopped", "skipped", "finished"];

function describeCounted(counts) {
  // By a stop, a newer run, or their own job.
  const words = COUNTED.map((kind) => (kind === "stopped" ? "ended early" : kind));
  const parts = counts.map((count, n) => (count ? `${count.toLocaleString("en")} ${words[n]}` : ""));
  return parts.filter(Boolean).join(", ");
}

/** The next hours of every armed task, one line each. */
class Timeline extends Chart {
  constructor(store) {
    const select = h(
      "select",
      {
        class: "icr-select",
        "aria-label": "How far ahead",
        on: { change: () => store.setUi({ horizon: Number(select.value) || null }) },
      },
      h("option", { value: "" }, "Auto"),
      ...HORIZONS.map(([value, text]) => h("option", { value }, String(text))),
    );
    super(store, "timeline", "Next runs", select);
    this.select = select;
    this.now = h("div", { class: "icr-now" });
    this.chart.append(this.now);
  }

  get range() {
    const { timeline } = this.store;
    return timeline ? [timeline.start, timeline.horizon] : null;
  }

  drawUi() {
    super.drawUi();
    this.select.value = String(this.store.ui.horizon ?? "");
    this.draw();
  }

  draw() {
    const { timeline } = this.store;
    if (!this.isOpen) return;
    const marks = timeline?.marks ?? {};
    const armed = this.store.findWanted().filter(({ id }) => marks[id]);
    const ids = armed.map(({ id }) => id).filter((id) => marks[id].length);
    const range = HORIZONS.find(([value]) => value === timeline?.horizon)?.[1];
    setText(this.select.options[0], range ? `Auto: ${range}` : "Auto");
    setText(this.none, armed.length ? `Nothing is due in the next ${range}.` : this.describeNone());
    this.chart.hidden = ids.length === 0;
    this.none.hidden = ids.length > 0;
    if (timeline !== this.drawn) {
      this.drawn = timeline;
      this.drawAxis();
      for (const id of Object.keys(marks)) this.drawRow(id, timeline);
    }
    place(this.lines, ids.map((id) => this.getRow(id).el));
  }

  getRow(id) {
    let row = this.rows.get(id);
    if (!row) {
      const name = h("bdi", { class: "icr-clip icr-timeline-name" });
      const svg = s("svg", {
        class: "icr-marks",
        viewBox: `0 0 ${WIDTH} 14`,
        preserveAspectRatio: "none",
        role: "img",
      });
      const paces = h("div", { class: "icr-paces", "aria-hidden": "true" });
      const line = h("div", { class: "icr-timeline-line" }, svg, paces);
      row = { name, svg, paces, el: h("div", { class: "icr-timeline-row", role: "listitem" }, name, line) };
      this.rows.set(id, row);
    }
    return row;
  }

  describeNone() {
    return this.store.isFiltered ? "No task that is shown is armed." : "No task is armed.";
  }

  drawRow(id, { marks, paces, horizon }) {
    const row = this.getRow(id);
    const task = this.store.tasks.get(id);
    if (!task) return;
    setText(row.name, task.name);
    setAttribute(row.name, "title", task.name);
    drawMarks(row.svg, marks[id], horizon);
    const pace = paces?.[id];
    const bands = pace ? marks[id].filter(Array.isArray) : [];
    row.paces.replaceChildren(
      ...bands.map(([from, to]) => {
        const label = h("span", { class: "icr-pace" }, h("span", {}, pace));
        label.style.left = `${(from / horizon) * 100}%`;
        label.style.width = `${((to - from) / horizon) * 100}%`;
        return label;
      }),
    );
    setAttribute(row.svg, "aria-label", task.words);
    setAttribute(row.el, "title", pace ? `${task.words}: ${pace}` : task.words);
  }

  drawTime(now) {
    const { timeline } = this.store;
    if (!this.isOpen || !timeline) return;
    const share = (now - timeline.start) / timeline.horizon;
    this.chart.style.setProperty("--icr-share", String(Math.min(1, Math.max(0, share))));
  }
}

const SHOWN = 200;
const PROBLEMS = new Set([
  "task:failed",
  "task:restarted",
  "execution:failed",
  "execution:missed",
  "execution:overlap",
  "execution:skipped",
  "execution:retry",
]);

/** The last events, the newest first. */
class EventLog extends Section {
  constructor(store) {
    const box = h("input", {
      type: "checkbox",
      on: { change: () => store.setUi({ problems: box.checked }) },
    });
    super(store, "events", "Events", h("label", { class: "icr-check" }, box, "Problems only"));
    this.box = box;
    this.list = h("div", { class: "icr-events", role: "log", "aria-live": "off", tabindex: "0", "aria-label": "Events" });
    this.none = h("div", { class: "icr-empty" });
    this.body.append(this.list, this.none);
    this.newest = 0;
    /** @type {Map<string, any>} lines of runs that have begun, by run */
    this.begun = new Map();
  }

  drawUi() {
    super.drawUi();
    this.box.checked = Boolean(this.store.ui.problems);
    this.draw();
  }

  /** Start over if other tasks or kinds of events are shown than before, and on another day. */
  narrow() {
    const { ui, isFiltered } = this.store;
    this.isNarrow = Boolean(ui.problems);
    const tasks = isFiltered ? this.store.findWanted() : [];
    this.wanted = isFiltered ? new Set(tasks.map((task) => task.id)) : null;
    this.days = this.findDays(this.store.clock.now());
    const key = JSON.stringify([this.isNarrow, ui.filter, ui.failing, tasks.map((task) => task.id), this.days]);
    if (key === this.drawn) return;
    this.drawn = key;
    this.newest = 0;
    this.begun.clear();
    this.list.replaceChildren();
  }

  /** Today in the zone of each task. */
  findDays(now) {
    const zones = new Set([undefined, ...[...this.store.tasks.values()].map((task) => task.zone)]);
    return [...new Set([...zones].map((zone) => findDay(now, zone)))].sort().join();
  }

  drawTime(now) {
    if (this.isOpen && this.days !== this.findDays(now)) this.draw();
  }

  isWanted(event) {
    if (this.isNarrow && !isProblem(event)) return false;
    if (!this.wanted || this.wanted.has(event.task)) return true;
    // Of a task that is gone, the name is left.
    const { filter, failing } = this.store.ui;
    const isGone = !this.store.tasks.has(event.task);
    return isGone && !failing && event.name.toLocaleLowerCase().includes(filter.trim().toLocaleLowerCase());
  }

  draw() {
    if (!this.isOpen) return;
    this.narrow();
    const wanted = this.store.events.filter((event) => this.isWanted(event));
    const fresh = wanted.slice(-SHOWN).filter((event) => event.number > this.newest);
    if (fresh.length) this.newest = fresh[fresh.length - 1].number;
    const lines = fresh.map((event) => this.makeLine(event));
    this.list.prepend(...lines.filter((line) => !line.isOver).reverse());
    while (this.list.children.length > SHOWN) this.list.lastChild.remove();
    setText(this.none, this.store.events.length ? "No event of the tasks that are shown." : "Nothing has happened yet.");
    this.list.hidden = !this.list.firstChild;
    this.none.hidden = !this.list.hidden;
  }

  /** The line of an event; a run's end replaces its beginning. */
  makeLine(event) {
    const begun = this.begun.get(event.run);
    if (begun) {
      begun.isOver = true; // it may not be on the page yet
      begun.remove();
      this.begun.delete(event.run);
    }
    const line = this.writeLine(event);
    if (event.event === "execution:started") this.begun.set(event.run, line);
    return line;
  }

  writeLine(event) {
    const zone = this.store.tasks.get(event.task)?.zone;
    const now = this.store.clock.now();
    const state = findEventState(event);
    const open = () => this.store.setUi({ open: event.task, run: event.run });
    const name = h(
      "button",
      { type: "button", class: "icr-link icr-clip", title: "Show this run", on: { click: open } },
      h("bdi", {}, event.name),
    );
    return h(
      "div",
      { class: "icr-event", "data-state": state },
      h("span", { class: "icr-number icr-muted" }, formatInstant(event.at, zone, now)),
      h("span", { class: "icr-holder" }, state ? icon(state) : null),
      name,
      h("bdi", { class: "icr-clip", title: event.summary || null }, describeEvent(event, zone, now)),
    );
  }
}

function findEventState(event) {
  const { event: name, stopped, reason } = event;
  if (stopped || reason === "cancelled") return "stopped";
  if (name.endsWith("failed")) return "failed";
  if (name.endsWith("finished")) return "finished";
  if (name === "execution:queued") return "queued";
  if (name === "execution:retry") return findRest(event);
  return isProblem(event) ? "warning" : "";
}

/** What a stop ended, a pause skipped or a job put off is no problem: the user wanted it. */
function isProblem(event) {
  if (event.event === "execution:retry") return findRest(event) === "retrying";
  return PROBLEMS.has(event.event) && !event.stopped && !["paused", "excluded"].includes(event.reason);
}

function describeEvent(event, zone, now) {
  const took = event.duration === null ? "" : formatDuration(event.duration);
  const slot = formatInstant(event.date, zone, now);
  const summary = event.summary && event.summary !== "None" ? event.summary : "";
  switch (event.event) {
    case "execution:started":
      return "run started";
    case "execution:queued":
      return "waits for its turn";
    case "execution:retry":
      return summary ? `an attempt failed: ${summary}` : "snoozed by its job: runs again later";
    case "execution:finished":
      if (event.reason === "cancelled") return `cancelled by its job${summary ? `: ${summary}` : ""}`;
      return `finished in ${took}${summary ? ` → ${summary}` : ""}`;
    case "execution:failed":
      if (event.stopped) return `${event.reason ?? "stopped"}${took ? ` after ${took}` : ""}`;
      return `failed${took ? ` after ${took}` : ""}: ${summary}`;
    case "execution:missed":
      return event.missed > 1 ? `missed ${event.missed} slots, the last at ${slot}` : `missed the slot of ${slot}`;
    case "execution:overlap":
      return `the slot of ${slot} came while a run was in progress`;
    case "execution:skipped":
      if (event.reason === "paused" || event.reason === "excluded") {
        const what = event.missed > 1 ? `${event.missed} slots, the last at ${slot}` : `the slot of ${slot}`;
        return `${event.reason}: skipped ${what}`;
      }
      if (event.reason === "superseded") return `superseded the slot of ${slot} by a newer one`;
      return `left ${slot} to others: ${event.reason}${summary ? ` (${summary})` : ""}`;
    case "execution:max_reached":
      return "has had all its runs";
    case "task:failed":
      return `stopped: ${summary}`;
    case "task:restarted":
      return `worker replaced: ${summary}`;
    default:
      return event.event.replace(":", " ");
  }
}
