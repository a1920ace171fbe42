"""Run notebook cells, functions and scripts on a cron schedule."""
