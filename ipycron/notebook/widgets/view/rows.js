// @ts-check
// What the card and a row of the panel have in common.

const STATUS = {
  idle: "idle",
  running: "running",
  starting: "starting",
  stopping: "stopping",
  stopped: "stopped",
  destroyed: "destroyed",
};

/** The status as a word with an icon: colour is a third sign, not the only one. An
 *  armed task whose last run failed is marked, and one that is paused. Beside it, how
 *  many runs are queued. */
class StatusMark {
  constructor() {
    this.holder = h("span", { class: "icr-holder" });
    this.word = h("span");
    this.el = h("span", { class: "icr-status" }, this.holder, this.word);
    this.queued = h("span", { class: "icr-small icr-number icr-queued" });
  }

  draw(task, now) {
    const status = findStatus(task, now);
    setIcon(this.holder, status);
    setText(this.word, describeStatus(task, status));
    setAttribute(this.el, "data-status", status);
    setAttribute(this.el, "data-place", task.place);
    setAttribute(this.el, "title", describePause(task, now));
    setText(this.queued, task.queued && status !== "queued" ? `${task.queued} queued` : "");
    this.queued.hidden = !this.queued.firstChild;
  }
}

/** The status in words: how many runs there are if several, and whether the task is kept,
 *  that is, lives in the service. One that was destroyed is kept no more. */
function describeStatus({ running, queued, place }, status) {
  const count = { running: running.length, queued }[status] ?? 0;
  const words = count > 1 ? `${count} ${status}` : status;
  return place === "service" && status !== "destroyed" ? `${words}, kept` : words;
}

/** Whether a run is not over: it waits for its turn, or is in progress. */
function isUnfinished(run) {
  return run.state === "queued" || run.state === "running";
}

/** Whether a run waits for its next attempt. */
function isResting(run, now) {
  return run.state === "running" && run.next !== undefined && run.next > now;
}

/** How a run that waits for its next attempt is shown. One that has no error was put
 *  off by its job. */
function findRest(run) {
  return run.summary ? "retrying" : "snoozed";
}

/** For how long a run, or its next attempt, has been queued; "" for a slot of the past,
 *  as nobody knows. */
function findWaited({ reason, date, next }, now) {
  if (next !== undefined) return formatSpan(now - next);
  return reason === "catch_up" || reason === "backfill" ? "" : formatSpan(now - date);
}

/** What a run that is not over is doing, in a few words. */
function describeProgress(run, now) {
  if (run.state === "queued") {
    const waited = findWaited(run, now);
    const text = waited ? `queued ${waited}` : "queued";
    return run.attempt ? `${text}, attempt ${run.attempt}` : text;
  }
  if (isResting(run, now)) {
    const left = formatSpan(Math.ceil(run.next - now));
    return findRest(run) === "snoozed" ? `again in ${left}` : `attempt ${run.attempt} in ${left}`;
  }
  const time = `running ${formatSpan(now - (run.started ?? now))}`;
  return run.attempt ? `${time}, attempt ${run.attempt}` : time;
}

/** Until when a task is paused, and why; null if it is not. */
function describePause({ pause, zone }, now) {
  if (!pause) return null;
  const until = pause.until === null ? "" : ` until ${formatInstant(pause.until, zone, now, true)}`;
  return `paused${until}${pause.note ? ` (${pause.note})` : ""}`;
}

/** The displayed status: a task that is failing says so, unless it is doing something. */
function findStatus(task, now) {
  const known = STATUS[task.status] ?? "stopped";
  if (known === "running") return findRests(task.running, now) ?? known;
  if (known === "idle" && task.pause) return "paused";
  if (known === "idle" && task.queued) return "queued";
  const isAtRest = known === "idle" || known === "stopped";
  return isAtRest && isFailing(task) ? "failing" : known;
}

/** What all runs of a task wait for; null if one is in progress. */
function findRests(running, now) {
  if (!running.length || !running.every((run) => isResting(run, now))) return null;
  return running.some((run) => findRest(run) === "retrying") ? "retrying" : "snoozed";
}

