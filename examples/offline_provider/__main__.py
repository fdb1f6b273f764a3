"""Run the offline provider as a process of its own, until it is interrupted or terminated."""

import argparse
import signal

from examples.offline_provider.server import OfflineProvider

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.offline_provider", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--bill", metavar="FILE", help="write the bill to this file, one JSON object per line")
    arguments = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with OfflineProvider(arguments.port, arguments.bill) as provider:
        print(provider.url, flush=True)
        signal.sigwait(ends)
