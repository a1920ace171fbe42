"""WHEN, beyond cron: intervals, instants, recurrence rules, and combinations of them.

Like a `CronExpression` they are plain values: they are compared, stored and sent to the
process that keeps a task's schedule, and no code of the user's decides there when a
task is due. Pure: no clock, no I/O beyond zone data. `python-dateutil` and `holidays`
are imported on demand.
"""
