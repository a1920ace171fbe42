// @ts-check
// Every task of the kernel: the table, the last and the next hours, the last events.

/** @param {Store} store @param {any} el */
function renderPanel(store, el) {
  const summary = h("span", { class: "icr-muted icr-number icr-clip", role: "status" });
  const filter = h("input", {
    type: "search",
    class: "icr-filter",
    placeholder: "Filter",
    "aria-label": "Filter tasks",
    spellcheck: "false",
    on: { input: () => store.setUi({ filter: filter.value }) },
  });
  const failing = h("button", {
    type: "button",
    class: "icr-button icr-failing",
    title: "Show only tasks whose last start failed, and armed ones whose last run failed",
    on: { click: () => store.setUi({ failing: !store.ui.failing }) },
  });
  const clock = h("span", { class: "icr-muted icr-number icr-clock", title: "The kernel's time" });
  const restorer = new Restorer(store);
  const notices = new Notices(store, () => true, restorer.note, restorer.button);
  const behind = h("div", { class: "icr-notice icr-behind", role: "status", hidden: true });
  const table = new Table(store);
  const day = new LastDay(store);
  const timeline = new Timeline(store);
  const events = new EventLog(store);
  const root = h(
    "section",
    { class: "icr icr-panel", "aria-label": "ipycron panel" },
    h(
      "div",
      { class: "icr-top" },
      h("span", { class: "icr-name" }, "Tasks"),
      summary,
      failing,
      h("span", { class: "icr-grow" }),
      clock,
      filter,
    ),
    notices.el,
    behind,
    table.el,
    day.el,
    timeline.el,
    events.el,
  );

  function drawState() {
    const tasks = [...store.tasks.values()];
    const count = tasks.filter(isFailing).length;
    setText(summary, describeTasks(tasks, store.clock.now()));
    setAttribute(summary, "title", summary.textContent);
    setText(failing, `${count} failing`);
    setAttribute(failing, "aria-pressed", String(Boolean(store.ui.failing)));
    failing.hidden = !count && !store.ui.failing;
    const missing = describeBehind(store.behind);
    behind.hidden = !missing;
    setText(behind, missing);
    table.draw(store.clock.now());
    day.draw();
    timeline.draw();
    events.draw();
    drawTime();
  }

  function drawTime() {
    const now = store.clock.now();
    setText(clock, formatInstant(now, undefined, now));
    table.drawTime(now);
    timeline.drawTime(now);
    events.drawTime(now);
  }

  function drawUi() {
    // Not while the user types: the kernel's echo is older than the last letter.
    if (document.activeElement !== filter) filter.value = store.ui.filter ?? "";
    day.drawUi();
    timeline.drawUi();
    events.drawUi();
    drawState();
  }

  function drawConnection() {
    setAttribute(root, "data-connection", store.connection);
    setAttribute(root, "data-saved", store.isSaved);
    restorer.draw();
    notices.draw();
    table.drawControls();
  }

  function update(what, news) {
    if (what === "state") drawState();
    if (what === "ui") drawUi();
    if (what === "connection" || what === "commands") drawConnection();
    if (what === "output") {
      table.detail.take(news);
      table.detail.draw(store.clock.now());
      table.drawShown();
    }
  }

  el.append(root);
  drawUi();
  drawConnection();
  requestAnimationFrame(() => {
    table.el.scrollTop = store.ui.scroll ?? 0;
  });
  const stops = [store.listen(update), store.clock.listen(drawTime), guardKeys(root)];
  return () => {
    stops.forEach((stop) => stop());
    table.detail.pane.close();
    day.close();
    timeline.close();
  };
}

/** Which rows are not in the history's file; "" if all are. */
function describeBehind([waiting, lost]) {
  const count = (number) => `${number.toLocaleString("en")} ${number === 1 ? "row" : "rows"}`;
  const gone = lost ? `${count(lost)} could not be written.` : "";
  if (!waiting) return gone && `History: ${gone}`;
  return `The history cannot be written, the log says why: ${count(waiting)} waiting. ${gone}`.trim();
}

function describeTasks(tasks, now) {
  const statuses = tasks.map((task) => findStatus(task, now));
  const parts = [tasks.length === 1 ? "1 task" : `${tasks.length} tasks`];
  for (const status of ["running", "retrying", "snoozed", "queued", "paused", "stopped"]) {
    const count = statuses.filter((each) => each === status).length;
    if (count) parts.push(`${count} ${status}`);
  }
  return parts.join(" · ");
}
