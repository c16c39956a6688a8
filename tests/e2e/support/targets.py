"""Targets that nobody here wrote: httpbin and nginx, as real processes."""

import os
import pathlib
import socket

from support.processes import Process, clean_environment

HTTPBIN = pathlib.Path(__file__).with_name("httpbin_server.py")


class Httpbin:
    def __init__(self):
        self.process = Process(["/usr/bin/python3", str(HTTPBIN)], env=clean_environment())
        line = self.process.wait_for(lambda line: line.startswith("port "))
        self.port = int(line.split()[1])

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self):
        self.process.stop()


MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""

SERVER = """
    server {{
        listen 127.0.0.1:{port} {tls};
        root {folder}/files;
        {certificate}
        location = /echo-host {{ return 200 "$http_host"; }}
        location = /not-modified {{ return 304; }}
    }}
"""


class Nginx:
    """One plain server and one for each certificate, all with the same files.

    The ports are bound here and handed over, so that nobody else can take them and no
    connection comes too early: it waits in the queue until nginx accepts it."""

    def __init__(self, folder, certificates):
        (folder / "files").mkdir()
        self.files = folder / "files"
        self.ports = {}
        listeners, servers = [], []
        for name, identity in {"plain": None, **certificates}.items():
            listener = socket.create_server(("127.0.0.1", 0))
            listeners.append(listener)
            self.ports[name] = listener.getsockname()[1]
            servers.append(SERVER.format(
                folder=folder, port=self.ports[name], tls="ssl" if identity else "",
                certificate=self._certificate(identity)))
        (folder / "nginx.conf").write_text(MAIN.format(
            folder=folder, servers="".join(servers),
            # Its workers would otherwise be www-data, who cannot read the tests' folder.
            user="user root;" if os.geteuid() == 0 else ""))
        inherited = [listener.fileno() for listener in listeners]
        env = clean_environment({"NGINX": "".join(f"{number};" for number in inherited)})
        self.process = Process(
            ["/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"],
            env=env, pass_fds=inherited)
        for listener in listeners:
            listener.close()

    @staticmethod
    def _certificate(identity):
        if not identity:
            return ""
        return (f"ssl_certificate {identity.certificate_file};"
                f"ssl_certificate_key {identity.key_file};")

    def file(self, name, content):
        (self.files / name).write_bytes(content)
        return self.url("plain", name)

    def url(self, server, name, host="127.0.0.1"):
        scheme = "http" if server == "plain" else "https"
        return f"{scheme}://{host}:{self.ports[server]}/{name}"

    def close(self):
        self.process.stop()
