"""A training process for tests that kill: logs into two streams, and counts the calls that have returned.

Run as `python trainer.py FOLDER COUNTER SECONDS`. COUNTER is a file of words of 8 bytes: how many calls have returned, the pid
once logging has begun, and 1 when the run was closed.
"""

import mmap
import os
import sys
import time

import mlv

folder, counter, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(counter, "r+b") as file:
    words = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")

exp = mlv.Exp(folder, "killed", capture=())
train, val = exp.log.sub("train"), exp.logger("val")
large = "x" * 70_000  # goes through a file of the spool

words[1] = os.getpid()
deadline = time.monotonic() + seconds
number = 0
while time.monotonic() < deadline:
    if number % 4000 == 3999:
        train("large", {"number": number, "text": large})
    else:
        (train if number % 3 else val)({"number": number}, step=number)
    number += 1
    words[0] = number
    if number % 97 == 0:
        time.sleep(0.0005)
exp.close()
words[2] = 1
