"""A target that keeps the exact bytes of each request and answers with exact bytes.

A test takes an URL for a script, a list of steps that are played to successive requests on
that URL (the last one again and again):

    url = raw_target.url(text("hello"))
    ...
    request = raw_target.only(url)
"""

import collections
import contextlib
import itertools
import re
import socket
import struct
import threading

from support.processes import PATIENCE

Request = collections.namedtuple("Request", "line headers body raw connection")


def answer(status="200 OK", headers=(), body=b"", framed=True):
    """The bytes of an HTTP/1.1 answer."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines + ["", ""]).encode("latin-1") + body


class Step:
    """What happens on the connection after a request; true from play: it stays open."""

    def play(self, connection, target, request):
        raise NotImplementedError


class Send(Step):
    """Exactly these bytes, then the end of the connection unless it is to be kept."""

    def __init__(self, content, keep=False):
        self.content = content
        self.keep = keep

    def play(self, connection, target, request):
        connection.sendall(self.content)
        return self.keep


class Text(Step):
    """A well-formed answer, on a connection that stays open; without its body to a HEAD."""

    def __init__(self, status, headers, body):
        self.whole = answer(status, headers, body)
        self.head = self.whole[:len(self.whole) - len(body)]

    def play(self, connection, target, request):
        connection.sendall(self.head if request.line.startswith("HEAD ") else self.whole)
        return True


class Close(Step):
    def play(self, connection, target, request):
        return False


class Reset(Step):
    def play(self, connection, target, request):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class Hang(Step):
    """Nothing until the peer gives up."""

    def play(self, connection, target, request):
        connection.settimeout(None)
        connection.recv(1)
        return False


class Slow(Step):
    """A target that needs some seconds for its work."""

    def __init__(self, seconds, content):
        self.seconds = seconds
        self.content = content

    def play(self, connection, target, request):
        target.stopping.wait(self.seconds)
        connection.sendall(self.content)
        return True


class Gate(Step):
    """Answers when the test opens it; one that stays shut gives up in the end."""

    def __init__(self, content):
        self.content = content
        self.open = threading.Event()

    def play(self, connection, target, request):
        if self.open.wait(PATIENCE):
            connection.sendall(self.content)
        return self.open.is_set()


def text(body="ok", status="200 OK", headers=()):
    return Text(status, headers, body.encode() if isinstance(body, str) else body)


class _Reader:
    """Reads requests off one connection, keeping every byte."""

    def __init__(self, connection):
        self.connection = connection
        self.pending = b""

    def _more(self):
        piece = self.connection.recv(65536)
        if not piece:
            raise ConnectionError("ended inside a request")
        self.pending += piece

    def _until(self, mark):
        while mark not in self.pending:
            self._more()
        return self._take(self.pending.index(mark) + len(mark))

    def _take(self, count):
        while len(self.pending) < count:
            self._more()
        taken, self.pending = self.pending[:count], self.pending[count:]
        return taken

    def _chunks(self):
        raw, body = b"", b""
        while True:
            line = self._until(b"\r\n")
            data = self._take(int(line.split(b";")[0], 16) + 2)
            raw, body = raw + line + data, body + data[:-2]
            if len(data) == 2:
                return raw, body

    def request(self, number):
        head = self._until(b"\r\n\r\n")
        line, *rows = head[:-4].decode("latin-1").split("\r\n")
        headers = [tuple(row.split(":", 1)) for row in rows]
        headers = [(name, value.strip(" ")) for name, value in headers]
        framing = {name.lower(): value for name, value in headers}
        raw, body = b"", b""
        if framing.get("transfer-encoding", "").lower() == "chunked":
            raw, body = self._chunks()
        elif "content-length" in framing:
            raw = body = self._take(int(framing["content-length"]))
        return Request(line, headers, body, head + raw, number)


class RawTarget:
    def __init__(self, context=None):
        """context: an ssl.SSLContext for https."""
        self.context = context
        self.scheme = "https" if context else "http"
        self.stopping = threading.Event()
        self._news = threading.Condition()
        self._scripts = {}
        self._requests = collections.defaultdict(list)
        self._numbers = itertools.count(1)
        self._open = set()
        self._gives_notice = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    # -- the test's side ------------------------------------------------------------

    def url(self, *steps, tail=""):
        with self._news:
            path = f"/r{next(self._numbers)}"
            self._scripts[path] = list(steps) or [text()]
        return f"{self.scheme}://127.0.0.1:{self.port}{path}{tail}"

    @staticmethod
    def _path(url):
        """The first segment alone names the script; what follows is the test's own."""
        return "/" + re.split("[/?#]", url.split("://", 1)[-1], 2)[1]

    def requests(self, url):
        with self._news:
            return list(self._requests[self._path(url)])

    def only(self, url):
        """The one request that came on this URL."""
        requests = self.requests(url)
        assert len(requests) == 1, requests
        return requests[0]

    def wait_for(self, url, count=1):
        """Returns once so many requests have arrived."""
        path = self._path(url)
        with self._news:
            assert self._news.wait_for(lambda: len(self._requests[path]) >= count, PATIENCE), (
                f"{len(self._requests[path])} of {count} requests on {path}")

    def hang_up(self, last_words=b"", with_reset=False, with_notice=False):
        """Ends all connections, which are to be idle; returns when they are closed here.

        with_notice: as https servers do, with TLS's own sign that it is over (close_notify)."""
        self._gives_notice = with_notice
        with self._news:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the peer may have closed it by now
                    self._end(connection, last_words, with_reset)
            assert self._news.wait_for(lambda: not self._open, PATIENCE), len(self._open)

    @staticmethod
    def _end(connection, last_words, with_reset):
        connection.sendall(last_words)
        if with_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Reading then ends in the connection's own thread, which closes it. (SSLSocket's own
        # shutdown would take its TLS away.)
        socket.socket.shutdown(connection, socket.SHUT_RD)

    def close(self):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake _accept
        self.listener.close()
        with self._news:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    # -- the connections' side ------------------------------------------------------

    def _accept(self):
        for number in itertools.count(1):
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection, number):
        connection.settimeout(PATIENCE)
        try:
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with self._news:
                self._open.add(connection)
            reader = _Reader(connection)
            while self._exchange(connection, reader, number):
                pass
        except OSError:
            pass
        finally:
            if self._gives_notice and self.context:
                self._give_notice(connection)
            connection.close()
            with self._news:
                self._open.discard(connection)
                self._news.notify_all()

    @staticmethod
    def _give_notice(connection):
        connection.settimeout(0)
        # The peer's own notice is not waited for; a connection that was shut down cannot give one.
        with contextlib.suppress(OSError, ValueError):
            connection.unwrap()

    def _exchange(self, connection, reader, number):
        request = reader.request(number)
        path = self._path(request.line.split(" ")[1])
        with self._news:
            script = self._scripts.get(path) or [text("no such script", "404 Not Found")]
            step = script[min(len(self._requests[path]), len(script) - 1)]
            self._requests[path].append(request)
            self._news.notify_all()
        return step.play(connection, self, request)


class SilentListener:
    """A port whose connections are never accepted: its queue is full."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        # A queue of length 0 holds one.
        self.filler = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def close(self):
        self.filler.close()
        self.listener.close()


def closed_port():
    """A port on which nobody listens: bound, so that nobody else gets it, never listened on."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]
