"""Every check of the doctor: one thing is broken, and only that check reports it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import ca
import pytest
from conftest import Project
from kubernetes_objects import CONTAINER, condition, config_map, deployment, endpoints, ingress
from patient import Patient
from pretend import GATEWAY, ROOT, admit, is_free, pages_of, world_of, written_out
from pretend_front_door import FrontDoor, front_door_of
from recording import Answer, Call

from tasks.core import configuration, copies
from tasks.dns.edit_hosts import blocks
from tasks.dns.resolver import ask
from tasks.doctor import dns, keycloak, machine
from tasks.doctor.all_checks import OF_CLUSTER, OF_MACHINE, OF_RUNNING
from tasks.doctor.check import Machine
from tasks.doctor.dns import lan_address
from tasks.doctor.images import ADVICE, ImageReason


@pytest.fixture
def patient(project: Project) -> Iterator[Patient]:
    with world_of(project) as world, pages_of(world, 1):
        patient = Patient(world)
        with front_door_of(world) as patient.front_door:
            yield patient


def wrong(patient: Patient, **environment: str) -> dict[str, list[str]]:
    """The messages about what is wrong, by the checks' ids."""
    done = patient.inv("doctor", "--json", **environment)
    findings = json.loads(done.stdout)
    states = {finding["state"] for finding in findings}
    assert done.returncode == (2 if "red" in states else 1 if "yellow" in states else 0)
    found: dict[str, list[str]] = {}
    for finding in findings:
        if finding["state"] in ("red", "yellow"):
            found.setdefault(finding["id"], []).append(finding["message"])
            assert finding["cause"] and finding["fix"] and "{" not in finding["cause"] + finding["fix"]
            assert re.fullmatch("[a-z0-9-]+", finding["code"])
    return found


Break = Callable[[Patient], object]
BREAKS: list[tuple[str, str, Break]] = []


def breaks(id: str, says: str) -> Callable[[Break], Break]:
    """The function below breaks what the check with that id verifies, which then reports it."""
    def add(how: Break) -> Break:
        BREAKS.append((id, says, how))
        return how
    return add


def env(patient: Patient, **settings: str) -> None:
    patient.world.env(**settings)


# --- this machine -----------------------------------------------------------------------------------------------------


@breaks("tools", "k3d 5.7.1 or newer is needed")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^k3d version", "k3d version v5.7.0\n")


@breaks("settings-refused", ".env: KUBECTL_VERSION='latest' is invalid")
def _(patient: Patient) -> None:
    env(patient, KUBECTL_VERSION="latest")


def test_a_variable_of_a_ci_for_other_programs_is_no_finding(patient: Patient) -> None:
    assert wrong(patient, KUBECTL_VERSION="latest", HELM_VERSION="3") == {}


@breaks("engine", "its engine does not answer")
def _(patient: Patient) -> None:
    patient.engine = {}
    patient.world.fakes.answer("^docker version", stderr="Cannot connect to the Docker daemon\n", exit=1)


@breaks("engine-rootless", "pods can reach only their own cluster")
def _(patient: Patient) -> None:
    patient.engine["SecurityOptions"] = ["name=seccomp,profile=builtin", "name=rootless"]


@breaks("engine-memory", "the engine has 1.5 GiB of memory for 1 running cluster")
def _(patient: Patient) -> None:
    patient.engine["MemTotal"] = 1.5 * 1024**3


@breaks("engine-disk", "0.0 GiB are free for /proc")
def _(patient: Patient) -> None:
    patient.engine["DockerRootDir"] = "/proc"  # a file system without any room


@breaks("engine-clock", "minutes behind this machine's")
def _(patient: Patient) -> None:
    patient.engine["SystemTime"] = "2024-02-03T04:05:06.789Z"


@breaks("engine-inotify", "the limit is 10 per user, and about 84 are needed for 1 running cluster")
def _(patient: Patient) -> None:
    file = patient.world.project.root / "proc/sys/fs/inotify/max_user_instances"
    file.parent.mkdir(parents=True)
    file.write_text("10\n")


@breaks("network", "there is no network dev-clusters, and cl1 cannot start without it")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^docker network inspect", exit=1)
    patient.existing = patient.world.cluster(1, running=False)


@breaks("network-overlap", "10.42.0.0/16 of the clusters overlaps with the route 10.0.0.0/8 dev tun0")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^ip ", "10.0.0.0/8 dev tun0 scope link\n")


def test_pods_and_services_with_networks_of_their_own_overlap_with_those(patient: Patient) -> None:
    patient.existing["nodes"][0]["Cmd"] = [
        "server", "--cluster-cidr=10.142.0.0/16,fd00::/56", "--service-cidr", "10.143.0.0/16"]
    patient.world.fakes.answer("^ip ", "10.42.0.0/16 dev tun0\n10.43.0.0/16 dev tun0\n")
    assert wrong(patient) == {}
    patient.world.fakes.answer("^ip ", "10.142.7.0/24 dev tun0\n10.143.0.1 dev tun1\n")
    assert wrong(patient) == {"network-overlap": [
        "10.142.0.0/16 of the clusters overlaps with the route 10.142.7.0/24 dev tun0",
        "10.143.0.0/16 of the clusters overlaps with the route 10.143.0.1/32 dev tun1"]}


def test_a_vpn_that_takes_all_else_is_no_overlap(patient: Patient) -> None:
    patient.world.fakes.answer("^ip ", "0.0.0.0/1 via 10.8.0.1 dev tun0\n128.0.0.0/1 via 10.8.0.1 dev tun0\n\n")
    assert wrong(patient) == {}


MACOS_ROUTES = """\
Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
0/1                10.8.0.1           UGScg               utun4
128.0/1            10.8.0.1           UGSc                utun4
{}  UGSc  utun4
127                127.0.0.1          UCS                   lo0
127.0.0.1          127.0.0.1          UH                    lo0
169.254            link#15            UCS                   en0      !
192.168.1          link#15            UCS                   en0      !
192.168.1.1/32     link#15            UCS                   en0      !
10.42              link#20            UC              bridge101      !
224.0.0/4          link#15            UmCS                  en0      !
255.255.255.255/32 link#15            UCS                   en0      !
"""


@pytest.mark.parametrize(("route", "overlapping"), [
    ("10.43/16  10.8.0.1", "10.43.0.0/16 of the clusters overlaps with the route 10.43.0.0/16 10.8.0.1 UGSc utun4"),
    ("10.42.7.1  10.8.0.1", "10.42.0.0/16 of the clusters overlaps with the route 10.42.7.1/32 10.8.0.1 UGSc utun4"),
    ("172.16/12  10.8.0.1", ""),
])
def test_routes_of_macos_are_read_as_well(route: str, overlapping: str) -> None:
    answers = {"uname": "Darwin\n", "netstat": MACOS_ROUTES.format(route)}
    shell = mock.Mock(look=lambda *words: mock.Mock(stdout=answers[words[0]]))
    subject = Machine(shell, configuration.load(environment={}), subnets=["192.168.107.0/24", "fd00::/64"])
    assert [*machine.overlap(subject)] == ([overlapping] if overlapping else [])


