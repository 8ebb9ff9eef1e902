"""What a task's pod reaches and holds: a line for each place, for each variable and for each file of a token."""

import os
import socket
import sys
import time

#: A policy comes into force on a new pod within seconds, not before its first packet: what was reached is asked again.
SECONDS = 20


def reaches(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return False
    return True


begun = time.monotonic()
reached = dict(one.split("=") for one in sys.argv[1:])
while reached and time.monotonic() < begun + SECONDS:
    reached = {name: address for name, address in reached.items() if reaches(address)}
    time.sleep(1)
for name in sorted(one.split("=")[0] for one in sys.argv[1:]):
    print(f"place {name}: {'reached' if name in reached else 'not reached'}")
for name in sorted(os.environ):
    print(f"variable {name}")
for folder, _, files in os.walk("/var/run/secrets"):
    for file in files:
        print(f"token {folder}/{file}")
