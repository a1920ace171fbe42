// @ts-check
// The output of one run: text in our terminal, displays rendered by the notebook.

/** @typedef {{el: any, number: number, model: any, shown: any, isFrozen: boolean}} Slot */

class Pane {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    this.body = h("div", { class: "icr-output", tabindex: "0", role: "log", "aria-label": "Output" });
    this.trace = new Trace();
    this.remark = h("div", { class: "icr-remark", hidden: true });
    this.foot = new PaneFoot(this);
    this.empty = h("div", { class: "icr-empty" });
    this.el = h("div", { class: "icr-pane" }, this.body, this.trace.el, this.remark, this.empty, this.foot.el);
    /** @type {Map<string, Slot>} */
    this.slots = new Map();
    this.terminal = null;
    this.run = null;
    /** What is shown, or will be as soon as the run has any output. @type {any[]} */
    this.items = [];
    this.isOld = false;
    this.isAtEnd = true;
    this.views = [];
    this.isClosed = false;
    // A display is drawn later, and the end of the output then moves.
    this.sizes = new ResizeObserver(() => this.follow());
    this.sizes.observe(this.body);
    this.sizes.observe(this.trace.el);
    this.figures = new MutationObserver(() => this.describeFigures());
    this.body.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.body;
      const isWhereWePutIt = Math.abs(scrollTop - this.scrolledTo) < 2;
      this.isAtEnd = isWhereWePutIt || scrollHeight - scrollTop - clientHeight < 30;
    });
    this.scrolledTo = 0;
    this.isHeld = false;
    this.chosen = store.ui.run ?? null;
    this.onSelect = () => this.takeSelection();
    document.addEventListener("selectionchange", this.onSelect);
    this.stop = store.listen((what) => what === "ui" && this.drawUi());
    this.drawUi();
  }

  drawUi() {
    setAttribute(this.el, "data-expanded", this.store.ui.expanded ? "true" : null);
    const chosen = this.store.ui.run ?? null;
    if (chosen !== this.chosen && this.hasSelection) document.getSelection()?.removeAllRanges();
    this.chosen = chosen;
    this.foot.fit();
  }

  /** Whether the user has selected text here: the next run must not take it away. */
  get hasSelection() {
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed && this.el.contains(selection.anchorNode));
  }

  /** What is selected stays as long as it is: displays, too, keep what they show. */
  takeSelection() {
    const { hasSelection } = this;
    for (const slot of this.slots.values()) {
      if (hasSelection) freeze(slot);
      else thaw(slot);
    }
    if (this.isHeld && !hasSelection) this.release();
  }

  /** The run that is shown: not the newest one while text of an older one is selected.
   *  @param {any} known */
  findShown(known) {
    return this.isHeld ? this.run : (known?.run ?? null);
  }

  release() {
    this.showWhole(this.store.opened?.pane);
  }

  /** Show everything that is known. @param {any} pane */
  showWhole(pane) {
    this.isHeld = false;
    this.clear();
    this.run = null;
    this.items = [];
    if (pane) this.take({ ...pane, reset: true });
    else this.showEnd();
  }

  /** Add new output. Until a run has any, the last run's output stays in place. */
  take({ run, items, reset }) {
    const isOther = reset && this.run && run?.id !== this.run.id;
    const isReplaced = isOther || items.some(([kind]) => kind === "clear");
    if (isReplaced && this.hasSelection) this.isHeld = true;
    if (this.isHeld) {
      this.foot.draw();
      return;
    }
    if (reset) this.isOld = true;
    this.run = run;
    this.items = this.store.opened?.pane?.items ?? [];
    // One that the user has chosen has no other's output, not even for a moment.
    const isAwaited = run && isUnfinished(run) && run.id !== this.chosen;
    if (this.isOld && (items.length || !isAwaited)) this.clear();
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

  /** Scroll to the end, or to the beginning of a display that is too high. */
  follow() {
    this.foot.fit();
    if (!this.isAtEnd) return;
    const { body } = this;
    const end = body.scrollHeight - body.clientHeight;
    const top = (slot) => slot.el.offsetTop - body.offsetTop;
    const cut = [...this.slots.values()].find(
      (slot) => slot.el.parentElement === body && top(slot) < end && top(slot) + slot.el.offsetHeight > end,
    );
    this.scrolledTo = cut ? top(cut) : end;
    body.scrollTop = this.scrolledTo;
  }

  /** The notebook's rendering of a group of displays; moved, never created twice. */
  getSlot(number, modelId) {
    let slot = this.slots.get(modelId);
    if (!slot) {
      slot = { el: h("div", { class: "icr-slot" }), number, model: null, shown: null, isFrozen: false };
      this.slots.set(modelId, slot);
      this.attach(slot, modelId).catch(() => {
        setText(slot.el, "This front end cannot show the display.");
      });
    }
    slot.number = number;
    return slot.el;
  }

  async attach(slot, modelId) {
    const { el } = slot;
    const manager = this.store.model.widget_manager;
    const model = await manager.get_model(modelId);
    slot.model = model;
    const view = await manager.create_view(model);
    const widget = view.luminoWidget ?? view.pWidget;
    this.views.push(view);
    if (manager.display_view) {
      await manager.display_view(view, el);
    } else if (widget?.constructor.attach) {
      // Lumino's own attach: its message makes formulas be typeset.
      await this.whenConnected(el);
      if (!this.isClosed) widget.constructor.attach(widget, el);
    } else {
      el.append(view.el);
    }
    this.sizes.observe(el);
    this.figures.observe(el, { childList: true, subtree: true });
    this.describeFigures();
  }

  showEnd() {
    this.trace.draw(this.run);
    this.remark.hidden = !this.run?.remark;
    setText(this.remark, this.run?.remark ?? "");
    this.describeFigures();
    const isBlank = !this.body.firstChild;
    if (this.isOld && !isBlank) return;
    this.body.hidden = isBlank;
    this.empty.hidden = !isBlank || !this.trace.el.hidden || !this.remark.hidden;
    setText(this.empty, describeEmpty(this.run));
    this.foot.draw();
  }

  /** Say whose the images are that say nothing themselves, for those who do not see them. */
  describeFigures() {
    const task = this.store.tasks.get(this.store.opened?.task);
    if (!task || !this.run || this.isHeld) return;
    const at = formatInstant(this.run.started ?? this.run.date, task.zone, this.store.clock.now());
    const text = `Figure of ${task.name}, run at ${at}`;
    for (const image of this.body.querySelectorAll(".icr-slot img:not([alt]), .icr-slot img[data-icr-alt]")) {
      setAttribute(image, "data-icr-alt", true);
      setAttribute(image, "alt", text);
    }
  }

  /** All of the output as text; of a display, its readable text. */
  get plain() {
    const parts = this.items.map(([kind, value]) => {
      if (kind === "group") return `\n${this.slots.get(value[1])?.el.innerText.trim() || "[figure]"}\n`;
      if (kind === "missing") return value ? `\n… ${formatBytes(value)} left out …\n` : "\n… a display left out …\n";
      return kind === "clear" ? "" : value;
    });
    return stripControls(parts.join("")).replace(/\n{3,}/g, "\n\n").trim();
  }

  /** Wait until an element is on the page: outputs may be drawn before, or collapsed. */
  async whenConnected(el) {
    while (!el.isConnected && !this.isClosed) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  close() {
    this.isClosed = true;
    this.stop();
    document.removeEventListener("selectionchange", this.onSelect);
    this.sizes.disconnect();
    this.figures.disconnect();
    for (const slot of this.slots.values()) thaw(slot);
    for (const view of this.views) view.remove();
  }
}

/** Keep a display as it is: an update would remove the elements that are selected. The
 *  kernel changes the model before it says that there is a new run. */
function freeze(slot) {
  const { model } = slot;
  if (slot.isFrozen || !model?.setOutputs) return;
  model.stopListening(model, "change:outputs", model.setOutputs);
  slot.shown = model.get("outputs");
  slot.isFrozen = true;
}

/** Let a display show what has come since. */
function thaw(slot) {
  const { model } = slot;
  if (!slot.isFrozen) return;
  slot.isFrozen = false;
  model.listenTo(model, "change:outputs", model.setOutputs);
  if (model.get("outputs") !== slot.shown) model.setOutputs();
  slot.shown = null;
}

/** The actions on an output: copy, save, show all. */
class PaneFoot {
  /** @param {Pane} pane */
  constructor(pane) {
    this.pane = pane;
    this.copyError = makeButton("copy", "Copy error", () => this.copy(this.copyError, pane.trace.plain), true);
    this.copyOutput = makeButton("copy", "Copy output", () => this.copy(this.copyOutput, pane.plain), true);
    this.save = makeButton("save", "Save output", () => this.saveOutput(), true);
    this.grow = makeButton("expand", "Expand", () => this.toggle(), true);
    this.held = h("span", { class: "icr-held", role: "status", hidden: true }, "Text is selected: newer output waits");
    this.said = h("span", { class: "icr-hidden", role: "status" });
    this.el = h(
      "div",
      { class: "icr-foot", role: "group", "aria-label": "Output" },
      this.copyError,
      this.copyOutput,
      this.save,
      h("span", { class: "icr-grow" }),
      this.held,
      this.grow,
      this.said,
    );
  }

  draw() {
    const { body, trace, isHeld } = this.pane;
    this.held.hidden = !isHeld;
    this.copyError.hidden = trace.el.hidden;
    this.copyOutput.hidden = this.save.hidden = body.hidden;
    this.fit();
  }

  /** Whether more exists than is visible is known only once it is drawn. */
  fit() {
    const { body, trace } = this.pane;
    const isOpen = this.pane.el.hasAttribute("data-expanded");
    const isCut = [body, trace.el].some((box) => box.scrollHeight > box.clientHeight + 2);
    this.grow.hidden = !isOpen && !isCut;
    setText(this.grow.lastChild, isOpen ? "Collapse" : "Expand");
    setAttribute(this.grow, "title", isOpen ? "Collapse" : "Expand");
    setAttribute(this.grow, "aria-expanded", String(isOpen));
    this.el.hidden = this.grow.hidden && this.copyError.hidden && this.copyOutput.hidden;
  }

  toggle() {
    const { store } = this.pane;
    store.setUi({ expanded: !store.ui.expanded });
    this.pane.drawUi();
  }

  async copy(button, text) {
    const isCopied = await copyText(text);
    const said = isCopied ? "Copied" : "Not copied";
    setText(button.lastChild, said);
    setText(this.said, said);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      for (const each of [this.copyError, this.copyOutput]) setText(each.lastChild, each.title);
      setText(this.said, "");
    }, 2000);
  }

  saveOutput() {
    const { run, store } = this.pane;
    const name = store.tasks.get(store.opened?.task)?.name ?? "output";
    const url = URL.createObjectURL(new Blob([`${this.pane.plain}\n`], { type: "text/plain" }));
    const at = new Date((run?.started ?? run?.date ?? store.clock.now()) * 1000);
    const stamp = at.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
    const link = h("a", { href: url, download: `${name.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80)}-${stamp}.txt` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
}

/** Copy a text; the clipboard API works only on https pages and localhost. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "icr-hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
}

function describeEmpty(run) {
  if (!run) return "No run yet.";
  return isUnfinished(run) ? "No output yet." : "No output.";
}