def authority(patient: Patient) -> Path:
    return patient.world.project.home / ".local-ca-certs"


@breaks("ca", "/internal-ca.key is missing.")
def _(patient: Patient) -> None:
    (authority(patient) / "internal-ca.key").unlink()


@breaks("ca", "expired on ")
def _(patient: Patient) -> None:
    ended = ca.authority("k3d.internal", starts=ca.NOW - 9 * ca.DAY, ends=ca.NOW - ca.DAY)
    ca.put(authority(patient), ended.pem, ended.key_pem())


def new_root(patient: Patient, root: ca.Signed) -> None:
    """Replace the root, and what it issued in the cluster."""
    ca.put(authority(patient), root.pem, root.key_pem())
    patient.chain = ca.authority("cl1.k3d.internal", issuer=root, pathlen=0)
    patient.chain_pem = patient.chain.pem + root.pem
    patient.leaves = {("shop", "shop-cert"): ca.leaf(patient.chain, "shop.cl1.k3d.internal").pem}
    patient.find("ConfigMap", "root-ca")["data"]["root.pem"] = root.pem.decode()


@breaks("ca-ends", "the root expires on ")
def _(patient: Patient) -> None:
    new_root(patient, ca.authority("k3d.internal", ends=ca.NOW + 80 * ca.DAY))


@breaks("ca-retiring", "the former root is no longer in use, but its renewal was not finished")
def _(patient: Patient) -> None:
    old = ca.authority("k3d.internal")
    (authority(patient) / "internal-ca.retiring.crt").write_bytes(old.pem)
    patient.find("ConfigMap", "root-ca")["data"]["root.pem"] = (ROOT.pem + old.pem).decode()


@breaks("ca-weak", "it may sign for every IP address")
def _(patient: Patient) -> None:
    new_root(patient, ca.authority("k3d.internal", excluded=[]))


@breaks("ca-open", "other users can read")
def _(patient: Patient) -> None:
    (authority(patient) / "internal-ca.key").chmod(0o644)


@breaks("company-ca", "CN=An authority expired on")
def _(patient: Patient) -> None:
    file = patient.world.project.home / "company.pem"
    pem = ca.authority(starts=ca.NOW - 9 * ca.DAY, ends=ca.NOW - ca.DAY).pem
    file.write_bytes(pem)
    env(patient, ADDITIONAL_CA_BUNDLE_FILE=str(file))
    patient.find("ConfigMap", "root-ca")["data"]["company.pem"] = pem.decode()
    patient.existing["nodes"][0]["volumes"] = [f"{file}:/etc/ssl/certs/additional-ca.crt"]


def test_a_public_root_that_has_ended_is_not_the_companys(patient: Patient) -> None:
    file, delivered = (patient.world.project.home / "company.pem",
                       patient.world.project.root / "usr/share/ca-certificates/mozilla/Old_Root.crt")
    public, company = (ca.authority(f"{name}.example", starts=ca.NOW - 9 * ca.DAY, ends=ca.NOW - ca.DAY).pem
                       for name in ("public", "company"))
    delivered.parent.mkdir(parents=True)
    delivered.write_bytes(b"# of the distribution\n" + public)
    env(patient, ADDITIONAL_CA_BUNDLE_FILE=str(file))
    patient.existing["nodes"][0]["volumes"] = [f"{file}:/etc/ssl/certs/additional-ca.crt"]
    for pem, ended in ((public, 0), (public + company, 1)):
        file.write_bytes(pem)
        patient.find("ConfigMap", "root-ca")["data"]["company.pem"] = pem.decode()
        assert len(wrong(patient).get("company-ca", [])) == ended


@breaks("ca-elsewhere", "is synchronized by Dropbox")
def _(patient: Patient) -> None:
    folder = patient.world.project.home / "Dropbox" / "ca"
    folder.parent.mkdir()
    authority(patient).rename(folder)
    env(patient, CERT_FOLDER=str(folder))


def debian(patient: Patient) -> Path:
    """The anchors folder of a system trust store that trusts the root."""
    root = patient.world.project.root
    anchors, bundle = root / "usr/local/share/ca-certificates", root / "etc/ssl/certs/ca-certificates.crt"
    for folder in (anchors, bundle.parent):
        folder.mkdir(parents=True)
    bundle.write_bytes(ROOT.pem)
    return anchors


@breaks("trust", "usr/local/share/ca-certificates rejects a certificate issued by the root")
def _(patient: Patient) -> None:
    (debian(patient).parents[3] / "etc/ssl/certs/ca-certificates.crt").write_text("")


@breaks("trust-wide", "accepts proof.example.com")
def _(patient: Patient) -> None:
    debian(patient)
    patient.world.fakes.add("openssl")  # accepts every certificate


@breaks("trust-left", "dev-cluster-tasks-0123456789ab.crt")
def _(patient: Patient) -> None:
    from tasks.core import system_files

    (debian(patient) / "dev-cluster-tasks-0123456789ab.crt").write_text(system_files.seal("an old root"))


@breaks("names", "proof.k3d.internal: no answer")
def _(patient: Patient) -> None:
    patient.names = {}


@breaks("names-hosts-file", "shop.cl1.k3d.internal of cl1 is not in ")
def _(patient: Patient) -> None:
    hosts = patient.world.project.root / "etc/hosts"
    hosts.parent.mkdir()
    names = "127.0.0.1 proof.k3d.internal\n"
    hosts.write_bytes(blocks.with_block(b"", copies.path_to_text(patient.world.project.folder), names))


@breaks("names-served", "nothing answers for proof.k3d.internal on 127.0.0.1, port 5399")
def _(patient: Patient) -> None:
    from tasks.core import system_files

    unit = patient.world.project.root / "etc/systemd/system/dev-cluster-tasks-dns.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(system_files.seal("[Unit]\n"))
    patient.world.fakes.add("systemctl")


@breaks("names-rebinding", "proof.k3d.127.0.0.1.nip.io: no answer")
def _(patient: Patient) -> None:
    env(patient, TLD="127.0.0.1.nip.io")
    root = ca.authority("k3d.127.0.0.1.nip.io")
    ca.put(authority(patient), root.pem, root.key_pem(), "127.0.0.1.nip.io")
    patient.existing["name"] = "another"  # under its own name, everything in the cluster would be wrong


@breaks("names-vpn", "tun0, wg1 is up, and names do not resolve")
def _(patient: Patient) -> None:
    for device in ("eth0", "lo", "wg1", "tun0"):
        (patient.world.project.root / "sys/class/net" / device).mkdir(parents=True)
    patient.names = {}


@breaks("names-search", "the search domain corp.example answers every name")
def _(patient: Patient) -> None:
    resolv_conf = patient.world.project.root / "etc/resolv.conf"
    resolv_conf.parent.mkdir()
    resolv_conf.write_text("search home.arpa corp.example\nnameserver 192.0.2.1\n")
    patient.names[r"\.corp\.example\.$"] = "192.0.2.80"


