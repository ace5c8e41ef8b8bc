#!/usr/bin/env python3
"""token-server.py PORT CERTIFICATE KEY LOG: gives tokens for a registry (auth.token of the distribution), by TLS.

Listens on 127.0.0.1:PORT. `dkms`, password `secret`, may do what it asks for; who has no name may pull; every other name is
refused. LOG gets a line for each request: who, and for what. Tokens are signed with KEY, whose CERTIFICATE is in them (RFC 7515, x5c).
"""

import base64
import http.server
import json
import ssl
import subprocess
import sys
import time
import urllib.parse

PORT, CERTIFICATE, KEY, LOG = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(service, user, access):
    der = ssl.PEM_cert_to_DER_cert(open(CERTIFICATE).read())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
    now = int(time.time())
    claims = {"iss": "tokens", "sub": user, "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1"}
    parts = [text(json.dumps(part).encode()) for part in (header, {**claims, "access": access})]
    signed = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", KEY], input=".".join(parts).encode(), stdout=subprocess.PIPE, check=True
    )
    return ".".join([*parts, text(signed.stdout)])


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        user, name = "", self.headers.get("Authorization")
        if name:
            user, _, password = base64.b64decode(name.split()[1]).decode().partition(":")
        with open(LOG, "a") as log:
            log.write(f"{user or 'nobody'} {query.get('scope', [''])[0]}\n")
        if name and (user, password) != ("dkms", "secret"):
            return self.send_error(401)
        access = []
        for scope in query.get("scope", []):
            kind, repository, actions = scope.split(":")
            allowed = [action for action in actions.split(",") if user or action == "pull"]
            access.append({"type": kind, "name": repository, "actions": allowed})
        body = json.dumps({"token": token(query["service"][0], user, access), "expires_in": 300}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