/** Whether a task's last start failed, or the last run of an armed one. A task that was
 *  stopped or paused is not failing any more, whatever its last run did. */
function isFailing(task) {
  const isArmed = task.status === "running" || (task.status === "idle" && !task.pause);
  return isArmed ? task.last?.state === "failed" : task.status === "stopped" && Boolean(task.trouble);
}

/** How a run is shown; "warning": it succeeded, but its result is not here. */
function findState(run, now) {
  if (isResting(run, now)) return findRest(run);
  return run.unsent ? "warning" : findKind(run.state);
}

/** The run that is shown if none is chosen: the newest in progress, else the newest whose
 *  next attempt is queued, else the last one, else the first that is queued. */
function findFollowed({ running, last, waits }) {
  const begun = waits.filter(({ started }) => started !== null);
  return running[running.length - 1] ?? begun[begun.length - 1] ?? last ?? waits[0] ?? null;
}

/** The end of a run in a few words. */
function describeEnd(run) {
  const took = run.duration === null ? "" : formatDuration(run.duration);
  const attempts = run.attempt ? `, ${run.attempt} attempts` : "";
  if (run.state === "finished") return `finished in ${took}${attempts}`;
  const words = describeOutcome(run.state, run.slots);
  return (took ? `${words} after ${took}` : words) + attempts;
}

/** A result or an error worth a line; `None` is not. */
function describeSummary(run) {
  if (run.state === "stopped" || run.state === "replaced") return "";
  return run.summary && run.summary !== "None" ? run.summary : "";
}

/** Why a run happened, if not because its slot was due; "" otherwise. */
function describeReason(run) {
  return { invoked: "run now", catch_up: "caught up", backfill: "backfill" }[run.reason] ?? "";
}

/** Start, stop, pause, run and destroy of one task. */
class Controls {
  /** @param {Store} store @param {string} task @param {boolean} isWide */
  constructor(store, task, isWide) {
    this.store = store;
    this.task = task;
    this.isWide = isWide;
    this.run = makeButton("run", "Run now", () => this.act("run"), isWide);
    this.start = makeButton("start", "Start", () => this.act("start"), isWide);
    this.stop = makeButton("stop", "Stop", () => this.act(this.isStopping ? "stop-now" : "stop"), isWide);
    this.pause = makeButton("pause", "Pause", () => this.act("pause"), isWide);
    this.resume = makeButton("resume", "Resume", () => this.act("resume"), isWide);
    this.destroy = makeButton("destroy", "Destroy", () => this.ask());
    this.question = h("bdi", { class: "icr-clip" });
    this.answer = makeButton("destroy", "Destroy", () => this.confirm(), true);
    const keep = makeButton("failed", "Keep", () => this.withdraw(), true);
    this.asked = h(
      "span",
      { class: "icr-ask", role: "group", hidden: true, on: { keydown: (event) => this.see(event) } },
      this.question,
      this.answer,
      keep,
    );
    this.asked.addEventListener("focusout", ({ relatedTarget }) => {
      if (!this.asked.contains(relatedTarget)) this.close();
    });
    this.el = h(
      "span",
      { class: "icr-controls", role: "group" },
      this.run,
      this.start,
      this.stop,
      this.pause,
      this.resume,
      this.destroy,
      this.asked,
    );
  }

  act(name) {
    const button = this.buttons[name.replace("-now", "")];
    if (!button || button.getAttribute("aria-disabled")) return;
    this.store.send(name, this.task);
  }

  get buttons() {
    const { run, start, stop, pause, resume, destroy } = this;
    return { run, start, stop, pause, resume, destroy };
  }

  /** Ask for confirmation before a task is destroyed. */
  ask() {
    if (this.destroy.getAttribute("aria-disabled")) return;
    this.asked.hidden = false;
    setAttribute(this.el, "data-asking", true);
    this.answer.focus();
  }