@breaks("names-stolen", "example.com resolves to 127.0.0.1, although it is not a cluster name")
def _(patient: Patient) -> None:
    patient.names["."] = "127.0.0.1"


@breaks("names-tld", "browsers force HTTPS")
def _(patient: Patient) -> None:
    env(patient, TLD="dev")
    patient.names = {r"\.k3d\.dev$": "127.0.0.1"}
    patient.existing["name"] = "another"
    root = ca.authority("k3d.dev")
    ca.put(authority(patient), root.pem, root.key_pem(), "dev")


# --- the front door ---------------------------------------------------------------------------------------------------


def with_front_door(patient: Patient) -> FrontDoor:
    done = patient.inv("front-door")
    assert done.returncode == 0, done.stdout + done.stderr
    return patient.front_door


def test_a_front_door_that_works_is_no_finding(patient: Patient) -> None:
    with_front_door(patient)
    assert wrong(patient) == {}


@breaks("front-door", "FRONT_DOOR=true, but there is no container dev-clusters-front-door")
def _(patient: Patient) -> None:
    patient.front_door.env(FRONT_DOOR="true")


@breaks("front-door", "the container dev-clusters-front-door is exited")
def _(patient: Patient) -> None:
    with_front_door(patient).stop_container()


@breaks("front-door", " is taken by the container caddy")
def _(patient: Patient) -> None:
    door = with_front_door(patient)
    door.stop_container()
    door.listen()  # something else
    patient.world.fakes.answer("^docker ps .*publish=.*Names", "caddy\n")


@breaks("front-door", "is running, but HAProxy in it does not answer")
def _(patient: Patient) -> None:
    with_front_door(patient).container["State"]["Health"]["Status"] = "unhealthy"


@breaks("front-door", "is not on the network dev-clusters")
def _(patient: Patient) -> None:
    with_front_door(patient).container["NetworkSettings"]["Networks"] = {}


@breaks("front-door", "is published on 127.0.0.1:")
def _(patient: Patient) -> None:
    with_front_door(patient).env(FRONT_DOOR_ADDRESSES="127.0.0.1,127.0.0.8")


@breaks("front-door", "was created from other settings, or by another version of these tasks")
def _(patient: Patient) -> None:
    with_front_door(patient).container["Config"]["Labels"]["dev-cluster-tasks.front-door-version"] = "older"


@breaks("front-door", "belongs to the copy of these tasks in /another")
def _(patient: Patient) -> None:
    door = with_front_door(patient)
    door.env(FRONT_DOOR="true")
    door.container["Config"]["Labels"] |= {"dev-cluster-tasks.front-door": "/another",
                                           "dev-cluster-tasks.front-door-version": "another"}
    patient.world.project.patches.append((copies, "exists", lambda copy: True))


@breaks("front-door-page", "is answered by something else than the front door")
def _(patient: Patient) -> None:
    with_front_door(patient).files["page.html"] = "<h1>It works!</h1>"


@breaks("front-door-clusters", "proof.cl1.k3d.internal is not reached through 127.0.0.1:")
def _(patient: Patient) -> None:
    with_front_door(patient).passes_tls = False


@breaks("front-door-pods", "a container on the network dev-clusters cannot reach 127.0.0.9:")
def _(patient: Patient) -> None:
    door = with_front_door(patient)
    patient.world.fakes.answer(f"^docker run .* http://{GATEWAY}:{door.http}/", exit=28)


def test_fix_makes_the_front_door_again(patient: Patient) -> None:
    with_front_door(patient).stop_container()
    done = patient.inv("doctor", "--fix")
    assert "front door: created again" in done.stdout and done.returncode == 0, done.stdout


@breaks("bugs-k3d", "k3d 5.8.3: on Colima")
def _(patient: Patient) -> None:
    patient.engine["Name"] = "colima"


# --- a cluster from outside -------------------------------------------------------------------------------------------


@breaks("partly-created", "the cluster was only partly created (its creation was interrupted)")
def _(patient: Patient) -> None:
    marker = patient.world.project.folder / ".work/cl1/partly-created"
    marker.parent.mkdir(parents=True)
    marker.touch()


@breaks("partly-running", "running containers: 1 of 2")
def _(patient: Patient) -> None:
    patient.existing["nodes"][1]["State"] = {"Running": False}


@breaks("nodes-proxy", "HTTPS_PROXY: http://127.0.0.1:3128 in a node is the node itself")
def _(patient: Patient) -> None:
    patient.existing["nodes"][0]["env"].append("HTTPS_PROXY=http://me:secret@127.0.0.1:3128")


@breaks("k3s-arguments", "--disable=traefik leaves out traefik of k3s")
def _(patient: Patient) -> None:
    patient.existing["nodes"][0]["Cmd"] = ["server", "--disable=metrics-server,traefik"]


@breaks("ports-settings", "cl1 publishes its port 80/tcp on")
def _(patient: Patient) -> None:
    patient.existing = patient.world.cluster(1, ports_of=2)


def on_ports(patient: Patient, http: str, https: str) -> dict[str, Any]:
    """Cluster 1, stopped, with ports that the settings agree with."""
    patient.world.env(K3D_PORT_START="1007", K3D_PORT_END="1016", K3D_PORT_SUFFIX_HTTP=http[-1],
                      K3D_PORT_SUFFIX_HTTPS=https[-1])
    existing = patient.world.cluster(1, running=False)
    for inside, port in (("80/tcp", http), ("443/tcp", https)):
        for binding in existing["nodes"][1]["portMappings"][inside]:
            binding["HostPort"] = port
    return existing


def test_an_http_port_that_browsers_refuse_is_a_note_and_no_warning(patient: Patient) -> None:
    patient.existing = on_ports(patient, "10080", "10085")
    done = patient.inv("doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Browsers refuse port 10080 (HTTP of cl1)") == 1
    assert "Open https://<name>.cl1.k3d.internal:10085/ instead" in done.stdout


@breaks("ports-browser", "no browser opens port 10080, the HTTPS port of cl1")
def _(patient: Patient) -> None:
    patient.existing = on_ports(patient, "10081", "10080")


@breaks("ports-taken", "is taken")
def _(patient: Patient) -> None:
    patient.existing = patient.world.cluster(1, running=False)  # and the pages are served


@breaks("ports-taken", "0.0.0.0:")
def _(patient: Patient) -> None:
    patient.existing = patient.world.cluster(1, running=False)
    for bindings in patient.existing["nodes"][1]["portMappings"].values():
        bindings[:] = [{"HostIp": "0.0.0.0", "HostPort": bindings[0]["HostPort"]}]
    patient.world.env(K3D_BIND_ADDRESS="0.0.0.0")


@breaks("ports-lan", "its ports are published on 0.0.0.0")
def _(patient: Patient) -> None:
    for bindings in patient.existing["nodes"][1]["portMappings"].values():
        bindings[0]["HostIp"] = ""


@breaks("kubeconfig", "has no context k3d-cl1")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^kubectl .*config get-contexts", "work\n")
    unanswered(patient, 'error: context "k3d-cl1" does not exist')


