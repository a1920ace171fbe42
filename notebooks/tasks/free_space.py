"""How much of the disk is free: a task file, run in a worker process."""

import shutil

checks = 0


def task(ctx):
    global checks
    checks += 1
    usage = shutil.disk_usage(".")
    percent = 100 * usage.free / usage.total
    print(f"check {checks}, {ctx.date:%H:%M:%S}: {percent:.0f} % of the disk is free")
    return round(percent)
