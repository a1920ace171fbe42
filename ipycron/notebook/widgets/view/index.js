// @ts-check

/** One call per model: its views share what it knows. */
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
