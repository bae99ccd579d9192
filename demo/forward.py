#!/usr/bin/env python3
"""Forward the usage of a stream to an HTTP endpoint, as a consumer.

    forward.py [--once] [--batch ROWS] [--every SECONDS] [--retry SECONDS] STREAM CONSUMER URL

Each batch is sent as one POST of JSON lines, a usage row each, and finished once the endpoint has answered 2xx. If the answer is
lost, the same rows are sent again: the endpoint has to ignore a transaction_id that it knows, and then each row counts once. The
header Idempotency-Key is a hash of the rows: the same for the same rows, and never that of others. (The number of a batch is
not: where the database was restored, numbers that were used since the backup come again, with other rows.)

While the endpoint cannot be reached, or answers 408, 429 or 5xx, the batch is tried again, after 1 s at first and 60 s at most (--retry). Any other
answer is an error of the request, which a person has to look at: the program ends, and the batch stays open. So does it for an error
that the server raises; while the server is away, it waits for it in the same way. With --once it ends when there is nothing new,
else it looks again each few seconds. It connects as psql does (PGHOST, PGDATABASE, PGSERVICE...), anew for each statement.

Nothing but Python's standard library and psql is needed.
"""
import argparse
import hashlib
import http.client
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

TRY_AGAIN = {408, 429}
LONGEST_WAIT = 60
CONNECTION_LOST = 2  # what psql ends with

stopping = False


def pause(wait):
    """Wait for about so long.  Return how long to wait the next time."""
    time.sleep(wait * random.uniform(0.5, 1))
    return min(2 * wait, LONGEST_WAIT)


def ask(script, **variables):
    """Run a script in psql, with its variables, and return the lines that it prints."""
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
    for name, value in variables.items():
        command += ["-v", f"{name}={value}"]
    done = subprocess.run(command, input=script, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def next_batch(stream, consumer, rows):
    """Return the number of the open batch, or of a new one, and its rows as JSON; no rows: nothing is new."""
    # committed before a row of it leaves: from then on these rows are the batch
    lines = ask("SET timezone = 'UTC';\nSELECT b.batch, to_jsonb(b) - 'batch' FROM meter.next_batch(:'stream', :'consumer', :rows) b;\n",
                stream=stream, consumer=consumer, rows=rows)
    batch = None
    usage = []
    for line in lines:
        batch, row = line.split("|", 1)
        usage.append(row)
    return batch, usage


def finish(stream, consumer, batch):
    ask("SELECT meter.finish_batch(:'stream', :'consumer', :batch);\n", stream=stream, consumer=consumer, batch=batch)


def post(url, batch, usage):
    """Send rows once.  Return whether the endpoint has them, and what was wrong if not."""
    body = "".join(row + "\n" for row in usage).encode()
    request = urllib.request.Request(url, data=body, method="POST", headers={
        "Content-Type": "application/x-ndjson", "Idempotency-Key": hashlib.sha256(body).hexdigest()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            return True, None
    except urllib.error.HTTPError as error:
        if error.code in TRY_AGAIN or error.code >= 500:
            return False, f"it answered {error.code}"
        sys.exit(f"{url} refused batch {batch}: {error.code} {error.reason}\n{error.read().decode(errors='replace')}")
    except (OSError, http.client.HTTPException) as error:
        # it may have the rows or not
        return False, str(error) or type(error).__name__


def send(url, batch, usage, wait):
    """Send rows until the endpoint has them, or the program is to stop.  Return whether it has."""
    while not stopping:
        done, wrong = post(url, batch, usage)
        if done:
            return True
        print(f"batch {batch} is sent again: {wrong}", file=sys.stderr)
        wait = pause(wait)
    return False


def forward(args):
    """Forward a batch.  Return whether there was one."""
    batch, usage = next_batch(args.stream, args.consumer, args.batch)
    if usage and send(args.url, batch, usage, args.retry):
        finish(args.stream, args.consumer, batch)
    return bool(usage)


def stop(signum, frame):
    global stopping
    stopping = True


def main():
    parser = argparse.ArgumentParser(description="Forward the usage of a stream to an HTTP endpoint.")
    parser.add_argument("stream")
    parser.add_argument("consumer")
    parser.add_argument("url")
    parser.add_argument("--once", action="store_true", help="end when there is nothing new")
    parser.add_argument("--batch", type=int, default=1000, help="rows in a batch at most")
    parser.add_argument("--every", type=float, default=5, help="seconds between looks for something new")
    parser.add_argument("--retry", type=float, default=1, help="seconds until a batch is tried again for the first time")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    wait = args.retry
    while not stopping:
        try:
            found = forward(args)
        except subprocess.CalledProcessError as error:
            if error.returncode != CONNECTION_LOST:
                raise
            # whether the batch was finished or not: the next turn gets what is open
            wait = pause(wait)
            continue
        wait = args.retry
        if not found and args.once:
            return
        if not found:
            time.sleep(args.every)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"psql ended with {error.returncode}")
