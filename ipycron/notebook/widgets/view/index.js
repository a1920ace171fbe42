// @ts-check

/** Called once per model: its views share its state. */
export default ({ isSaved = false } = {}) => {
  /** @type {Store} */
  let store;
  return {
    initialize({ model }) {
      store = new Store(model, isSaved);
      return () => store.close();
    },
    render({ model, el }) {
      const renders = { card: renderCard, panel: renderPanel, leftovers: renderLeftovers };
      return renders[model.get("kind")](store, el);
    },
  };
};
