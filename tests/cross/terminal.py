"""Somebody at a terminal: starts a program on one of its own, waits for words, types, and tells what came of it.

Reads {program, arguments, environment, directory, steps} as JSON from standard input. A step is {"expect": words} with
"type": text (after the words, and where "unseen" is true after the terminal hides what is typed) or "signal": number.
Writes {exit, signal, said, shows}: `shows` is whether the terminal shows what is typed, afterwards.
"""

import fcntl
import json
import os
import pty
import select
import sys
import termios
import time

order = json.load(sys.stdin)
deadline = time.monotonic() + 120
master, terminal = pty.openpty()
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(terminal, number)
    os.chdir(order["directory"])
    os.execve(order["program"], [order["program"], *order["arguments"]], order["environment"])

said = b""


def shows():
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def listen(seconds):
    global said
    if select.select([master], [], [], seconds)[0]:
        said += os.read(master, 65536)
    if time.monotonic() > deadline:
        os.kill(pid, 9)
        raise SystemExit(f"too late; it said: {said!r}")


seen = 0
for step in order["steps"]:
    words = step["expect"].encode()
    while said.find(words, seen) < 0:
        listen(1)
    seen = said.find(words, seen) + len(words)
    while step.get("unseen") and shows():
        listen(0.02)
    if "signal" in step:
        os.kill(pid, step["signal"])
    else:
        os.write(master, step["type"].encode())

while True:
    listen(0.05)
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        break
listen(0.05)
print(
    json.dumps(
        {
            "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "said": said.decode(errors="replace"),
            "shows": shows(),
        }
    )
)