  confirm() {
    this.withdraw();
    this.act("destroy");
  }

  withdraw() {
    this.close();
    this.destroy.focus();
  }

  close() {
    this.asked.hidden = true;
    setAttribute(this.el, "data-asking", null);
  }

  see(event) {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.withdraw();
  }

  /** A button's label, with the task's name for screen readers. */
  label(button, text) {
    setAttribute(button, "title", text);
    // A visible label is its button's name; the group names the task.
    if (button.hasAttribute("aria-label")) setAttribute(button, "aria-label", `${text}: ${this.name}`);
  }

  draw(task) {
    const { status, name } = task;
    if (name !== this.name) {
      this.name = name;
      setAttribute(this.el, "aria-label", `Controls of ${name}`);
      setText(this.question, `Destroy ${name}?`);
      setAttribute(this.question, "title", `Destroy ${name}? It will not run again.`);
      setAttribute(this.asked, "aria-label", `Destroy ${name}? It will not run again.`);
      this.label(this.start, "Start");
      this.label(this.pause, "Pause");
      this.label(this.resume, "Resume");
      this.label(this.destroy, "Destroy");
    }
    const isArmed = status !== "stopped" && status !== "destroyed";
    replace(this.start, this.stop, isArmed);
    replace(this.pause, this.resume, Boolean(task.pause));
    const isDead = this.store.isDead || status === "destroyed";
    const command = this.store.findCommand(this.task);
    for (const [name, button] of Object.entries(this.buttons)) {
      const isOff = isDead || (name === "run" && (!isArmed || status === "stopping"));
      setAttribute(button, "aria-disabled", isOff ? "true" : null);
      setAttribute(button, "aria-busy", command?.name === name ? "true" : null);
    }
    this.isStopping = status === "stopping";
    this.label(this.stop, this.isStopping ? "Stop now" : "Stop");
    if (this.isWide) setText(this.stop.lastChild, this.isStopping ? "Stop now" : "Stop");
    this.label(this.run, isArmed ? "Run now" : "Run now: start the task first");
  }
}

/** Show the second button in place of the first, or the other way round; the focus stays. */
function replace(first, second, isSecond) {
  const isFocused = [first, second].includes(document.activeElement);
  first.hidden = isSecond;
  second.hidden = !isSecond;
  if (isFocused) (isSecond ? second : first).focus();
}

/** The countdown to the next run, or how long this one has been running. */
class Countdown {
  constructor(isLabelled = true) {
    this.label = isLabelled ? h("span", { class: "icr-muted" }) : null;
    this.value = h("span", { class: "icr-number" });
    this.el = h("span", { class: "icr-countdown", role: "timer" }, this.label, this.value);
  }

  draw(task, now) {
    if (task.status === "stopping") {
      const left = Math.max(0, Math.ceil(task.stop_by - now));
      if (this.label) setText(this.label, "ends its run in");
      setText(this.value, formatSpan(left));
      setAttribute(this.el, "title", "A run that has not ended by then is ended");
      return;
    }
    const next = findNext(task.fires, now);
    // All known fires are past: the kernel is busy or has not sent more yet.
    const isDue = next === null && task.fires.length > 0;
    const blank = this.label ? "" : "–";
    setText(this.value, next === null ? (isDue ? "now" : blank) : formatSpan(Math.ceil(next - now)));
    const none = findStatus(task, now) === "paused" ? "no next run" : "not scheduled";
    if (this.label) setText(this.label, isDue ? "next" : next === null ? none : "next in");
    const coming = task.fires.filter((fire) => fire > now).map((fire) => formatInstant(fire, task.zone, now));
    const title = next === null ? null : `Next run ${coming.join(", ")} ${task.zone}`;
    setAttribute(this.el, "title", title);
  }
}

/** Why a task does not run: it did not start, or nothing keeps it any more. */
class Trouble {
  constructor() {
    this.terminal = h("div", {});
    this.el = h("div", { class: "icr-trace", role: "group", "aria-label": "Why it does not run", tabindex: "0", hidden: true }, this.terminal);
  }

