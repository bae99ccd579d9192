#!/usr/bin/env python3
"""An HTTP endpoint that loses connections, for the test of demo/forward.py.

    endpoint.py SEED FILE

It prints its port, then appends each row that it accepts to FILE, with how often it came, when it ends. Of the requests it cuts some
before it reads them, some in the middle, and some after it has kept the rows; some it answers with 503.
"""
import http.server
import json
import random
import signal
import socket
import sys

seed, path = int(sys.argv[1]), sys.argv[2]
chance = random.Random(seed)
rows = {}
times = {}
keys = {}


class Handler(http.server.BaseHTTPRequestHandler):
    def cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        key = self.headers["Idempotency-Key"]
        fate = chance.random()
        if fate < 0.15:
            return self.cut()
        if fate < 0.25:
            self.rfile.read(length // 2)
            return self.cut()
        body = self.rfile.read(length)
        if fate < 0.35:
            self.send_error(503)
            return None
        if keys.setdefault(key, body) != body:
            self.send_error(400, "the same batch with other rows")
            return None
        for line in body.decode().splitlines():
            row = json.loads(line)
            name = row["transaction_id"]
            if rows.setdefault(name, line) != line:
                self.send_error(400, "the same row with other values")
                return None
            times[name] = times.get(name, 0) + 1
        if fate < 0.55:
            return self.cut()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, format, *args):
        pass


def end(signum, frame):
    with open(path, "w", encoding="utf-8") as file:
        for name in rows:
            row = json.loads(rows[name])
            print(name, row["account"], row["quantity"], times[name], sep="\t", file=file)
    sys.exit(0)


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
signal.signal(signal.SIGTERM, end)
print(server.server_address[1], flush=True)
server.serve_forever()
