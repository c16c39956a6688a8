"""Debian's httpbin in a process of its own; says its port in the first line."""

from httpbin import app
from werkzeug.serving import make_server

if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print("port", server.server_port, flush=True)
    server.serve_forever()
