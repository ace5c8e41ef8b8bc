#!/usr/bin/env python3
"""hostile-registry.py PORT TARGET MODE LOG: what a registry may do, in front of a real one.

Listens on 127.0.0.1:PORT and passes requests on to 127.0.0.1:TARGET. The file MODE says what is done instead; it is read at each
request. LOG gets a line for each.
"""

import hashlib
import http.client
import http.server
import json
import socket
import sys
import time

PORT, TARGET, MODE, LOG = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
HOP = {"connection", "transfer-encoding", "content-length", "host"}
# Records that were changed: by digest.
changed = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def ask(self, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", TARGET)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
        # So that the addresses in its answers lead here again.
        headers["Host"] = f"127.0.0.1:{PORT}"
        connection.request(self.command, path, body, headers)
        answer = connection.getresponse()
        return answer.status, [pair for pair in answer.getheaders() if pair[0].lower() not in HOP], answer.read()

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drip(self, body):
        """1 KiB a second, until whoever listens has had enough."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (1 << 20)))
        self.end_headers()
        for byte in body + bytes(1 << 20):
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(1 / 1024)

    def do(self):
        mode = open(MODE).read().strip()
        with open(LOG, "a") as log:
            log.write(f"{mode} {self.command} {self.path}\n")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        manifest, blob = "/manifests/" in self.path, "/blobs/sha256:" in self.path
        if mode.isdigit():
            return self.reply(int(mode), [], b"no")
        if mode == "hang":
            return self.connection.recv(1)
        if mode == "loop":
            return self.reply(307, [("Location", self.path)], b"")
        if mode == "away":
            return self.reply(307, [("Location", f"http://127.0.0.2:{PORT + 7}{self.path}")], b"")
        if mode == "dies" and self.command == "PUT" and (manifest or "digest=" in self.path):
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if self.command != "GET" or mode == "pass":
            return self.reply(*self.ask(self.path, body))
        if mode == "garbage":
            return self.reply(200, [], bytes(range(256)) * 16)
        if mode == "huge" and manifest:
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 30))
            return self.end_headers()
        if mode == "endless" and manifest:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while True:
                self.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
        if blob and (found := changed.get(self.path.rsplit(":", 1)[1])):
            return self.reply(200, [], found)
        status, headers, found = self.ask(self.path)
        if mode == "slow" and (manifest or blob):
            return self.drip(found)
        if mode == "cut" and blob:
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found[: len(found) // 2])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if mode == "flip" and blob:
            found = found[:-1] + bytes([found[-1] ^ 1])
        if mode == "unsigned" and manifest:
            document = json.loads(found)
            del document["annotations"]["org.dkms.signature"]
            found = json.dumps(document).encode()
        if mode == "record" and manifest:
            # Sound digests around a record that nobody has signed.
            document = json.loads(found)
            record = self.ask(self.path.split("/manifests/")[0] + "/blobs/" + document["config"]["digest"])[2]
            record = record.replace(b'"strip": true', b'"strip": false')
            digest = hashlib.sha256(record).hexdigest()
            changed[digest] = record
            document["config"].update(digest="sha256:" + digest, size=len(record))
            found = json.dumps(document).encode()
        if mode.startswith("other ") and manifest:
            return self.reply(*self.ask(self.path.rsplit("/", 1)[0] + "/" + mode.split()[1]))
        return self.reply(status, [pair for pair in headers if pair[0] != "Docker-Content-Digest"], found)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do


http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
