"""THE FLOW: what happens, in order.

step        module         started by                    state change                             wakes
create      usecases/      command line, create, API,    - → queued                               dispatch
                           follow_up
dispatch    dispatch.py    create, capacity freed     -                                        submit
submit      submit.py      dispatch                      queued → submitting → submitted, or      dispatch, archive
                                                         (texts) succeeded; unconfirmed / failed
                                                         / queued
callback    (webhook)      the provider's POST           -                                        ingest
ingest      ingest.py      callback                      submitted → succeeded / failed           archive, dispatch
poll        poll.py        sweep                         submitted → succeeded / failed;          archive, dispatch
                                                         unconfirmed → submitted, if it is found
archive     archive.py     submit, ingest, poll          succeeded → archived / expired           follow_up, thumbnail
thumbnail   thumbnail.py   archive, a look at it         - (while ingest, archive and submit      thumbnail
                                                         have nothing to do)
follow up   follow_up.py   archive                       creates generations                      dispatch
manifest    manifest.py    sweep                         -                                        -
notify      notify.py      sweep                         -                                        notify
prune       prune.py       the clock, every hour         - (deletes rows past their retention)    prune
ping        ping.py        the clock, every 10 seconds   - (shows that a worker executes tasks)   -
sweep       sweep.py       the clock, every second       submitting → unconfirmed                 any

The tasks of `create.py` and `picking.py` are no steps: their messages are requests and answers of other applications
on the same broker.

Before it dispatches, dispatch moves what was never sent away from providers that take nothing now (`failover.py`).

A success is kept in whatever state its generation is: `TRANSITIONS` in `worker/generation.py` lists all moves. What
only a person decides (retry, resolve, cancel, dead replay, rescue, reconcile --confirm) is in `tasks/usecases/`.

One rule makes this safe: a ledger method is one transaction and returns after its commit; a wake-up is sent only after
a ledger method has returned. The sweep replaces a wake-up that is lost in between. `worker/steps.py` is the list of
steps for programs.
"""
