// @ts-check
// A panel outlives its kernel: it can run the cells that declared its tasks again, if
// the front end lets a view see its notebook, as JupyterLab and Notebook 7 do.

// The start of a notebook with tasks, whose own first cells may not be run again.
const LOAD = "%load_ext ipycron\nimport ipycron";
const SHOW = "%cron panel";
const NOTE =
  "Restoring runs the cells that declare these tasks, and no others: first run the cells above that define what they use.";
const LIST = "__import__('ipycron.notebook.widgets.panel', fromlist=['_']).list_cells()";
const VIEW = "application/vnd.jupyter.widget-view+json";

/** The notebook that shows a model: its cells and its kernel. @param {any} model */
function findNotebook(model) {
  const context = model.widget_manager?.context;
  return context?.model?.cells && context.sessionContext ? context : null;
}

/** The offer to declare the tasks of a former kernel again, a button. */
class Restorer {
  /** @param {Store} store */
  constructor(store) {
    this.store = store;
    this.isBusy = false;
    /** Cells whose tasks are there again. @type {Set<string>} */
    this.done = new Set();
    /** What cells lacked that are to run again, by cell. @type {Map<string, string>} */
    this.lacking = new Map();
    this.note = h("span", {});
    this.button = h("button", { type: "button", class: "icr-button", hidden: true, on: { click: () => this.restore() } });
  }

  get kernel() {
    return findNotebook(this.store.model)?.sessionContext.session?.kernel ?? null;
  }

  /** The cells that declared tasks and still exist, in the notebook's order. */
  findCells() {
    const cells = findNotebook(this.store.model)?.model.cells ?? [];
    const wanted = new Set([...this.store.tasks.values()].map((task) => task.cell));
    return [...cells].filter((cell) => cell.type === "code" && wanted.has(cell.id) && !this.done.has(cell.id));
  }

  draw() {
    const cells = this.store.isDead && this.kernel ? new Set(this.findCells().map((cell) => cell.id)) : new Set();
    const count = [...this.store.tasks.values()].filter((task) => cells.has(task.cell)).length;
    this.button.hidden = count === 0;
    const noun = count === 1 ? "task" : "tasks";
    setText(this.button, count === 0 ? "" : this.isBusy ? "Restoring…" : `Restore ${count} ${noun}`);
    setText(this.note, count === 0 ? "" : NOTE);
    setAttribute(this.button, "title", NOTE);
    setAttribute(this.button, "aria-busy", this.isBusy ? "true" : null);
    setAttribute(this.button, "aria-disabled", this.isBusy ? "true" : null);
  }

  async restore() {
    const { kernel } = this;
    if (this.isBusy || !kernel) return;
    this.isBusy = true;
    this.draw();
    try {
      await this.run(kernel);
    } catch (error) {
      this.store.addNotice(`The tasks were not restored: ${error.message ?? error}`, null);
    } finally {
      this.isBusy = false;
      this.draw();
    }
  }

  async run(kernel) {
    for (const id of await listCells(kernel)) if (!this.lacking.has(id)) this.done.add(id);
    let hasFailed = false;
    for (const cell of this.findCells()) {
      const error = await runCell(kernel, cell);
      const missing = findMissing(error, cell);
      // What is missing a second time may never have been there.
      if (!error && (!missing || missing === this.lacking.get(cell.id))) {
        this.done.add(cell.id);
        continue;
      }
      hasFailed = true;
      if (missing) this.lacking.set(cell.id, missing);
      const name = `Cell [${cell.executionCount ?? " "}]`;
      const text = missing
        ? `${name} uses ${missing}, not defined yet: run the cells above that define it, then restore again.`
        : `${name} failed: ${describeError(error)}. Run the cells that it needs, then restore again.`;
      this.store.addNotice(text, null);
    }
    if (!hasFailed) await this.showPanel(kernel);
  }

  /** Replace this panel with a live one. */
  async showPanel(kernel) {
    for (const cell of findNotebook(this.store.model).model.cells) {
      const all = cell.type === "code" ? cell.outputs.toJSON() : [];
      const index = await this.findIndex(all);
      if (index < 0) continue;
      const fresh = await collect(kernel, SHOW);
      const hasCopy = String(all[index + 1]?.data?.["text/html"] ?? "").includes("ipycron-static");
      all.splice(index, hasCopy ? 2 : 1, ...fresh);
      cell.trusted = true;
      cell.outputs.fromJSON(all);
    }
  }

