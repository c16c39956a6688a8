"""Where it is measured: a folder, certificates, and nginx as the target."""

import os
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from drivers.processes import BUILD, ROOT, Process

sys.path.insert(0, str(ROOT / "tests/e2e"))
from support.certificates import Identity  # noqa: E402 (the end-to-end tests' own)

KIB, MIB = 1024, 1024 * 1024

# 1 KiB comes from memory, because it is nginx's quickest way; larger ones are files. A POST of
# a file would be 405, which is turned into the file.
CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
worker_rlimit_nofile 16384;
http {{
    access_log off;
    default_type application/json;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    client_max_body_size 0;
    client_body_buffer_size 64k;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    limit_req_zone $server_port zone=slow:64k rate=2000r/s;
    limit_req_zone $server_port zone=together:64k rate={together}r/s;
    server {{
        listen 127.0.0.1:{plain};
        root {folder}/files;
        error_page 405 =200 $uri;
        location = /1k {{ return 200 '{body}'; }}
        location = /slow {{ limit_req zone=slow burst=20000; try_files /1k.json =404; }}
        location = /together {{ limit_req zone=together burst=20000; try_files /10k.json =404; }}
    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_session_tickets off;
        ssl_session_cache off;
        location = /1k {{ return 200 '{body}'; }}
        location = /once {{ keepalive_timeout 0; return 200 '{body}'; }}
    }}
}}
"""
TOGETHER_PER_SECOND = 500  # requests to /together are answered so slowly that 1,000 pile up


def body(size):
    """As order_body() of order.c."""
    text = ""
    number = 1000
    while len(text) < size:
        text += (f'{{"sample": "S-{number}", "value": {number % 777}.25, '
                 '"unit": "mg/l"},\n')
        number += 1
    return text[:size]


class Nginx:
    def __init__(self, folder, identity):
        folder.mkdir()
        files = folder / "files"
        files.mkdir()
        for name, size in (("1k", KIB), ("10k", 10 * KIB), ("10m", 10 * MIB)):
            (files / f"{name}.json").write_text(body(KIB) * (size // KIB))
        self.files = files
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(2)]
        self.ports = [listener.getsockname()[1] for listener in listeners]
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(
            folder=folder, plain=self.ports[0], tls=self.ports[1], body=body(KIB),
            certificate=identity.certificate_file, key=identity.key_file,
            together=TOGETHER_PER_SECOND,
            # As root its worker would become another user, who cannot look into the folder.
            user="user root;" if os.geteuid() == 0 else ""))
        inherited = [listener.fileno() for listener in listeners]
        # The ports are bound here and handed over, so that nobody else can take them.
        settings = {"NGINX": "".join(f"{number};" for number in inherited)}
        self.process = Process(
            ["/usr/sbin/nginx", "-p", folder, "-c", config, "-e", "stderr"],
            folder / "log", settings, pass_fds=inherited)
        for listener in listeners:
            listener.close()

    def url(self, path, tls=False):
        scheme, port = ("https", self.ports[1]) if tls else ("http", self.ports[0])
        return f"{scheme}://127.0.0.1:{port}/{path}"

    def large_file(self, size):
        """Made when a case wants it: a file of that many bytes."""
        path = self.files / f"{size}.json"
        if not path.exists():
            block = body(MIB)
            with open(path, "w") as file:
                for _ in range(size // MIB):
                    file.write(block)
                file.write(block[:size % MIB])
        return self.url(path.name)

    def stop(self):
        self.process.stop()


class Place:
    """Everything that the cases share. Lies in build/ and not in /tmp, because the journal's
    syncs cost nothing where that is memory."""

    def __init__(self, options):
        self.options = options
        self.quick = options.quick
        BUILD.mkdir(exist_ok=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-run.", dir=BUILD))
        self.nginx = None
        try:
            self.ca = Identity(self.folder, "Bench CA", is_ca=True)
            self.identity = Identity(self.folder, "server", ("localhost", "127.0.0.1"), self.ca)
            self.key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
            self.nginx = Nginx(self.folder / "nginx", self.identity)
        except BaseException:
            self.close()
            raise
        self.made = 0

    def machine(self):
        """What this is measured on, in general words."""
        cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
        memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
        filesystem = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", self.folder],
                                    check=False, capture_output=True, text=True).stdout.strip()
        return {"cpu": cpu.group(1) if cpu else platform.machine(), "cores": os.cpu_count(),
                "memory_gb": round(int(memory.group(1)) * 1024 / 1e9),
                "kernel": ".".join(platform.release().split(".")[:2]),
                "filesystem": filesystem, "sync_ms": self.sync_ms(),
                "load": round(os.getloadavg()[0], 1)}

    def sync_ms(self):
        """How long a write of 4 KiB and fdatasync take here: the journal does two of them for a
        command that comes alone."""
        times = []
        with open(self.folder / "sync", "wb", buffering=0) as file:
            for _ in range(50):
                began = time.monotonic()
                file.write(bytes(4096))
                os.fdatasync(file.fileno())
                times.append((time.monotonic() - began) * 1000)
        return round(statistics.median(times), 3)

    def new_folder(self, name):
        self.made += 1
        folder = self.folder / f"{self.made}-{name}"
        folder.mkdir()
        return folder

    def close(self):
        if self.nginx:
            self.nginx.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

