// @ts-check
// Tasks that continue though no cell declares them.

/** @param {Store} store @param {any} el */
function renderLeftovers(store, el) {
  const notices = new Notices(store, () => true);
  const reasons = store.model.get("reasons");
  const rows = [...store.tasks.keys()].map((id) => new Leftover(store, id, reasons[id]));
  const root = h(
    "section",
    { class: "icr icr-leftovers", "aria-label": "Tasks that continue" },
    ...rows.map((row) => row.el),
    notices.el,
  );

  function draw() {
    setAttribute(root, "data-connection", store.connection);
    setAttribute(root, "data-saved", store.isSaved);
    notices.draw();
    for (const row of rows) row.draw();
  }

  el.append(root);
  draw();
  const stops = [store.listen(draw), guardKeys(root)];
  return () => stops.forEach((stop) => stop());
}

class Leftover {
  /** @param {Store} store @param {string} id @param {string} reason */
  constructor(store, id, reason) {
    this.store = store;
    this.id = id;
    this.reason = reason;
    this.holder = h("span", { class: "icr-holder" });
    this.name = h("bdi", { class: "icr-name icr-clip" });
    this.said = h("span", { class: "icr-grow icr-reason" });
    this.isAsked = false;
    this.button = makeButton("stop", "End it", () => this.end(), true);
    this.el = h("div", { class: "icr-leftover", role: "status" }, this.holder, this.name, this.said, this.button);
  }

  end() {
    if (this.button.getAttribute("aria-disabled")) return;
    this.isAsked = true;
    this.store.send("destroy", this.id);
  }

  draw() {
    const task = this.store.tasks.get(this.id);
    if (!task) return;
    const isOver = task.status === "destroyed";
    if (this.store.notices.some((notice) => notice.task === this.id)) this.isAsked = false;
    const isEnding = this.isAsked || task.stop_by !== null;
    setIcon(this.holder, isOver ? "destroyed" : "warning");
    setText(this.name, task.name);
    setAttribute(this.name, "title", task.name);
    setText(this.said, isOver ? "has been ended" : isEnding ? "is being ended" : this.reason);
    setAttribute(this.el, "data-over", isOver ? "true" : null);
    setAttribute(this.button, "aria-label", `End ${task.name}`);
    setAttribute(this.button, "title", `End ${task.name}`);
    setAttribute(this.button, "aria-disabled", this.store.isDead || isEnding ? "true" : null);
    this.button.hidden = isOver;
  }
}
