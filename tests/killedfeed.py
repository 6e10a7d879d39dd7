"""A feed as a process of its own, to be killed: ``killedfeed.py conninfo slot url stream``."""

import sys

from feedfacts import Lines

from pgreplkit.feeds import Feed, JetStream

if __name__ == "__main__":
    conninfo, slot, url, stream = sys.argv[1:]
    sink = JetStream(url, stream)
    encoder = Lines(f"{stream}.rows")
    Feed(conninfo, slot, publications=["p"], sink=sink, encoder=encoder, hold=0).run()
