"""From the text of a magic to a task."""