  /** Which of a cell's outputs shows this panel, or -1. A view does not know its id. */
  async findIndex(outputs) {
    const { model } = this.store;
    for (const [index, output] of outputs.entries()) {
      const id = output.data?.[VIEW]?.model_id;
      if (!id || !model.widget_manager.has_model(id)) continue;
      const shown = await model.widget_manager.get_model(id);
      if (shown.get("state") === model.get("state")) return index;
    }
    return -1;
  }
}

/** Load ipycron; return the cells whose tasks exist. */
async function listCells(kernel) {
  const content = { code: LOAD, silent: true, store_history: false, user_expressions: { cells: LIST } };
  const { content: reply } = await kernel.requestExecute(content).done;
  const found = reply.user_expressions?.cells;
  if (found?.status !== "ok") throw new Error(describeError(found?.status ? found : reply));
  return found.data["text/plain"].replaceAll(/^['"]|['"]$/g, "").split(" ").filter(Boolean);
}

/** Run code; return its displays as a notebook's outputs. */
async function collect(kernel, code) {
  const displays = [];
  const future = kernel.requestExecute({ code, store_history: false });
  future.onIOPub = ({ header, content: { data, metadata } }) => {
    if (header.msg_type === "display_data") displays.push({ output_type: "display_data", data, metadata });
  };
  const { content: reply } = await future.done;
  if (reply.status !== "ok") throw new Error(describeError(reply));
  return displays;
}

/** The name that a cell has lacked, quoted; null if none. A declaration lacks what its runs
 *  will not find: it says so, and has not failed. */
function findMissing(error, cell) {
  const texts = error ? [error.ename === "NameError" ? error.evalue : ""] : readOutput(cell);
  const found = texts.map((text) => /(?:^name|^warning:) ('[^']+') is not defined/m.exec(text)).find(Boolean);
  return found ? found[1] : null;
}

/** What a cell has printed. */
function readOutput(cell) {
  return cell.outputs
    .toJSON()
    .filter((output) => output.output_type === "stream")
    .map(({ text }) => (Array.isArray(text) ? text.join("") : text));
}

/** Run a cell as its notebook would; return its error, or null. */
async function runCell(kernel, cell) {
  cell.trusted = true;
  cell.clearExecution();
  cell.executionState = "running";
  const displays = new Map();
  const content = { code: cell.sharedModel.getSource(), stop_on_error: true };
  // Not disposed of at the end: displays may be updated later.
  const future = kernel.requestExecute(content, false, { cellId: cell.id });
  future.onIOPub = (message) => takeOutput(cell.outputs, displays, message);
  try {
    const { content: reply } = await future.done;
    cell.executionCount = reply.execution_count ?? null;
    return reply.status === "ok" ? null : reply;
  } finally {
    cell.executionState = "idle";
  }
}

/** Add a kernel's message to the outputs of a cell. */
function takeOutput(outputs, displays, { header, content }) {
  const kind = header.msg_type;
  const { transient, ...output } = content;
  const id = transient?.display_id;
  if (kind === "clear_output") {
    outputs.clear(content.wait);
    displays.clear();
  } else if (kind === "update_display_data") {
    const updated = { ...output, output_type: "display_data" };
    displays.set(id, (displays.get(id) ?? []).map((shown) => replaceOutput(outputs, shown, updated)));
  } else if (["stream", "display_data", "execute_result", "error"].includes(kind)) {
    outputs.add({ ...output, output_type: kind });
    if (id) displays.set(id, [...(displays.get(id) ?? []), outputs.get(outputs.length - 1)]);
  }
}

/** Replace one of a cell's outputs; return what is there instead. Another run of the cell may
 *  have removed it: nothing is changed then. */
function replaceOutput(outputs, shown, updated) {
  for (let index = 0; index < outputs.length; index += 1) {
    if (outputs.get(index) !== shown) continue;
    outputs.set(index, updated);
    return outputs.get(index);
  }
  return shown;
}

function describeError({ ename, evalue, status }) {
  return ename ? `${ename}: ${evalue}`.slice(0, 300) : String(status);
}
