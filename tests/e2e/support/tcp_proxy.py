"""A connection that fails: a TCP proxy whose traffic a test can slow, cut or reset."""

import contextlib
import socket
import struct
import threading


class TcpProxy:
    def __init__(self, address):
        self.address = address  # (host, port) of the real peer; may change between connections
        self._open = set()
        self._lock = threading.Lock()
        self.pause = 0.0  # seconds before each piece is passed on
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            peer = socket.create_connection(self.address, timeout=5)
        except OSError:
            client.close()
            return
        peer.settimeout(None)
        with self._lock:
            self._open |= {client, peer}
        back = threading.Thread(target=self._pump, args=(peer, client), daemon=True)
        back.start()
        self._pump(client, peer)
        back.join()
        with self._lock:
            self._open -= {client, peer}
        client.close()
        peer.close()

    def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                if self.pause:
                    self.stopping.wait(self.pause)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self, with_reset=False):
        """Ends all connections, in the middle of whatever they carry."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    if with_reset:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                              struct.pack("ii", 1, 0))
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake who accepts
        self.listener.close()
        self.cut()
