"""tinyproxy, which wants a user and a password."""

import base64
import socket
import tempfile
import pathlib

from support.processes import Process, clean_environment

USER, PASSWORD = "relay", "s3cretWord"  # letters and digits are all that tinyproxy takes

CONFIGURATION = """
Port {port}
Listen 127.0.0.1
Timeout 600
LogLevel Info
MaxClients 200
BasicAuth {user} {password}
"""


class TinyProxy:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="tinyproxy.")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        path = pathlib.Path(self.folder.name, "tinyproxy.conf")
        path.write_text(CONFIGURATION.format(port=self.port, user=USER, password=PASSWORD))
        self.process = Process(["tinyproxy", "-d", "-c", str(path)], env=clean_environment())
        self.process.wait_for(lambda line: "Accepting connections" in line)

    def url(self, password=PASSWORD):
        return f"http://{USER}:{password}@127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.process.log

    def close(self):
        self.process.stop()
        self.folder.cleanup()


def secrets():
    return [PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()]
