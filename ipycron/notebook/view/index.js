// @ts-check

/** One call per model: its views share what it knows. */
export default () => {
  /** @type {Store} */
  let store;
  return {
    initialize({ model }) {
      store = new Store(model);
      return () => store.close();
    },
    render({ model, el }) {
      return model.get("kind") === "panel" ? renderPanel(store, el) : renderCard(store, el);
    },
  };
};
