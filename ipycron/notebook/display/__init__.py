"""Words, text, HTML, terminal: how tasks are shown."""
