"""The worker and the zygote it is forked from: the only place where jobs run.

A zygote starts without IPython, asyncio or threads; what a job needs is loaded later.
Nothing here may import `supervisor/`.
"""
