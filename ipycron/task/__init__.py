"""WHAT the user holds: tasks, their options, events, executions."""
