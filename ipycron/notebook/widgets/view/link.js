// @ts-check
// The state of the page, and its connection to the kernel.

const PATIENCE = 1000; // ms until an unacknowledged click is shown as waiting
const SILENCE = 25; // s without a message until the kernel is shown as silent
const MAX_EVENTS = 400;
const MAX_TEXT = 600000; // characters of output that are kept for a second view

/**
 * The state of one model: filled by its first snapshot, changed by messages, shared
 * by all views of it on the page.
 */
class Store {
  /** @param {any} model @param {boolean} isSaved no kernel has made it: it was saved */
  constructor(model, isSaved = false) {
    this.model = model;
    this.isSaved = isSaved;
    this.clock = new Clock();
    this.views = new Set();
    /** @type {Map<string, any>} */
    this.tasks = new Map();
    this.commands = new Map();
    this.notices = [];
    /** Older runs of one task that this page has asked for. @type {any} */
    this.older = null;
    /** Rows of the history that wait to be written, and that are lost. */
    this.behind = [0, 0];
    /** The last 24 hours, once they are shown. @type {any} */
    this.day = null;
    this.connection = isSaved ? "gone" : "live";
    this.lastMessageAt = performance.now();
    this.takeWhole(model.get("state"));
    if (isSaved) this.clock.freeze();
    const session = findNotebook(model)?.sessionContext;
    this.onStatus = (_, status) => this.takeStatus(status);
    session?.statusChanged.connect(this.onStatus);
    this.stopStatus = () => session?.statusChanged.disconnect(this.onStatus);
    this.kernelId = this.getKernelId();
    this.seenId = this.kernelId;
    this.onMessage = (message) => this.take(message);
    this.onRestart = () => this.setConnection("restarted");
    this.onUi = () => this.notify("ui");
    this.onFacts = () => this.notify("facts");
    model.on("msg:custom", this.onMessage);
    model.on("comm_live_update", this.onRestart);
    model.on("change:ui", this.onUi);
    model.on("change:facts", this.onFacts);
    this.stopClock = this.clock.listen(() => this.checkSilence());
    this.send("hello", null);
  }

  close() {
    this.stopClock();
    this.stopStatus();
    this.model.off("msg:custom", this.onMessage);
    this.model.off("comm_live_update", this.onRestart);
    this.model.off("change:ui", this.onUi);
    this.model.off("change:facts", this.onFacts);
    for (const command of this.commands.values()) clearTimeout(command.timer);
  }

  /** Call `view` with what changed: state, output, connection, commands, ui, facts. */
  listen(view) {
    this.views.add(view);
    return () => this.views.delete(view);
  }

  notify(what, detail) {
    for (const view of this.views) view(what, detail);
  }

  // --- from the kernel ------------------------------------------------------------

  take(message) {
    this.lastMessageAt = performance.now();
    if (message.now) this.clock.adjust(message.now);
    if (this.connection === "silent") this.setConnection("live");
    if (message.type === "state") this.takeState(message);
    else if (message.type === "output") this.takeOutput(message);
    else if (message.type === "whole") this.takeWhole(message.state, true);
    else if (message.type === "older") this.takeOlder(message);
    else if (message.type === "note") this.addNotice(message.text, message.task);
    else if (message.type === "ack") this.takeAck(message.id);
    else if (message.type === "done") this.takeDone(message);
  }

  takeWhole(state, isTold = false) {
    this.clock.adjust(state.now);
    this.tasks = new Map(state.tasks.map((task) => [task.id, task]));
    this.events = state.events;
    this.timeline = state.timeline;
    this.opened = state.opened;
    if (isTold) {
      this.notify("state");
      this.notify("output", null);
    }
  }

  takeState(message) {
    for (const delta of message.tasks ?? []) this.takeTask(delta);
    for (const id of message.gone ?? []) this.tasks.delete(id);
    if (message.events) this.addEvents(message.events);
    if (message.timeline !== undefined) this.timeline = message.timeline;
    if (message.behind) this.behind = message.behind;
    if (message.day) this.takeDay(message.day);
    if (message.runs) this.addRuns(message.runs);
    this.notify("state");
  }

