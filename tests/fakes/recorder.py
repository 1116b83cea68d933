"""Stands in for a program: writes down the words it received, and answers as the test has said.

The test's rules are a list of {match, exit, stdout, stderr, after, before, kill}: the last one whose regular expression
matches the whole command answers; `after` and `before` are expressions for commands that must, or must not, have been
received earlier; with both, not since the one that must. A rule with `kill` gives no answer: it ends the leader of the
process group, as `kill -9` does, where this command has not been received before. Without a rule the program succeeds
and says nothing.
"""

import fcntl
import json
import os
import re
import shlex
import sys
from pathlib import Path

folder = Path(os.environ["FAKES"])
words = [Path(sys.argv[0]).name, *sys.argv[1:]]
command = shlex.join(words)
with (folder / "log").open("a+") as log:
    fcntl.flock(log, fcntl.LOCK_EX)  # tools run side by side
    log.seek(0)
    earlier = [shlex.join(json.loads(line)["words"]) for line in log]
    log.write(json.dumps({"words": words, "environment": dict(os.environ)}) + "\n")


def applies(rule: dict[str, str]) -> bool:
    since = earlier
    if rule["after"]:
        first = next((n for n, line in enumerate(earlier) if re.search(rule["after"], line)), None)
        if first is None:
            return False
        since = earlier[first:]
    return (re.search(rule["match"], command) is not None
            and not (rule["before"] and any(re.search(rule["before"], line) for line in since)))


for rule in reversed(json.loads((folder / "rules.json").read_text())):
    if not applies(rule):
        continue
    if rule["kill"]:
        if command not in earlier:
            os.kill(os.getpgrp(), 9)
    else:
        sys.stdout.write(rule["stdout"])
        sys.stderr.write(rule["stderr"])
        sys.exit(rule["exit"])
