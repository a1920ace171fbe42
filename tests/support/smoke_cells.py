"""A scheduled cell in a shell: do the installed versions work together?"""

import threading

from IPython.core.interactiveshell import InteractiveShell

import ipycron


def main():
    """Run one cell once, with a variable, and check its result."""
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "ipycron")
    shell.run_cell("answer = 42", silent=True)
    done = shell.run_cell("%%cron --name smoke * * * * * *\nprint(answer)\nanswer + 1")
    done.raise_error()
    task = ipycron.get_task("smoke")
    finished = threading.Event()
    task.on("execution:finished", lambda _: finished.set())
    if not finished.wait(20):
        raise SystemExit(f"no run: {task!r} {task.last_run!r}")
    assert task.last_run.output.stdout.startswith("42"), task.last_run
    print(task.expression.describe(), task.last_run)  # noqa: T201 - its report
    ipycron.shutdown()


main()