  takeTask({ more, ...delta }) {
    const task = { ...(this.tasks.get(delta.id) ?? { marks: [] }), ...delta };
    if (more) {
      // Those of the history's file come later than newer ones.
      const all = new Map([...task.marks, ...more].map((mark) => [mark[0], mark]));
      task.marks = [...all.values()].sort(([, a], [, b]) => a - b).slice(-MARKS);
    }
    this.tasks.set(delta.id, task);
  }

  /** The last 24 hours, whole or what has changed in them. */
  takeDay({ whole, rows, ...day }) {
    const known = whole ? new Map() : new Map(this.day?.rows ?? []);
    for (const [id, steps] of Object.entries(rows)) {
      known.set(id, new Map([...(known.get(id) ?? []), ...steps]));
    }
    this.day = { ...day, rows: known };
  }

  addEvents(events) {
    const last = this.events.length ? this.events[this.events.length - 1].number : 0;
    const fresh = events.filter((event) => event.number > last);
    this.events = [...this.events, ...fresh].slice(-MAX_EVENTS);
  }

  addRuns({ task, runs }) {
    const isSame = this.opened?.task === task;
    const known = isSame ? this.opened.runs : [];
    const ids = new Set(runs.map((run) => run.id));
    const merged = [...known.filter((run) => !ids.has(run.id)), ...runs].slice(-MARKS);
    this.opened = { task, runs: merged, pane: isSame ? this.opened.pane : null };
  }

  takeOutput({ type, ...news }) {
    if (!this.opened || this.opened.task !== news.task) {
      this.opened = { task: news.task, runs: [], pane: null };
    }
    const before = this.opened.pane;
    if (!news.reset && (!before || before.end !== news.start)) {
      this.send("sync", null); // this page was loaded in between
      return;
    }
    const items = news.reset ? news.items : before.items.concat(news.items);
    this.opened.pane = { ...news, start: 0, items: shorten(items) };
    this.notify("output", news);
  }

  takeOlder({ task, runs, next, note }) {
    const known = this.older?.task === task ? this.older.runs : [];
    const all = new Map([...known, ...runs].map((run) => [run.id, run]));
    this.older = { task, runs: [...all.values()], next, note };
    this.notify("state");
  }

  /** What has been read of a task's older runs, newest first. @param {string} task */
  findOlder(task) {
    return this.older?.task === task ? this.older : { task, runs: [], next: null, note: "" };
  }

  // --- to the kernel --------------------------------------------------------------

  /** Ask for the next page of a task's older runs. @param {string} task */
  askOlder(task) {
    if (this.findCommand(task)?.name !== "older") this.send("older", task, { before: this.findOlder(task).next });
  }

  /** Send a command; views show whether it is waiting, and its outcome. */
  send(name, task, more = {}) {
    const command = { id: makeId(), name, task, isWaiting: false, timer: 0 };
    const isClick = name !== "hello" && name !== "sync";
    try {
      this.model.send({ type: "command", id: command.id, name, task, ...more });
    } catch {
      // The comm is closed: "Cannot send".
      this.setConnection(this.connection === "restarted" ? "restarted" : "gone");
      return;
    }
    if (!isClick) return;
    command.timer = setTimeout(() => {
      command.isWaiting = true;
      this.notify("commands");
    }, PATIENCE);
    this.commands.set(command.id, command);
    this.notify("commands");
  }

  takeAck(id) {
    const command = this.commands.get(id);
    if (!command) return;
    clearTimeout(command.timer);
    command.isWaiting = false;
    this.notify("commands");
  }

  takeDone({ id, error }) {
    const command = this.commands.get(id);
    if (!command) return;
    clearTimeout(command.timer);
    this.commands.delete(id);
    if (error) this.addNotice(`${command.name}: ${error}`, command.task);
    this.notify("commands");
  }

  addNotice(text, task) {
    const notice = { text, task, at: this.clock.now() };
    this.notices = [...this.notices.slice(-4), notice];
    this.notify("commands");
  }

  dropNotice(notice) {
    this.notices = this.notices.filter((known) => known !== notice);
    this.notify("commands");
  }

  /** The command in progress for a task, if any. */
  findCommand(task) {
    for (const command of this.commands.values()) {
      if (command.task === task) return command;
    }
    return null;
  }