@breaks("api", "Unable to connect to the server: EOF")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^kubectl .*config get-contexts", "k3d-cl1\n")
    unanswered(patient, "Unable to connect to the server: EOF")


def unanswered(patient: Patient, said: str) -> None:
    told = patient.tell

    def tell() -> None:
        told()
        patient.world.fakes.answer("^kubectl .*--context k3d-cl1 ", stderr=f"{said}\n", exit=1)

    patient.tell = tell  # type: ignore[method-assign]


@breaks("node", "k3d-cl1-server-0 is not ready: kubelet stopped")
def _(patient: Patient) -> None:
    patient.find("Node", "k3d-cl1-server-0")["status"]["conditions"][0] = condition("Ready", "False", "kubelet stopped")


@breaks("node-pressure", "k3d-cl1-server-0: DiskPressure, full")
def _(patient: Patient) -> None:
    patient.find("Node", "k3d-cl1-server-0")["status"]["conditions"][1] = condition("DiskPressure", message="full")


@breaks("kubectl-skew", "kubectl is v1.39, but k3d-cl1-server-0 is v1.36")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^kubectl version", "Client Version: v1.39.0\n")


@breaks("settings", "K3S_IMAGE=docker.io/rancher/k3s:v1.36.4-k3s1, but its nodes run rancher/k3s:v1.20.0-k3s1")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^docker inspect", "rancher/k3s:v1.20.0-k3s1\n")


@breaks("settings", "its nodes have a different proxy (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)")
def _(patient: Patient) -> None:
    patient.existing["nodes"][0]["env"].append("HTTPS_PROXY=http://proxy.example:3128")


@breaks("settings", "K3D_REGISTRY_CONFIG=, but it was created with a different one")
def _(patient: Patient) -> None:
    patient.existing["nodes"][0]["runtimeLabels"]["dev-cluster-tasks.registries"] = "0123"


@breaks("charts", "cert-manager is v1.20.0, but the settings say v1.21.2")
def _(patient: Patient) -> None:
    patient.find("Deployment", "cert-manager")["metadata"]["labels"]["app.kubernetes.io/version"] = "v1.20.0"


@breaks("way-to-host", f"containers in the subnet 127.0.0.0/24 cannot reach {GATEWAY}, port")
def _(patient: Patient) -> None:
    patient.world.fakes.answer("^docker run ", stderr="curl: (28) Connection timed out\n", exit=28)


def test_the_fix_for_a_firewall_names_the_subnet(patient: Patient) -> None:
    patient.world.fakes.answer("^docker run ", stderr="curl: (28) Connection timed out\n", exit=28)
    fix, = (finding["fix"] for finding in json.loads(patient.inv("doctor", "--json").stdout)
            if finding["state"] == "red")
    assert fix.startswith("ufw: sudo ufw allow in from 127.0.0.0/24; firewalld: sudo firewall-cmd --permanent ")


# --- what these tasks install in it -----------------------------------------------------------------------------------


@breaks("cert-manager", "the Deployment cert-manager/cert-manager-webhook is missing")
def _(patient: Patient) -> None:
    patient.lose("Deployment", "cert-manager-webhook")


@breaks("trust-manager", "the Deployment cert-manager/trust-manager is scaled to 0")
def _(patient: Patient) -> None:
    patient.find("Deployment", "trust-manager")["spec"]["replicas"] = 0


@breaks("webhooks", "the Service cert-manager/cert-manager-webhook has no ready pod")
def _(patient: Patient) -> None:
    patient.find("EndpointSlice", "cert-manager-webhook-x")["endpoints"] = None


@breaks("root-key", "contains the root and its key")
def _(patient: Patient) -> None:
    patient.chain_pem = ROOT.pem


@breaks("intermediate", "the intermediate must be replaced: the cluster has an intermediate that expires on ")
def _(patient: Patient) -> None:
    patient.chain = ca.authority("cl1.k3d.internal", issuer=ROOT, pathlen=0, ends=ca.NOW + timedelta(days=20))
    patient.chain_pem = patient.chain.pem + ROOT.pem
    patient.leaves = {("shop", "shop-cert"): ca.leaf(patient.chain, "shop.cl1.k3d.internal").pem}


@breaks("intermediate", "the intermediate must be replaced: the cluster has an intermediate issued by another root")
def _(patient: Patient) -> None:
    other = ca.authority("k3d.internal")
    patient.chain_pem = ca.authority("cl1.k3d.internal", issuer=other, pathlen=0).pem + other.pem


@breaks("issuer", "the ClusterIssuer root-ca is not ready: no such secret")
def _(patient: Patient) -> None:
    patient.find("ClusterIssuer", "root-ca")["status"]["conditions"] = [condition("Ready", "False", "no such secret")]


@breaks("issuer", "there is no ClusterIssuer root-ca")
def _(patient: Patient) -> None:
    patient.lose("ClusterIssuer", "root-ca")


@breaks("leaves", "the certificate in the secret shop/shop-cert was issued by an earlier intermediate")
def _(patient: Patient) -> None:
    earlier = ca.authority("cl1.k3d.internal", issuer=ROOT, pathlen=0)
    patient.leaves = {("shop", "shop-cert"): ca.leaf(earlier, "shop.cl1.k3d.internal").pem}


@breaks("certificates", "shop/shop-cert is not ready: Issuing")
def _(patient: Patient) -> None:
    patient.find("Certificate", "shop-cert")["status"]["conditions"] = [condition("Ready", "False", "Issuing")]


@breaks("certificates", "shop/shop-cert should have been renewed on 2020-01-02")
def _(patient: Patient) -> None:
    patient.find("Certificate", "shop-cert")["status"]["renewalTime"] = "2020-01-02T03:04:05Z"


@breaks("bundle", "the Bundle default-ca-bundle is not synced: no such source")
def _(patient: Patient) -> None:
    patient.find("Bundle", "default-ca-bundle")["status"] = {
        "conditions": [condition("Synced", "False", "no such source")]}


@breaks("bundle", "root.pem in the ConfigMap cert-manager/root-ca differs from the certificates on this machine")
def _(patient: Patient) -> None:
    patient.find("ConfigMap", "root-ca")["data"]["root.pem"] = ca.authority("k3d.internal").pem.decode()


@breaks("traefik", "the Deployment kube-system/traefik has no ready pod: none")
def _(patient: Patient) -> None:
    patient.find("Deployment", "traefik")["status"]["conditions"] = [condition("Available", "False", "none")]


@breaks("traefik-log", "the access log is off")
def _(patient: Patient) -> None:
    patient.find("Deployment", "traefik")["spec"]["template"]["spec"]["containers"][0]["args"] = ["--ping=true"]


@breaks("traefik-internal", "there is no Service kube-system/traefik-internal")
def _(patient: Patient) -> None:
    patient.lose("Service", "traefik-internal")


@breaks("traefik-internal", "lacks the ports 443, ")
def _(patient: Patient) -> None:
    patient.find("Service", "traefik-internal")["spec"]["ports"] = [{"port": 80}, {"port": patient.world.http(1)}]


