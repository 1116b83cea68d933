"""Compare requests through the front door with requests on the cluster's own port, in turn and in one run.

python -m benchmarks.front_door [--repeat 300] [--seconds 5]

It needs cluster 0 with the examples, and the front door. New connections, requests on a kept connection, requests for
each second from several clients, and the memory and processor time of the front door.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import ssl
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tasks.ca.root import RootFiles
from tasks.core import configuration
from tasks.core.settings import Cluster
from tasks.front_door.container import name_of
from tasks.probe.example_page import example_host, is_page_of, port

FORMS = {"front door": True, "own port": False}
CLIENTS = 8


class Client:
    """Requests the example page over HTTPS."""

    def __init__(self, cluster: Cluster, front_door: bool, tls: ssl.SSLContext) -> None:
        self.cluster, self.tls = cluster, tls
        self.host, self.port = example_host(cluster), port(cluster, "https", front_door)

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.host, self.port)
        plain = socket.create_connection(("127.0.0.1", self.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = self.tls.wrap_socket(plain, server_hostname=self.host)
        return connection

    def get(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/")
        assert is_page_of(self.cluster, connection.getresponse().read().decode())

    def get_once(self) -> None:
        connection = self.connect()
        self.get(connection)
        connection.close()


def milliseconds(job: Callable[[], None]) -> float:
    started = time.perf_counter()
    job()
    return (time.perf_counter() - started) * 1000


def report(what: str, times: dict[str, list[float]]) -> None:
    through, own = times["front door"], times["own port"]
    added = statistics.median(map(float.__sub__, through, own))
    print(f"{what}, through the front door / own port: {statistics.median(through):.2f} ms / "
          f"{statistics.median(own):.2f} ms, {added:+.2f} ms (median of {len(through)} pairs)", flush=True)


def compare(what: str, repeat: int, jobs: dict[str, Callable[[], None]]) -> None:
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(repeat + 20):
        for name in jobs if number % 2 else reversed(jobs):
            took = milliseconds(jobs[name])
            if number >= 20:
                times[name].append(took)
    report(what, times)


def requests_per_second(client: Client, seconds: float) -> float:
    """From several clients, each on a connection of its own."""
    counts, end = [0] * CLIENTS, time.monotonic() + seconds

    def run(number: int) -> None:
        connection = client.connect()
        while time.monotonic() < end:
            client.get(connection)
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def compare_throughput(clients: dict[str, Client], seconds: float) -> None:
    rates: dict[str, list[float]] = {name: [] for name in clients}
    for turn in range(4):
        for name in clients if turn % 2 else reversed(clients):
            rates[name].append(requests_per_second(clients[name], seconds))
    through, own = (statistics.mean(rates[name]) for name in FORMS)
    print(f"requests per second of {CLIENTS} clients in Python, through the front door / own port: {through:.0f} / "
          f"{own:.0f} = {through / own:.2f} (mean of 4 turns)")


def memory(name: str) -> str:
    """What the engine counts for the container, in which processes share pages."""
    words = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", name]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.partition(" /")[0]


def processor_seconds(name: str) -> float:
    found = json.loads(subprocess.run(["docker", "inspect", name], check=True, capture_output=True, text=True).stdout)
    children = subprocess.run(["pgrep", "-P", str(found[0]["State"]["Pid"])], capture_output=True, text=True).stdout
    ticks = 0
    for process in (found[0]["State"]["Pid"], *children.split()):
        ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=300, help="how many pairs of requests")
    parser.add_argument("--seconds", type=float, default=5, help="how long each turn of the throughput lasts")
    chosen = parser.parse_args()
    settings = configuration.load()
    cluster, container = settings.cluster(0), name_of(settings)
    tls = ssl.create_default_context(cafile=str(RootFiles.of(settings).certificate))
    clients = {name: Client(cluster, front_door, tls) for name, front_door in FORMS.items()}
    print(f"load of this machine: {os.getloadavg()[0]:.1f}")
    compare("new connection and a request", chosen.repeat, {name: client.get_once for name, client in clients.items()})
    kept = {name: client.connect() for name, client in clients.items()}
    compare("request on a kept connection", chosen.repeat,
            {name: (lambda name=name: clients[name].get(kept[name])) for name in clients})  # type: ignore[misc]
    compare_throughput(clients, chosen.seconds)
    before = processor_seconds(container)
    time.sleep(10)
    print(f"memory of the front door: {memory(container)}, processor time while idle for 10 s: "
          f"{(processor_seconds(container) - before) * 1000:.0f} ms")
    print(f"load of this machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