  draw({ trouble }) {
    if (this.drawn === trouble) return;
    this.drawn = trouble;
    this.el.hidden = !trouble;
    const terminal = new Terminal();
    if (trouble) terminal.write(trouble[0].toUpperCase() + trouble.slice(1), "plain");
    this.terminal.replaceChildren(terminal.el);
  }
}

/** Messages: refused commands, and problems with the connection. */
class Notices {
  /**
   * @param {Store} store
   * @param {(task: string) => boolean} isMine
   * @param {any} note more words on the line
   * @param {any} tool what can be done about it
   */
  constructor(store, isMine, note = null, tool = null) {
    this.store = store;
    this.isMine = isMine;
    this.words = h("span", {});
    const texts = h("span", { class: "icr-grow" }, this.words, " ", note);
    this.line = h("div", { class: "icr-line-state", hidden: true }, texts, tool);
    this.list = h("div", {});
    this.drawn = "";
    this.el = h("div", { class: "icr-notices", role: "status", "aria-live": "polite" }, this.line, this.list);
  }

  draw() {
    const text = this.store.connectionText;
    setText(this.words, text);
    this.line.hidden = !text;
    const mine = this.store.notices.filter((notice) => this.isMine(notice.task));
    const key = mine.map((notice) => notice.at).join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.list.replaceChildren(
      ...mine.map((notice) => {
        const drop = () => this.store.dropNotice(notice);
        return h(
          "div",
          { class: "icr-notice" },
          icon("warning"),
          h("span", { class: "icr-grow" }, this.describe(notice)),
          makeButton("failed", "Dismiss", drop),
        );
      }),
    );
  }

  describe(notice) {
    const task = this.store.tasks.get(notice.task);
    return this.store.tasks.size > 1 && task ? `${task.name}: ${notice.text}` : notice.text;
  }
}

/** The remembered runs of one task as a list to choose from, and older ones on demand. */
class RunList {
  /** @param {Store} store @param {(run: string | null) => void} choose */
  constructor(store, choose) {
    this.store = store;
    this.choose = choose;
    this.more = makeButton("expand", "Older runs", () => this.askOlder(), true);
    this.said = h("div", { class: "icr-said", role: "status" });
    this.foot = h("div", { class: "icr-older" }, this.more, this.said);
    this.el = h("div", { class: "icr-runs", role: "listbox", "aria-label": "Last runs" });
    this.el.addEventListener("keydown", (event) => this.step(event));
    this.note = h("div", { class: "icr-of icr-muted icr-number", hidden: true });
  }

  askOlder() {
    if (!this.more.getAttribute("aria-disabled")) this.store.askOlder(this.task.id);
  }

  step(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const items = [...this.el.children];
    const index = items.indexOf(document.activeElement);
    if (!move || index < 0) return;
    event.preventDefault();
    items[Math.min(items.length - 1, Math.max(0, index + move))].focus();
  }

  /** @param {any} task @param {any[]} runs @param {string | null} shown @param {number} now */
  draw(task, runs, shown, now) {
    this.task = task;
    const unfinished = [...task.running, ...task.waits];
    const ended = runs.filter((run) => !unfinished.some(({ id }) => id === run.id));
    const known = [...ended, ...unfinished].reverse();
    const older = this.store.findOlder(task.id);
    const ids = new Set(known.map(({ id }) => id));
    const all = [...known, ...older.runs.filter(({ id }) => !ids.has(id))];
    this.drawFoot(older);
    const { finished, failed, stopped, replaced, cancelled } = task.counts;
    const total = finished + failed + stopped + replaced + cancelled + task.running.length + task.queued;
    const looks = all.map((run) => [run.id, findState(run, now), run.attempt]);
    const followed = findFollowed(task)?.id;
    const key = JSON.stringify([looks, shown, followed, total, findDay(now, task.zone)]);
    if (key === this.drawn) return;
    this.drawn = key;
    if (!this.note.parentElement) {
      this.el.before(this.note);
      this.el.after(this.foot);
    }
    this.note.hidden = total <= all.length;
    setText(this.note, `The last ${all.length} of ${total} runs`);
    const focused = document.activeElement?.getAttribute?.("data-run");
    const hadFocus = this.el.contains(document.activeElement);
    this.el.replaceChildren(...all.map((run) => this.makeItem(task, run, run.id === shown, run.id === followed, now)));
    if (hadFocus) this.el.querySelector(`[data-run="${CSS.escape(focused ?? "")}"]`)?.focus();
  }

