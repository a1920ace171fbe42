"""WHETHER: one scheduler for inline and background tasks alike."""
