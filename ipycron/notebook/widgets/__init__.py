"""The card and the panel; `view/` is the browser's half."""
