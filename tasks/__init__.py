"""THE FLOW: what happens, in order.

step        module         started by                      state change                        rings
create      (ledger)       command line, follow_up         - → queued                          dispatch
dispatch    dispatch.py    create, finished work, clock    -                                   submit
submit      submit.py      dispatch                        queued → submitting → submitted     dispatch
callback    (webhook)      the provider's POST             -                                   ingest
ingest      ingest.py      webhook                         submitted → succeeded / failed      archive, dispatch
poll        poll.py        reconcile                       submitted → succeeded / failed      archive, dispatch
archive     archive.py     ingest, poll                    succeeded → archived / expired      follow_up
follow up   follow_up.py   archive                         creates generations                 dispatch
manifest    manifest.py    reconcile                       -                                   -
notify      notify.py      reconcile                       -                                   -
reconcile   reconcile.py   the clock, each second          submitting → unconfirmed            any

One rule makes this safe: a ledger method is one transaction and returns after its commit; a bell is rung only after a
ledger method has returned. A bell that is lost in between is rung again by reconcile.
"""
