"""The supervisor: it owns the schedule of every background task."""
