// @ts-check
// Included in every view: a page loads hundreds of them at once, and the kernel has
// two seconds to answer for all. The script and the style are in one model for all; the
// first view that needs them reads them. This file does not depend on the others.

const PREFIX = "IPY_MODEL_";
const PATIENCE = 1500;

/** The modules of this page by their text: two kernels may differ. */
const MODULES = Symbol.for("ipycron.modules");

/** A page makes all its models at once, in any order. @param {any} model */
async function findAssets(model) {
  const id = model.get("assets").slice(PREFIX.length);
  const end = Date.now() + PATIENCE;
  for (let pause = 5; ; pause *= 2) {
    try {
      return await model.widget_manager.get_model(id);
    } catch (error) {
      if (Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/** @param {string} script */
async function importText(script) {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** @param {string} script */
function load(script) {
  const modules = (globalThis[MODULES] ??= new Map());
  if (!modules.has(script)) {
    const module = importText(script);
    modules.set(script, module);
    module.catch(() => modules.delete(script)); // the next view tries again
  }
  return modules.get(script);
}

/** @param {string} text */
function putStyle(text) {
  let style = document.getElementById("ipycron-style");
  if (!style) {
    style = document.createElement("style");
    style.id = "ipycron-style";
    document.head.append(style);
  }
  if (style.textContent !== text) style.textContent = text;
}

/** A placeholder for what the module's own factory makes, once it is loaded. */
export default () => {
  /** @type {any} */
  let view;
  return {
    async initialize(props) {
      const assets = await findAssets(props.model);
      const module = await load(assets.get("script"));
      putStyle(assets.get("style"));
      // In a notebook that was saved with its widgets, they have no kernel.
      view = module.default({ isSaved: assets.comm_live === false });
      return view.initialize(props);
    },
    render(props) {
      return view.render(props);
    },
  };
};