  /** The tasks that pass the filter and "failing", in the kernel's order. */
  findWanted() {
    return [...this.tasks.values()].filter((task) => this.isWanted(task));
  }

  isWanted(task) {
    const { filter, failing } = this.ui;
    if (failing && !isFailing(task)) return false;
    return matches(task, (filter ?? "").trim().toLocaleLowerCase(), this.clock.now());
  }

  get isFiltered() {
    return Boolean(this.ui.failing || (this.ui.filter ?? "").trim());
  }

  get isWaiting() {
    return [...this.commands.values()].some((command) => command.isWaiting);
  }

  get ui() {
    return this.model.get("ui") ?? {};
  }

  /** Change the look of the view; the kernel keeps it for the next page. */
  setUi(patch) {
    this.model.set("ui", { ...this.ui, ...patch });
    try {
      this.model.save_changes();
    } catch {
      this.setConnection(this.connection === "restarted" ? "restarted" : "gone");
    }
  }

  // --- the connection -------------------------------------------------------------

  /** JupyterLab's manager reports that there is no kernel any more. */
  get hasKernel() {
    const manager = this.model.widget_manager;
    return !manager || !("kernel" in manager) || Boolean(manager.kernel);
  }

  getKernelId() {
    return this.model.widget_manager?.kernel?.id ?? null;
  }

  /** The kernel's status in JupyterLab and Notebook. */
  takeStatus(status) {
    if (status === "restarting" || status === "autorestarting") this.setConnection("restarted");
    if (status === "dead" || status === "terminating") this.setConnection("gone");
  }

  checkSilence() {
    if (this.connection !== "gone" && !this.hasKernel) this.setConnection("gone");
    const id = this.getKernelId();
    if (id && this.kernelId && id !== this.kernelId) this.setConnection("restarted");
    // Whether there is a kernel, and which: tasks are restored in one that is there.
    if (this.seenId !== id) {
      this.seenId = id;
      this.notify("connection");
    }
    const silence = (performance.now() - this.lastMessageAt) / 1000;
    if (this.connection === "live" && silence > SILENCE) this.setConnection("silent");
  }

  setConnection(state) {
    if (this.connection === state || this.connection === "restarted") return;
    if (this.connection === "gone" && state !== "restarted") return;
    this.connection = state;
    if (this.isDead) this.clock.freeze();
    this.notify("connection");
  }

  /** The message about the connection; empty if all is well. */
  get connectionText() {
    if (this.connection === "restarted") return "The kernel was restarted: this is how it was before.";
    if (this.connection === "gone") return "The kernel is gone: this is how it was.";
    if (this.connection === "silent") return "The kernel does not respond: it is busy or gone.";
    if (this.isWaiting) return "Kernel busy, command queued.";
    return "";
  }

  get isDead() {
    return this.connection === "restarted" || this.connection === "gone";
  }
}

/** Whether a task's name, schedule, job or status contains a text. */
function matches(task, wanted, now) {
  if (!wanted) return true;
  const failing = isFailing(task) ? "failing" : "";
  const failed = failing || task.last?.state === "failed" ? "failed" : "";
  const status = describeStatus(task, findStatus(task, now));
  const texts = [task.name, task.pattern, task.words, task.job, status, failing, failed];
  return texts.join("\n").toLocaleLowerCase().includes(wanted);
}

/** The newest items of an output. */
function shorten(items) {
  let size = 0;
  for (let index = items.length - 1; index >= 0; index -= 1) {
    const value = items[index][1];
    size += typeof value === "string" ? value.length : 0;
    if (size > MAX_TEXT) return items.slice(index + 1);
  }
  return items;
}

/** Keep a notebook's shortcuts off our buttons, except those with Ctrl or Cmd. */
function guardKeys(root) {
  // Lab listens on the document in the capture phase: only the window comes earlier.
  const guard = (event) => {
    if (!root.contains(event.target)) return;
    const isTheirs = event.ctrlKey || event.metaKey || (event.shiftKey && event.key === "Enter");
    setAttribute(event.target, "data-lm-suppress-shortcuts", isTheirs ? null : "true");
  };
  window.addEventListener("keydown", guard, true);
  return () => window.removeEventListener("keydown", guard, true);
}