@breaks("coredns", "the Deployment kube-system/coredns is scaled to 0")
def _(patient: Patient) -> None:
    patient.find("Deployment", "coredns")["spec"]["replicas"] = 0


@breaks("coredns-rules", "does not match the settings and this machine's address")
def _(patient: Patient) -> None:
    data = patient.find("ConfigMap", "coredns-custom")["data"]
    data["dev-clusters.override"] = data["dev-clusters.override"].replace(GATEWAY, "192.0.2.99")


@breaks("coredns-rules", "dev-clusters.override in kube-system/coredns-custom is missing")
def _(patient: Patient) -> None:
    patient.find("ConfigMap", "coredns-custom")["data"] = {}


@breaks("coredns-original", "k3d.internal.server in kube-system/coredns-custom answers for all names below k3d.int")
def _(patient: Patient) -> None:
    patient.find("ConfigMap", "coredns-custom")["data"]["k3d.internal.server"] = "k3d.internal:53 {}\n"


@breaks("coredns-others", "mine.override repeats a plugin that k3s configures")
def _(patient: Patient) -> None:
    patient.find("ConfigMap", "coredns-custom")["data"]["mine.override"] = "hosts {\n  192.0.2.1 a.example\n}\n"


@breaks("coredns-others", "mine.server is a server block for k3d.internal")
def _(patient: Patient) -> None:
    patient.find("ConfigMap", "coredns-custom")["data"]["mine.server"] = "k3d.internal:53 {\n  whoami\n}\n"


@breaks("coredns-answers", "proof.cl0.k3d.internal: 192.0.2.66, expected 127.0.0.9")
def _(patient: Patient) -> None:
    patient.world.names[1].host = "192.0.2.66"


# --- what the user runs in it -----------------------------------------------------------------------------------------


@breaks("ingress-host", "shop/other: shop.example.com is not below cl1.k3d.internal")
def _(patient: Patient) -> None:
    patient.leaves["shop", "other-cert"] = ca.leaf(patient.leaf_issuer, "shop.example.com").pem
    patient.objects += [ingress("shop", "other", "shop.example.com", "other-cert"),
                        {**patient.find("Service", "shop"), "metadata": {"namespace": "shop", "name": "other"}},
                        endpoints("shop", "other")]


@breaks("ingress-usages", 'shop/shop has no annotation cert-manager.io/usages with "server auth"')
def _(patient: Patient) -> None:
    del patient.find("Ingress", "shop")["metadata"]["annotations"]["cert-manager.io/usages"]


@breaks("ingress-backend", "shop/shop: there is no Service shop/shop")
def _(patient: Patient) -> None:
    patient.lose("Service", "shop")


@breaks("ingress-backend", "shop/shop: the Service shop/shop has no ready pod")
def _(patient: Patient) -> None:
    patient.find("EndpointSlice", "shop-x")["endpoints"][0]["conditions"] = {"ready": False}


@breaks("ingress-twice", "shop.cl1.k3d.internal/: shop/shop, copy/shop")
def _(patient: Patient) -> None:
    patient.objects += [ingress("copy", "shop", "shop.cl1.k3d.internal"), endpoints("copy", "shop"),
                        {**patient.find("Service", "shop"), "metadata": {"namespace": "copy", "name": "shop"}}]


@breaks("ingress-certificate", "shop/shop: api.cl1.k3d.internal is not in the certificate in the secret "
        "shop/shop-cert, which is for shop.cl1.k3d.internal")
def _(patient: Patient) -> None:
    patient.find("Ingress", "shop")["spec"]["tls"][0]["hosts"].append("api.cl1.k3d.internal")


@breaks("ingress-certificate", "shop/shop: the secret shop/api-cert for api.cl1.k3d.internal does not exist")
def _(patient: Patient) -> None:
    patient.find("Ingress", "shop")["spec"]["tls"].append(
        {"hosts": ["api.cl1.k3d.internal"], "secretName": "api-cert"})


@breaks("ingress-certificate", "shop/shop: tls for api.cl1.k3d.internal has no secretName")
def _(patient: Patient) -> None:
    patient.find("Ingress", "shop")["spec"]["tls"].append({"hosts": ["api.cl1.k3d.internal"]})


def test_a_certificate_that_is_made_by_hand_or_has_a_wildcard_serves_its_hosts(patient: Patient) -> None:
    patient.find("Ingress", "shop")["spec"]["tls"] += [
        {"hosts": ["api.cl1.k3d.internal"], "secretName": "by-hand"}, {"hosts": ["a.web.cl1.k3d.internal"]}]
    patient.leaves["web", "web-cert"] = ca.leaf(patient.leaf_issuer, "*.web.cl1.k3d.internal").pem
    patient.world.fakes.answer("^kubectl .*get secret by-hand ", base64.b64encode(
        ca.leaf(patient.leaf_issuer, "api.cl1.k3d.internal").pem).decode())
    assert wrong(patient) == {}


@breaks("ingress-class", "shop/shop has the class nginx, which does not exist. Traefik serves the class traefik")
def _(patient: Patient) -> None:
    patient.find("Ingress", "shop")["spec"]["ingressClassName"] = "nginx"


@breaks("ingress-class", "shop/shop has the class nginx, which does not exist")
def _(patient: Patient) -> None:
    patient.find("Ingress", "shop")["metadata"]["annotations"]["kubernetes.io/ingress.class"] = "nginx"


