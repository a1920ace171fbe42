// @ts-check
// One task under the cell that declares it.

/** @param {Store} store @param {any} el */
function renderCard(store, el) {
  const [id] = [...store.tasks.keys()];
  const status = new StatusMark();
  const name = h("bdi", { class: "icr-name icr-clip" });
  const countdown = new Countdown();
  const controls = new Controls(store, id, true);
  const pattern = h("code", { class: "icr-pattern icr-clip" });
  const words = h("span", { class: "icr-clip" });
  const zone = h("span", { class: "icr-muted icr-clip" });
  const counts = h("span", { class: "icr-counts icr-number" });
  const strip = new Strip((run) => choose(run));
  const head = new RunHead();
  const pane = new Pane(store);
  const runs = new RunList(store, (run) => store.setUi({ run }));
  const trouble = new Trouble();
  const facts = new Facts(store);
  const notices = new Notices(store, () => true);
  const chevron = h("span", { class: "icr-holder" });
  setIcon(chevron, "chevron");
  const historyId = `icr-${makeId()}`;
  const history = h(
    "button",
    {
      type: "button",
      class: "icr-button icr-more",
      "aria-controls": historyId,
      on: { click: () => store.setUi({ history: !store.ui.history }) },
    },
    chevron,
    h("span", {}, "History"),
  );
  const list = h("div", { class: "icr-history", id: historyId, hidden: true }, runs.el);
  const root = h(
    "section",
    { class: "icr icr-card", "data-task": id },
    h("div", { class: "icr-top" }, name, status.el, status.queued, h("span", { class: "icr-grow" }), countdown.el, controls.el),
    h("div", { class: "icr-when" }, pattern, words, zone),
    facts.el,
    facts.list,
    notices.el,
    trouble.el,
    h("div", { class: "icr-bar-line" }, head.el, h("span", { class: "icr-grow" }), counts, strip.el, history),
    h("div", { class: "icr-body" }, list, pane.el),
  );

  /** The newest run is followed, not pinned. */
  function choose(run) {
    const task = store.tasks.get(id);
    store.setUi({ run: task && run === findFollowed(task)?.id ? null : run });
  }

  function drawState() {
    const task = store.tasks.get(id);
    if (!task) return;
    setText(name, task.name);
    setAttribute(name, "title", task.name);
    setAttribute(root, "aria-label", `Task ${task.name}`);
    setAttribute(root, "data-status", task.status);
    setText(pattern, task.pattern);
    setText(words, task.words);
    setAttribute(words, "title", task.words);
    setText(zone, task.zone);
    setText(counts, describeCounts(task));
    controls.draw(task);
    trouble.draw(task);
    drawTime();
  }

  function drawTime() {
    const task = store.tasks.get(id);
    if (!task) return;
    const now = store.clock.now();
    status.draw(task, now);
    countdown.draw(task, now);
    const shown = pane.findShown(store.opened?.pane);
    head.draw(task, shown, now);
    strip.draw(task, now);
    strip.show(shown?.id ?? null);
    runs.draw(task, store.opened?.runs ?? [], shown?.id ?? null, now);
  }

  function drawUi() {
    facts.draw();
    const isOpen = Boolean(store.ui.history);
    list.hidden = !isOpen;
    setAttribute(history, "aria-expanded", String(isOpen));
  }

  function drawConnection() {
    setAttribute(root, "data-connection", store.connection);
    setAttribute(root, "data-saved", store.isSaved);
    notices.draw();
    const task = store.tasks.get(id);
    if (task) {
      controls.draw(task);
      drawTime();
    }
  }

  function update(what, news) {
    if (what === "state") drawState();
    if (what === "ui" || what === "facts") drawUi();
    if (what === "connection" || what === "commands") drawConnection();
    if (what === "output") {
      if (news) pane.take(news);
      else pane.showWhole(store.opened?.pane);
      drawTime();
    }
  }

  el.append(root);
  pane.showWhole(store.opened?.pane);
  drawState();
  drawUi();
  drawConnection();
  const stops = [store.listen(update), store.clock.listen(drawTime), guardKeys(root)];
  return () => {
    stops.forEach((stop) => stop());
    pane.close();
  };
}

/** What the declaration has captured, collapsed, and its notes. */
class Facts {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    const id = `icr-${makeId()}`;
    const chevron = h("span", { class: "icr-holder" });
    setIcon(chevron, "chevron");
    this.label = h("span", {});
    this.button = h(
      "button",
      {
        type: "button",
        class: "icr-button icr-more",
        "aria-controls": id,
        on: { click: () => store.setUi({ captured: !store.ui.captured }) },
      },
      chevron,
      this.label,
    );
    this.notes = h("span", { class: "icr-muted" });
    this.el = h("div", { class: "icr-facts" }, this.button, this.notes);
    this.list = h("div", { class: "icr-chips", id, role: "list", "aria-label": "Captured variables" });
  }

  draw() {
    const { variables = [], size = "", notes = [] } = this.store.model.get("facts") ?? {};
    const isOpen = Boolean(this.store.ui.captured);
    setText(this.label, describeVariables(variables, size));
    setAttribute(this.button, "aria-expanded", String(isOpen));
    this.button.hidden = !variables.length;
    setText(this.notes, notes.join(" · "));
    setAttribute(this.notes, "title", notes.join("\n") || null);
    this.el.hidden = !variables.length && !notes.length;
    this.list.hidden = !isOpen || !variables.length;
    const key = JSON.stringify(variables);
    if (key === this.drawn) return;
    this.drawn = key;
    this.list.replaceChildren(...variables.map(makeChip));
  }
}

function describeVariables(variables, size) {
  const sent = variables.filter(([, , , isLeftOut]) => !isLeftOut).length;
  const left = variables.length - sent;
  const parts = [];
  if (sent) parts.push(`Captured ${sent === 1 ? "1 variable" : `${sent} variables`}, ${size}`);
  if (left) parts.push(`${left} left out`);
  return parts.join(", ");
}

function makeChip([name, type, size, isLeftOut]) {
  return h(
    "span",
    { class: "icr-chip", role: "listitem", title: isLeftOut ? "left out: it cannot be sent" : null },
    h("bdi", { class: "icr-chip-name icr-clip" }, name),
    h("bdi", { class: "icr-muted icr-clip" }, type),
    h("span", { class: "icr-number icr-muted" }, isLeftOut ? "left out" : size),
  );
}

function describeCounts({ counts, runs_left: left }) {
  const parts = [];
  if (counts.finished) parts.push(`${counts.finished} ok`);
  if (counts.failed) parts.push(`${counts.failed} failed`);
  if (counts.stopped) parts.push(`${counts.stopped} stopped`);
  if (counts.replaced) parts.push(`${counts.replaced} replaced`);
  if (counts.cancelled) parts.push(`${counts.cancelled} cancelled`);
  if (counts.missed) parts.push(`${counts.missed} missed`);
  if (counts.skipped) parts.push(`${counts.skipped} skipped`);
  if (left !== null) parts.push(`${left} left`);
  return parts.join(" · ");
}
