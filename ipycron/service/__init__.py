"""The service: schedules that outlive the kernel.

An ordinary client process, with a store of the tasks that it keeps and a socket for its
clients. What both of them need is in `ipycron.process.service`; no kernel imports this.
"""