@breaks("ingress-issuer", "shop/shop names the ClusterIssuer letsencrypt-prod, which does not exist. This cluster has")
def _(patient: Patient) -> None:
    patient.find("Ingress", "shop")["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] = "letsencrypt-prod"


@breaks("ingress-issuer", "shop/shop names the Issuer own, which does not exist")
def _(patient: Patient) -> None:
    """An issuer of another namespace is not meant."""
    annotations = patient.find("Ingress", "shop")["metadata"]["annotations"]
    del annotations["cert-manager.io/cluster-issuer"]
    annotations["cert-manager.io/issuer"] = "own"
    patient.others.append({"kind": "Issuer", "metadata": {"name": "own", "namespace": "web"}})


def test_classes_and_issuers_that_exist_are_no_finding(patient: Patient) -> None:
    shop = patient.find("Ingress", "shop")
    shop["spec"]["ingressClassName"] = "traefik"
    shop["metadata"]["annotations"] = {"cert-manager.io/issuer": "own"}
    patient.others.append({"kind": "Issuer", "metadata": {"name": "own", "namespace": "shop"}})
    assert wrong(patient) == {}


@breaks("pods-host-network", "shop/shop-1 (Pod) has hostNetwork without dnsPolicy: ClusterFirstWithHostNet")
def _(patient: Patient) -> None:
    patient.find("Pod", "shop-1")["spec"] |= {"hostNetwork": True, "dnsPolicy": "ClusterFirst"}


@pytest.mark.parametrize("policy", ["ClusterFirstWithHostNet", "None"])
def test_a_pod_with_host_network_and_a_resolver_is_no_finding(patient: Patient, policy: str) -> None:
    patient.find("Pod", "shop-1")["spec"] |= {"hostNetwork": True, "dnsPolicy": policy}
    assert wrong(patient) == {}


def run_keycloak(patient: Patient, hostname: str) -> None:
    """The pod of the shop is a Keycloak with this KC_HOSTNAME."""
    patient.find("Service", "shop")["spec"]["selector"] = {"app": "shop"}
    pod = patient.find("Pod", "shop-1")
    pod["metadata"]["labels"] = {"app": "shop"}
    pod["spec"]["containers"][0]["env"].append({"name": "KC_HOSTNAME", "value": hostname})


@breaks("keycloak-hostname", "shop/shop-1 (Pod) has KC_HOSTNAME=https://shop.cl1.k3d.internal, but browsers and pods "
        "reach it by https://shop.cl1.k3d.internal:")
def _(patient: Patient) -> None:
    run_keycloak(patient, "https://shop.cl1.k3d.internal")


@pytest.mark.parametrize("hostname", [
    "https://shop.cl1.k3d.internal:1", "http://shop.cl1.k3d.internal:{https}", "https://login.cl1.k3d.internal:{https}",
    "login.cl1.k3d.internal", "https://[shop", "https://shop.cl1.k3d.internal:port/"])
def test_a_hostname_of_keycloak_that_is_not_the_ingress_is_found(patient: Patient, hostname: str) -> None:
    run_keycloak(patient, hostname.format(https=patient.world.https(1)))
    assert set(wrong(patient)) == {"keycloak-hostname"}


@pytest.mark.parametrize("hostname", [
    "https://shop.cl1.k3d.internal:{https}", "https://shop.cl1.k3d.internal:{https}/auth",
    "http://shop.cl1.k3d.internal:{http}", "shop.cl1.k3d.internal", ""])
def test_a_hostname_of_keycloak_that_its_ingress_has_is_no_finding(patient: Patient, hostname: str) -> None:
    run_keycloak(patient, hostname.format(https=patient.world.https(1), http=patient.world.http(1)))
    assert wrong(patient) == {}


def test_a_hostname_of_keycloak_with_the_port_of_the_front_door_is_no_finding_where_that_leads_to_it(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_keycloak(patient, f"https://shop.cl1.k3d.internal:{patient.settings.front_door_https_port}")
    assert set(wrong(patient)) == {"keycloak-hostname"}
    monkeypatch.setattr(keycloak, "find_cluster_problem", lambda cluster, host: None)
    assert wrong(patient) == {}


def test_a_keycloak_that_no_ingress_leads_to_is_no_finding(patient: Patient) -> None:
    run_keycloak(patient, "https://login.example.com")
    patient.find("Service", "shop")["spec"]["selector"] = {"app": "another"}
    assert wrong(patient) == {}


@breaks("namespace-bundle", "shop has no ConfigMap default-ca-bundle")
def _(patient: Patient) -> None:
    patient.bundles = []


# --- trust in pods ----------------------------------------------------------------------------------------------------


@breaks("pod-trust-kubernetes", "Kubernetes v1.33.1+k3s1 has no MutatingAdmissionPolicy, so pods do not trust")
def _(patient: Patient) -> None:
    patient.world.policies("", "v1", version="v1.33.1+k3s1")


@breaks("pod-trust-kubernetes", "Kubernetes v1.35.2+k3s1 has MutatingAdmissionPolicy, but this cluster was created")
def _(patient: Patient) -> None:
    patient.world.policies("", "v1", version="v1.35.2+k3s1")


@breaks("pod-trust", "the MutatingAdmissionPolicy pod-trust-debug is missing")
def _(patient: Patient) -> None:
    patient.policies = [policy for policy in patient.policies if policy["metadata"]["name"] != "pod-trust-debug"]


@breaks("pod-trust", "the MutatingAdmissionPolicy pod-trust has no binding, so it applies to nothing")
def _(patient: Patient) -> None:
    patient.find("MutatingAdmissionPolicyBinding", "pod-trust")["spec"]["policyName"] = "other"


def test_policies_that_differ_from_their_templates_are_found(patient: Patient) -> None:
    patient.world.fakes.answer("^kubectl .*diff ", exit=1)
    found = wrong(patient)
    assert set(found) == {"pod-trust", "hosts-policy"}
    assert "or its binding is not what its template says" in found["pod-trust"][0]


@breaks("pod-trust", "a probe pod does not get SSL_CERT_FILE, CURL_CA_BUNDLE")
def _(patient: Patient) -> None:
    """The API has the policies, and they do nothing: nothing else tells of one that fails."""
    def ignore(call: Call) -> Answer | None:
        answer = admit(call)
        return Answer(re.sub("(SSL|CURL)_", "", answer.stdout)) if answer and "Pod" in answer.stdout else None

    patient.world.fakes.behaviours["kubectl"].insert(0, ignore)


@breaks("pod-trust", "the MutatingAdmissionPolicy pod-trust is there, but POD_TRUST=off")
def _(patient: Patient) -> None:
    env(patient, POD_TRUST="off")


@breaks("hosts-policy", "the ValidatingAdmissionPolicy hosts-of-root-ca is missing")
def _(patient: Patient) -> None:
    patient.lose("ValidatingAdmissionPolicy", "hosts-of-root-ca")


@breaks("namespace-label", "web has the label trust=enable, which does nothing; trust=enabled does")
def _(patient: Patient) -> None:
    patient.objects.append({"kind": "Namespace", "metadata": {"name": "web", "labels": {"trust": "enable"}}})


@breaks("namespace-label", "web has the label trust-systemfile=enabled, which does nothing; trust-system-file=enabled")
def _(patient: Patient) -> None:
    patient.objects.append({"kind": "Namespace", "metadata": {
        "name": "web", "labels": {"trust": "disabled", "trust-systemfile": "enabled", "istio-injection": "enabled"}}})


@breaks("namespace-label", "web has the label trust-system-file=enabled, which does nothing without trust=enabled")
def _(patient: Patient) -> None:
    patient.objects.append({"kind": "Namespace", "metadata": {
        "name": "web", "labels": {"trust-system-file": "enabled"}}})


@breaks("pod-trust-pods", "shop/shop (Deployment) has pods without trust: kubectl --context k3d-cl1 -n shop rollout")
def _(patient: Patient) -> None:
    metadata = patient.find("Pod", "shop-1")["metadata"]
    metadata |= {"annotations": {}, "labels": {"pod-template-hash": "5d"},
                 "ownerReferences": [{"kind": "ReplicaSet", "name": "shop-5d", "controller": True}]}
    patient.find("Pod", "shop-1")["spec"]["volumes"] = []


@breaks("pod-trust-pods", "kubectl --context k3d-cl1 -n shop replace --force -f -")
def _(patient: Patient) -> None:
    """A bare pod, and the second label came later than it."""
    patient.find("Namespace", "shop")["metadata"]["labels"]["trust-system-file"] = "enabled"


@breaks("pod-trust-lost", "web/web mounts the ConfigMap default-ca-bundle, which is gone")
def _(patient: Patient) -> None:
    pod = patient.find("Pod", "shop-1")
    patient.objects.append({**pod, "metadata": {**pod["metadata"], "name": "web", "namespace": "web"}})


@breaks("pod-trust-hidden", "shop/shop-1: SSL_CERT_FILE of the ConfigMap company is replaced in the container main")
def _(patient: Patient) -> None:
    patient.objects.append(config_map("shop", "company", {"CERT_FILE": "/company.pem", "OTHER": ""}))
    patient.find("Pod", "shop-1")["spec"]["containers"][0]["envFrom"] = [
        {"prefix": "SSL_", "configMapRef": {"name": "company"}}]


@breaks("pod-trust-client", "shop/shop-1: php-fpm8.2 (libcurl) reads no variable")
def _(patient: Patient) -> None:
    other = "0" * 64
    patient.processes = [f"{CONTAINER} /usr/sbin/php-fpm8.2 libcurl.so.4.8.0,libssl.so.3,",
                         f"{CONTAINER} /usr/bin/python3.11 libcurl.so.4.8.0,libssl.so.3,",
                         f"{CONTAINER} /app/server go", f"{CONTAINER} /usr/bin/sleep ",
                         f"{other} /usr/bin/wget libgnutls.so.30.34.3,"]


def test_a_pod_that_mounts_the_bundle_itself_opts_out_or_has_ended_is_not_said_to_lack_trust(patient: Patient) -> None:
    pod = patient.find("Pod", "shop-1")
    bundle = [{"name": "trust", "configMap": {"name": "default-ca-bundle"}}]
    for name, given, volumes, phase in (
            ("by-hand", {}, bundle, "Running"), ("opted-out", {"dev-cluster-tasks/trust": "none"}, [], "Running"),
            ("ended", {}, [], "Succeeded")):
        patient.objects.append({
            **pod, "metadata": {"name": name, "namespace": "shop", "annotations": given},
            "spec": {"containers": [], "volumes": volumes}, "status": {"phase": phase}})
    assert wrong(patient) == {}


@breaks("ingress-host", "shop/api: api.example.com is not below cl1.k3d.internal (it belongs to Helm release web)")
def _(patient: Patient) -> None:
    patient.others.append({
        "kind": "Certificate", "metadata": {"name": "api", "namespace": "shop", "annotations": {
            "meta.helm.sh/release-name": "web"}},
        "spec": {"dnsNames": ["api.cl1.k3d.internal", "api.example.com"],
                 "issuerRef": {"name": "root-ca", "kind": "ClusterIssuer"}},
        "status": {"conditions": [condition("Ready")]}})


# --- images -----------------------------------------------------------------------------------------------------------


PULL = ('failed to pull and unpack image "docker.io/library/nginx:1": failed to resolve reference '
        '"docker.io/library/nginx:1": ')
HEAD = PULL + 'failed to do request: Head "https://registry-1.docker.io/v2/library/nginx/manifests/1": '


def fail_pull(patient: Patient, message: str, image: str = "nginx", reason: str = "ErrImagePull") -> None:
    patient.find("Pod", "shop-1")["status"]["containerStatuses"] = [
        {"image": image, "state": {"waiting": {"reason": reason, "message": message}}}]


@breaks("images", "shop/shop-1: nginx: the nodes do not trust the registry's certificate: Head "
        '"https://registry-1.docker.io/v2/library/nginx/manifests/1": tls: failed to verify certificate: x509: '
        "certificate signed by unknown authority")
def _(patient: Patient) -> None:
    fail_pull(patient, f"{HEAD}tls: failed to verify certificate: x509: certificate signed by unknown authority")


@breaks("images", "lookup registry.cl1.k3d.internal on 127.0.0.11:53: no such host. Nodes do not know the names of")
def _(patient: Patient) -> None:
    fail_pull(patient, f"{PULL}failed to do request: dial tcp: lookup registry.cl1.k3d.internal on 127.0.0.11:53: "
                       "no such host", "registry.cl1.k3d.internal:11443/web:1")


@pytest.mark.parametrize(("message", "code", "fix"), [
    (f"{HEAD}dial tcp: lookup registry-1.docker.io on 127.0.0.11:53: no such host", "name-not-resolved", "VPN|network"),
    (f"{HEAD}dial tcp: lookup registry-1.docker.io on 127.0.0.11:53: read udp 172.18.0.2:4->127.0.0.11:53: i/o timeout",
     "name-not-resolved", "network"),
    (f"{HEAD}dial tcp 192.0.2.1:443: i/o timeout", "registry-not-reached", "HTTPS_PROXY"),
    (f"{HEAD}dial tcp 192.0.2.1:443: connect: connection refused", "registry-not-reached", "HTTPS_PROXY"),
    (f"{HEAD}proxyconnect tcp: dial tcp 192.0.2.1:3128: connect: connection refused", "proxy-not-reached", "^HTTPS_PR"),
    (f"{HEAD}http: server gave HTTP response to HTTPS client", "http-only", "http://"),
    (f"{PULL}unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 401 Unauthorized",
     "access-denied", "imagePullSecrets"),
    (f"{PULL}pull access denied, repository does not exist or may require authorization: server message: "
     "insufficient_scope: authorization failed", "access-denied", "imagePullSecrets"),
    (f"{PULL}unexpected status code https://r.example/v2/x/manifests/1: 429 Too Many Requests - Server message: "
     "toomanyrequests: You have reached your unauthenticated pull rate limit.", "too-many-pulls", "login"),
    (f"{PULL}docker.io/library/nginx:1: not found", "image-missing", "k3d image import nginx --cluster cl1"),
    ("no match for platform in manifest: not found", "other-platform", "arch"),
    ("failed to extract layer: write /var/lib/x: no space left on device", "disk-full", "docker system df"),
    ('Container image "nginx" is not present with pull policy of Never', "not-imported", "^k3d image import nginx"),
    ('Back-off pulling image "nginx": ErrImagePull: ' + f"{PULL}docker.io/library/nginx:1: not found", "image-missing",
     "import"),
    ('Back-off pulling image "not found"', "not-pulled", "get events"),
])
def test_the_cause_and_the_fix_of_a_failed_pull_are_those_of_the_end_of_its_message(
    patient: Patient, message: str, code: str, fix: str
) -> None:
    fail_pull(patient, message)
    finding, = (found for found in json.loads(patient.inv("doctor", "--json").stdout) if found["state"] == "yellow")
    assert (finding["id"], finding["code"]) == ("images", code)
    assert finding["message"].endswith(message.rsplit(": ", 1)[-1].rstrip("."))
    assert re.search(fix, finding["fix"]) and "{" not in finding["cause"] + finding["fix"]


def test_every_reason_of_a_failed_pull_has_a_cause_and_a_fix() -> None:
    assert set(ADVICE) == set(ImageReason)


@breaks("bugs", "trust-manager 0.25.0: its public CAs include some that browsers have removed")
def _(patient: Patient) -> None:
    env(patient, TRUST_MANAGER_VERSION="v0.25.0")
    patient.find("Deployment", "trust-manager")["metadata"]["labels"]["app.kubernetes.io/version"] = "v0.25.0"


@breaks("bugs", "k3s 1.26.5: its CoreDNS does not read *.override in coredns-custom")
def _(patient: Patient) -> None:
    patient.find("Node", "k3d-cl1-server-0")["status"]["nodeInfo"]["kubeletVersion"] = "v1.26.5+k3s1"
    patient.world.fakes.answer("^kubectl version", "Client Version: v1.27.0\n")


# --- the routes -------------------------------------------------------------------------------------------------------


def install_examples(patient: Patient, *curl: tuple[int, int, str]) -> None:
    """In the cluster; their pod's curl answers this for HTTP and HTTPS."""
    patient.objects += [deployment("examples", "curl"), deployment("examples", "nginx")]
    patient.world.fakes.answer("^kubectl .*exec deployment/curl ", written_out(*curl))


PAGE = (0, 200, "<h1>Hello from cl1.k3d.internal</h1>")


@breaks("routes", "pod in cl1 to https://example-nginx.cl1.k3d.internal:")
def _(patient: Patient) -> None:
    install_examples(patient, PAGE, (60, 0, "self-signed certificate"))


def test_a_route_that_does_not_work_has_its_own_code(patient: Patient) -> None:
    install_examples(patient, PAGE, (60, 0, "self-signed certificate"))
    finding, = (finding for finding in json.loads(patient.inv("doctor", "--json").stdout) if finding["state"] == "red")
    assert (finding["id"], finding["code"]) == ("routes", "certificate-not-trusted")
    assert finding["message"].endswith("does not verify the certificate (self-signed certificate)")


def test_routes_that_work_are_no_finding(patient: Patient) -> None:
    install_examples(patient, PAGE, PAGE)
    assert wrong(patient) == {}
    call, = patient.world.fakes.calls(*patient.world.kubectl(1), "-n", "examples", "exec")
    assert [word for word in call if "://" in word] == [
        f"http://example-nginx.cl1.k3d.internal:{patient.world.http(1)}/",
        f"https://example-nginx.cl1.k3d.internal:{patient.world.https(1)}/"]


@pytest.mark.parametrize("missing", ["curl", "nginx"])
def test_routes_are_not_tried_where_the_examples_are_not_installed(patient: Patient, missing: str) -> None:
    install_examples(patient, (6, 0, "Could not resolve host"), (6, 0, "Could not resolve host"))
    patient.lose("Deployment", missing)
    assert wrong(patient) == {}
    assert not patient.world.fakes.calls(*patient.world.kubectl(1), "-n", "examples", "exec")


# What cannot be broken in this way is broken in a test of its own below.
BY_ITSELF = {"ports-answer", "names-lan", "names-proxy"}
BY_ITSELF |= {"acme-credentials", "acme-certificates", "acme-staging", "acme-served"}  # in tests/acme/test_acme.py
BY_ITSELF |= {"registries", "registry-upstreams", "node-registries"}  # in tests/doctor/test_doctor_registries.py

ALSO: dict[str, set[str]] = {
    "names-vpn": {"names"},
    "nodes-proxy": {"settings"},  # which have no proxy in this test
    "network": {"ports-taken"},  # by the pages of the cluster that runs in all other tests
}
"""Other checks that fail together with a check."""


@pytest.mark.parametrize(("id", "says", "how"), BREAKS, ids=[f"{id}: {says[:40]}" for id, says, _ in BREAKS])
def test_what_is_broken_is_found_by_its_check_and_by_no_other(patient: Patient, id: str, says: str, how: Break) -> None:
    how(patient)
    found = wrong(patient)
    assert set(found) == {id} | ALSO.get(id, set())
    assert any(says in sentence for sentence in found[id]), found


def test_where_all_is_well_nothing_is_found(patient: Patient) -> None:
    assert wrong(patient) == {}
    said = patient.inv("doctor")
    assert (said.returncode, said.stderr) == (0, "")
    assert re.fullmatch(r"\d+ checks passed, 0 errors, 0 warnings\.\n", said.stdout)


def test_a_proxy_of_the_users_shell_that_gets_the_clusters_names_is_found(patient: Patient) -> None:
    proxy, nodes_were_made_without = {"HTTPS_PROXY": "http://proxy.example:3128"}, {"settings"}
    assert set(wrong(patient, **proxy)) == {"names-proxy"} | nodes_were_made_without
    assert set(wrong(patient, **proxy, NO_PROXY="example.com,.k3d.internal")) == nodes_were_made_without


def test_ports_that_nobody_answers_on_are_found(project: Project) -> None:
    with world_of(project) as world:
        assert set(wrong(Patient(world))) == {"ports-answer"}


def test_the_address_in_the_network_is_one_of_this_machine_or_there_is_none() -> None:
    address = lan_address()
    assert address == "" or is_free(0, address)


@pytest.mark.process
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dnsmasq"), reason="needs dnsmasq, and root for port 53")
def test_a_resolver_that_answers_the_local_network_is_found(patient: Patient) -> None:
    address = "127.0.0.8"
    patient.world.project.patches.append((dns, "lan_address", lambda: address))
    server = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--bind-interfaces",
                               f"--listen-address={address}", "--no-resolv", "--pid-file=",
                               "--address=/k3d.internal/127.0.0.1"])
    try:
        while server.poll() is None and not ask("proof.k3d.internal", 53, address):
            time.sleep(0.1)
        found = wrong(patient)
    finally:
        server.kill()
        server.wait()
    assert set(found) == {"names-lan"}
    assert found["names-lan"] == [f"{address}, port 53, answers anyone who can reach this machine"]


