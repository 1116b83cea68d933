"""Stands in for a program in a real process: tells the test what words it received, and does what the test answers.

See tests/helpers/recording.py, which is asked over TCP.
"""

import json
import os
import signal
import socket
import sys

port, _, fakes = os.environ["FAKES"].partition("/")
received = {"fakes": fakes, "words": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "environment": dict(os.environ)}  # noqa: PTH119
with socket.create_connection(("127.0.0.1", int(port))) as test:
    test.sendall(json.dumps(received).encode() + b"\n")
    answer = json.loads(test.makefile().readline())
if answer["kill"]:
    os.kill(os.getpgrp(), signal.SIGKILL)
if answer["run"]:
    os.execvp(answer["run"][0], answer["run"])
sys.stdout.write(answer["stdout"])
sys.stderr.write(answer["stderr"])
if answer["holds"]:
    sys.stdout.flush()
    signal.alarm(600)  # Ends by itself where a test has killed the program that would have ended it.
    signal.pause()
sys.exit(answer["exit"])
