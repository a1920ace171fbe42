"""WHO: the processes that run jobs in the background, and how they are connected.

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
    client ──────direct connection──────────── worker

Shortly before a slot, the worker receives an order to stand by, and then begins by its
own clock. The permit, an eventfd, decides whether it may: the worker takes it at the
slot, or the supervisor takes it back before it sends any other message.

A worker that has been called twice gets a direct connection to its client: `execute()`
then bypasses the supervisor, for runs that return within milliseconds and produce no
output. The token, another eventfd, holds the number of the latest call and whether its
run is in progress. Whoever has taken the token owns the worker until it is put back:
the worker takes it briefly to begin a call and to end it, the supervisor takes it for
all that it does itself.

What end of file means:

* client's end closed, seen by the supervisor: the client is gone. Every worker is
  ended (SIGTERM, grace, SIGKILL, by process group) and the supervisor exits.
* supervisor's end closed, seen by the zygote: the same, by the zygote, for the
  workers that it forked.
* supervisor's end closed, seen by an idle worker: it exits.
* lifeline closed, while user code runs: the kernel sends SIGTERM to the worker's
  process group, whatever Python is doing. A worker whose zygote dies is also killed by
  ``PR_SET_PDEATHSIG``.
* supervisor's end closed, seen by the client: the runs in progress are lost, a new
  supervisor is started and every started task resumes. A supervisor that receives
  SIGTERM from someone else closes its end first and sends nothing more: it counts as
  lost, too.
* leash closed, seen by the next supervisor: the previous one, its zygote and thus its
  workers are gone. Only then does it start a worker, so that no job runs twice at once.
* zygote's end closed, seen by the supervisor: its workers are lost with it; a start
  that was in progress is repeated with the next zygote.
* worker's end closed, seen by the supervisor: the worker is dying or has closed its
  socket. Its process group is killed; the exit status shows which it was. A zygote that
  is suspended or busy does not reap: after a second the status is read from ``/proc``.
* worker's end of the direct connection closed, seen by the client: it asks the
  supervisor what became of its call. Client's end closed, seen by the worker: it takes
  no more calls.
* no end of file, but no answer to `Ping` either: a zygote or supervisor that is
  suspended, traced or waiting for a disk is ended after 8 s, with all processes below
  it; a new one takes over.
* stdout or stderr closed: nothing. A job may close them, a grandchild may hold them.

Every process below the client leads its own session, so that an interrupt of a kernel's
process group reaches no job. Nothing listens on any port.
"""