def test_the_list_of_checks_is_there_for_programs_too(project: Project) -> None:
    listed = json.loads(project.inv("doctor", "--checks", "--json").stdout)
    assert [(entry["id"], entry["requirement"]) for entry in listed] == [
        (check.id, check.requirement) for check in (*OF_MACHINE, *OF_CLUSTER, *OF_RUNNING)]
    assert {entry["level"] for entry in listed} == {"error", "warning"}
    assert listed[-1] == {
        "id": "routes", "of": "running clusters", "level": "error",
        "requirement": "Every route between this machine and the running clusters works",
        "cause": "Something between the parts above is in the way.", "fix": "inv matrix", "safe": False,
        "needs": ["ports-answer", "coredns-answers", "bundle", "leaves", "way-to-host", "front-door-clusters",
                  "front-door-pods"], "link": ""}
    assert not project.fakes.calls()


def test_every_check_is_broken_by_a_test_and_every_need_is_a_check() -> None:
    checks = {check.id: check for check in (*OF_MACHINE, *OF_CLUSTER, *OF_RUNNING)}
    assert {id for id, _, _ in BREAKS} | BY_ITSELF == set(checks)
    assert len(checks) == len((*OF_MACHINE, *OF_CLUSTER, *OF_RUNNING)), "every id is unique"
    assert {need for check in checks.values() for need in check.needs} <= set(checks)
    assert all(check.requirement and not check.requirement.endswith(".") for check in checks.values())
