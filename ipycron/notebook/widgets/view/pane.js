// @ts-check
// The output of one run: text by a terminal of ours, displays by the notebook itself.

/** @typedef {{el: any, number: number}} Slot */

class Pane {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    this.body = h("div", { class: "icr-output", tabindex: "0", role: "log", "aria-label": "Output" });
    this.trace = h("div", { class: "icr-trace", role: "group", "aria-label": "Traceback", hidden: true });
    this.empty = h("div", { class: "icr-empty" });
    this.el = h("div", { class: "icr-pane" }, this.body, this.trace, this.empty);
    /** @type {Map<string, Slot>} */
    this.slots = new Map();
    this.terminal = null;
    this.run = null;
    this.isOld = false;
    this.isAtEnd = true;
    this.tracebackText = null;
    this.views = [];
    this.isClosed = false;
    // A display is drawn late: the end of the output moves when it is.
    this.sizes = new ResizeObserver(() => this.follow());
    this.body.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.body;
      this.isAtEnd = scrollHeight - scrollTop - clientHeight < 30;
    });
  }

  /** Show everything that is known. @param {any} pane */
  showWhole(pane) {
    this.clear();
    this.run = null;
    if (pane) this.take({ ...pane, reset: true });
    else this.showEnd();
  }

  /** Add what came. A run that has said nothing yet leaves the last one in place. */
  take({ run, items, reset }) {
    if (reset) this.isOld = true;
    this.run = run;
    if (this.isOld && (items.length || run?.state !== "running")) this.clear();
    for (const [kind, value] of items) this.add(kind, value);
    this.showEnd();
    this.follow();
  }

  clear() {
    this.isOld = false;
    this.terminal = null;
    this.isAtEnd = true;
    this.body.replaceChildren();
  }

  add(kind, value) {
    if (kind === "clear") {
      this.clear();
    } else if (kind === "missing") {
      const text = value ? `… ${formatBytes(value)} left out …` : "… a display left out …";
      this.append(h("div", { class: "icr-missing" }, text));
    } else if (kind === "group") {
      this.append(this.getSlot(value[0], value[1]));
    } else {
      if (!this.terminal) {
        const terminal = new Terminal(() => this.follow());
        this.append(terminal.el);
        this.terminal = terminal;
      }
      this.terminal.write(value, kind);
    }
  }

  append(element) {
    this.terminal = null;
    this.body.append(element);
  }

  follow() {
    if (this.isAtEnd) this.body.scrollTop = this.body.scrollHeight;
  }

  /** The notebook's rendering of a group of displays; moved, never made twice. */
  getSlot(number, modelId) {
    let slot = this.slots.get(modelId);
    if (!slot) {
      slot = { el: h("div", { class: "icr-slot" }), number };
      this.slots.set(modelId, slot);
      this.attach(slot.el, modelId).catch(() => {
        setText(slot.el, "This front end cannot show the display.");
      });
    }
    slot.number = number;
    return slot.el;
  }

  async attach(el, modelId) {
    const manager = this.store.model.widget_manager;
    const model = await manager.get_model(modelId);
    const view = await manager.create_view(model);
    const widget = view.luminoWidget ?? view.pWidget;
    this.views.push(view);
    if (manager.display_view) {
      await manager.display_view(view, el);
    } else if (widget?.constructor.attach) {
      // Lumino's own attach: formulas are typeset when it tells them.
      await this.whenConnected(el);
      if (!this.isClosed) widget.constructor.attach(widget, el);
    } else {
      el.append(view.el);
    }
    this.sizes.observe(el);
  }

  showEnd() {
    const text = this.run?.traceback ?? null;
    if (text !== this.tracebackText) {
      this.tracebackText = text;
      const terminal = new Terminal();
      if (text) terminal.write(text.trim(), "plain");
      this.trace.replaceChildren(terminal.el);
      this.trace.hidden = !text;
    }
    const isBlank = !this.body.firstChild;
    if (this.isOld && !isBlank) return;
    this.body.hidden = isBlank;
    this.empty.hidden = !isBlank || Boolean(text);
    setText(this.empty, describeEmpty(this.run));
  }

  /** Wait until an element is on the page: outputs are drawn before, or folded. */
  async whenConnected(el) {
    while (!el.isConnected && !this.isClosed) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  close() {
    this.isClosed = true;
    this.sizes.disconnect();
    for (const view of this.views) view.remove();
  }
}

function describeEmpty(run) {
  if (!run) return "No run yet.";
  return run.state === "running" ? "No output yet." : "No output.";
}
