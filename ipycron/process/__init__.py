"""WHO: the processes that run jobs in the background, and what connects them.

::

    client ──socket── supervisor ──socket── zygote
       └◄────leash────────┴──────────────────┤
                          │ │                 │ fork
                          │ └──────socket──── worker
                          ├────── stdout ◄─── worker
                          ├────── stderr ◄─── worker
                          ├────── lifeline ─► worker
                          ├────── permit ───► worker
                          └────── token ────► worker
    client ───────────line───────────────────── worker

A worker is told of a slot a moment before it and begins by its own clock. The permit,
an eventfd, is the leave to do so: the worker takes it at the slot, or the supervisor
takes it back before it says anything else.

A worker that has been called twice has a line to its client: `execute()` then goes past
the supervisor, for runs that return within milliseconds and show nothing on the way.
The token, another eventfd, says which call was the last and whether its run is in
progress. Who takes its word has the worker until it is put back: the worker, for two
steps, to begin a call or to end it; the supervisor, for all that it does itself.

What an end of file means:

* client's end closed, seen by the supervisor: the client is gone. Every worker is
  ended (SIGTERM, grace, SIGKILL, by process group) and the supervisor leaves.
* supervisor's end closed, seen by the zygote: the same, by the zygote, for the
  workers that it forked.
* supervisor's end closed, seen by an idle worker: it leaves.
* lifeline closed, while user code runs: the kernel sends the worker's process group
  SIGTERM, whatever Python is doing; a worker whose zygote dies is killed by
  ``PR_SET_PDEATHSIG`` as well.
* supervisor's end closed, seen by the client: its runs are lost, a new supervisor
  is started and every started task resumes. A supervisor that is told to end by
  anybody else (SIGTERM) closes its end first and is silent: it is lost, too.
* leash closed, seen by the next supervisor: the one before, its zygote and so its
  workers are gone. Only then does it start a worker: no job runs beside itself.
* zygote's end closed, seen by the supervisor: its workers are lost with it; a start
  that was under way is made again with the next zygote.
* worker's end closed, seen by the supervisor: the worker is dying or has closed its
  socket; its process group is killed, the exit status tells which. A zygote that is
  stopped or busy does not reap: after a second the end is read from ``/proc``.
* worker's end of the line closed, seen by the client: it asks the supervisor what
  became of its call. Client's end closed, seen by the worker: it takes no more calls.
* none at all, and no answer to `Ping`: a zygote or a supervisor that is stopped, traced
  or waits for a disk is ended after 8 s, as is all below it; a new one takes over.
* stdout or stderr closed: nothing. A job may close them, a grandchild may hold them.

Every process below the client leads a session of its own, so that an interrupt of a
kernel's process group reaches no job. Nothing listens on any port.
"""
