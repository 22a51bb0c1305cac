"""Stand-ins for API servers and their clients.

api.py serve NAME ADDRESS PORT CERTIFICATE KEY READY: HTTPS; /readyz is 200 while the file READY is there, /name says
the name, /watch says it and stays. api.py names CA URL COUNT: the names of those who answered so many calls.
api.py watch CA URL NAME: watches this one, and says when it is lost. api.py page URL WORD: whether a page has a word.
"""

import http.client
import http.server
import os
import ssl
import sys
import time
import urllib.request


def serve(name, address, port, certificate, key, ready):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            healthy = self.path != "/readyz" or os.path.exists(ready)
            self.send_response(200 if healthy else 500)
            body = f"{name}\n".encode()
            if self.path != "/watch":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if self.path == "/watch":
                time.sleep(600)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        # In the connection's thread, so that one who says nothing does not keep the others waiting.
        def finish_request(self, request, client):
            super().finish_request(context.wrap_socket(request, server_side=True), client)

        def handle_error(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    Server((address, int(port)), Handler).serve_forever()


def get(ca, url, path):
    address, port = url.split(":")
    context = ssl.create_default_context(cafile=ca)
    call = http.client.HTTPSConnection(address, int(port), context=context, timeout=20)
    call.request("GET", path)
    return call, call.getresponse()


def names(ca, url, count):
    found = set()
    for _ in range(int(count)):
        call, answer = get(ca, url, "/name")
        found.add(answer.read().decode().strip())
        call.close()
    print(" ".join(sorted(found)))


def watch(ca, url, wanted):
    while True:
        call, answer = get(ca, url, "/watch")
        if answer.readline().decode().strip() == wanted:
            break
    print(f"watching {wanted}", flush=True)
    try:
        lost = not answer.read(1)
    except TimeoutError:
        lost = False
    except OSError:
        lost = True
    print(f"lost {wanted}" if lost else f"still watching {wanted}", flush=True)


def page(url, word):
    with urllib.request.urlopen(url, timeout=5) as answer:
        print("yes" if word in answer.read().decode() else "no")


{"serve": serve, "names": names, "watch": watch, "page": page}[sys.argv[1]](*sys.argv[2:])