  drawFoot({ next, note }) {
    const isBusy = this.store.findCommand(this.task.id)?.name === "older";
    this.more.hidden = Boolean(note) && !next;
    setAttribute(this.more, "aria-busy", isBusy ? "true" : null);
    setAttribute(this.more, "aria-disabled", this.store.isDead ? "true" : null);
    setText(this.said, note);
    this.said.hidden = !note;
  }

  makeItem(task, run, isShown, isFollowed, now) {
    const state = findState(run, now);
    const summary = describeSummary(run);
    // Not for how long a run has been in progress: that is old at once.
    const said = isUnfinished(run) ? describeItem(run, state) : describeEnd(run);
    const pick = () => this.choose(isFollowed ? null : run.id);
    return h(
      "button",
      {
        type: "button",
        class: `icr-run icr-run-${state}`,
        role: "option",
        "aria-selected": isShown ? "true" : "false",
        "data-run": run.id,
        title: summary ? `${said}: ${summary}` : said,
        on: { click: pick },
      },
      icon(state),
      h("span", { class: "icr-number" }, formatInstant(run.started ?? run.date, task.zone, now)),
      h("span", { class: "icr-number icr-muted" }, describeItem(run, state)),
      h("span", { class: "icr-clip icr-muted" }, describeReason(run)),
    );
  }
}

/** A run of a list in a word or two: how long it took, unless something else is worth
 *  more: what has ended it, how many attempts there were. */
function describeItem(run, state) {
  if (run.unsent) return "warning";
  if (run.state === "running") return state !== "running" || !run.attempt ? state : `attempt ${run.attempt}`;
  if (run.state !== "finished" && run.state !== "failed") return describeOutcome(run.state, run.slots);
  if (run.attempt) return `${run.attempt} attempts`;
  return run.duration === null ? "–" : formatDuration(run.duration);
}

/** One line that says which run is shown and how it ended. */
class RunHead {
  constructor() {
    this.holder = h("span", { class: "icr-holder" });
    this.when = h("span", { class: "icr-number" });
    this.how = h("span", { class: "icr-number icr-how" });
    this.summary = h("bdi", { class: "icr-summary icr-clip" });
    this.el = h("div", { class: "icr-runhead" }, this.holder, this.when, this.how, this.summary);
  }

  draw(task, run, now) {
    this.el.hidden = !run;
    if (!run) return;
    const state = findState(run, now);
    setIcon(this.holder, state);
    setAttribute(this.el, "data-state", state);
    setText(this.when, formatInstant(run.started ?? run.date, task.zone, now));
    const end = isUnfinished(run) ? describeProgress(run, now) : describeEnd(run);
    setText(this.how, [describeReason(run), end].filter(Boolean).join(", "));
    const summary = run.shows_result && state === "finished" ? "" : describeSummary(run);
    setText(this.summary, state === "finished" && summary ? `→ ${summary}` : summary);
    setAttribute(this.summary, "title", summary || null);
    const home = task.place === "executor" ? "on its executor" : "in the notebook's own process";
    const service = task.place === "service" ? " of the service" : "";
    const place = run.pid ? `, process ${run.pid}${service}` : run.started === null ? "" : `, ${home}`;
    setAttribute(this.when, "title", `${formatInstant(run.date, task.zone, now)} ${task.zone}${place}`);
  }
}
