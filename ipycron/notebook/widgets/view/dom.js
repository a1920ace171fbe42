// @ts-check
// The files in this folder form one ES module: Python concatenates them in the order
// given in assets.py. Only index.js exports.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element. Text children become text nodes, never markup.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] `on` holds listeners by event; null,
 *   undefined and false are left out.
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Like `h`, in the SVG namespace. */
function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) {
        element.addEventListener(event, listener);
      }
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children) {
    if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

/** Set an element's text if it differs: avoids needless layout. */
function setText(element, text) {
  const first = element.firstChild;
  if (first && first === element.lastChild && first.nodeType === Node.TEXT_NODE) {
    if (first.data !== text) first.data = text;
  } else if (first || text !== "") {
    element.textContent = text;
  }
}

/** Set or remove an attribute, if it differs. */
function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

const ICONS = {
  run: "M4.5 2.6v10.8L13 8z",
  start: "M8 1.5v6M4.6 3.4a5.6 5.6 0 1 0 6.8 0",
  stop: "M3.5 3.5h9v9h-9z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  resume: "M3 3h2.5v10H3zM7 3v10l6.5-5z",
  destroy: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  chevron: "M6 3.5 10.5 8 6 12.5",
  finished: "M3 8.6 6.4 12 13 4.6",
  failed: "M4 4l8 8M12 4l-8 8",
  idle: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 4.8V8l2.2 1.6",
  queued: "M4.5 2.5h7L8 8l3.5 5.5h-7L8 8z",
  running: "M8 2a6 6 0 1 1-6 6",
  retrying: "M13.5 8A5.5 5.5 0 1 1 11.6 3.8M12.2 1v3.2H9",
  snoozed: "M13.4 9.8A5.8 5.8 0 1 1 6.2 2.6a4.6 4.6 0 0 0 7.2 7.2z",
  starting: "M8 2a6 6 0 0 1 6 6",
  stopping: "M8 2a6 6 0 1 1-6 6M5.8 5.8h4.4v4.4H5.8z",
  failing: "M8 2.2 14.5 13.5h-13zM8 6.4v3.4M8 11.4v.6",
  paused: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM6.4 5.8v4.4M9.6 5.8v4.4",
  stopped: "M4 4h8v8H4z",
  missed: "M8 3.4a4.6 4.6 0 1 0 0 9.2 4.6 4.6 0 0 0 0-9.2z",
  skipped: "M4 8h8",
  destroyed: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM3.8 3.8l8.4 8.4",
  copy: "M5.5 5.5V3h7.5v7.5h-2.5M3 5.5h7.5V13H3z",
  save: "M8 2.5v7M4.8 6.6 8 9.8l3.2-3.2M3 13h10",
  expand: "M4.5 6 8 2.5 11.5 6M4.5 10 8 13.5 11.5 10",
  warning: "M8 2.2 14.5 13.5h-13zM8 6.4v3.4M8 11.4v.6",
};
const SOLID = new Set(["run", "stop", "pause", "resume"]);

/** An icon explained by the word beside it: hidden from screen readers. */
function icon(name) {
  const path = s("path", { d: ICONS[name] });
  const attributes = {
    viewBox: "0 0 16 16",
    class: `icr-icon icr-icon-${name}${SOLID.has(name) ? " icr-solid" : ""}`,
    "aria-hidden": "true",
    focusable: "false",
  };
  return s("svg", attributes, path);
}

/** Change an icon, if it differs. */
function setIcon(holder, name) {
  if (holder.dataset.icon === name) return;
  holder.dataset.icon = name;
  holder.replaceChildren(icon(name));
}

/**
 * A button with an icon; its label is visible or read aloud.
 * @param {string} name of the icon
 * @param {string} label
 * @param {() => void} act
 * @param {boolean} isWide whether the label is seen
 */
function makeButton(name, label, act, isWide = false) {
  const holder = h("span", { class: "icr-holder" });
  setIcon(holder, name);
  const text = isWide ? h("span", {}, label) : null;
  const attributes = {
    type: "button",
    class: `icr-button icr-do-${name}`,
    title: label,
    "aria-label": isWide ? null : label,
    on: { click: act },
  };
  return h("button", attributes, holder, text);
}

/** A new id; `crypto.randomUUID` is missing on plain http pages. */
function makeId() {
  return globalThis.crypto && crypto.randomUUID
    ? crypto.randomUUID()
    : `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
}
