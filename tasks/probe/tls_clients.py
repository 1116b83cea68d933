"""Which programs run in pods, and which variable each reads for the CAs that it trusts.

The node is asked for its processes: of each the program, and the libraries in its memory. Nothing runs in the pod,
which may have no shell. A program that runs for a moment only, such as one in a script, is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.core.shell import Shell
from tasks.probe.objects import Object

# A line for each process of these containers: the container, the program, and what tells which TLS it has: libraries in
# its memory, or what Go writes into its programs.
SCRIPT = r"""
for process in /proc/[0-9]*; do
  container=
  for id in $(grep -oE '[0-9a-f]{64}' $process/cgroup 2>/dev/null | sort -u); do
    case " $* " in *" $id "*) container=$id ;; esac
  done
  [ -n "$container" ] || continue
  found=$(grep -oE 'lib(jvm|gnutls|curl|ssl)[-.][^ /]*' $process/maps 2>/dev/null | sort -u | tr '\n' ',')
  [ -n "$found" ] || ! grep -qa -m 1 'Go buildinf' $process/exe 2>/dev/null || found=go
  echo "$container $(readlink $process/exe) $found"
done
"""

OPENSSL = ("SSL_CERT_FILE",)


@dataclass(frozen=True)
class Runtime:
    """How a program is known, by its name or by a library in its memory, and the variables that it reads."""

    library: str
    program: str
    mapped: str
    variables: tuple[str, ...]


# The first that fits counts. See docs/pod-trust.md, which says how each was tested.
RUNTIMES = (
    Runtime("Java", r"java", r"libjvm", ("JAVA_TOOL_OPTIONS",)),
    Runtime("Node", r"node|deno|bun", r"", ("NODE_EXTRA_CA_CERTS",)),
    Runtime("Python", r"python[0-9.]*", r"", ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")),
    Runtime("curl", r"curl", r"", ("CURL_CA_BUNDLE", "SSL_CERT_FILE")),
    Runtime("git", r"git|git-remote-https?", r"", ("GIT_SSL_CAINFO",)),
    Runtime("Perl", r"perl[0-9.]*", r"", ("PERL_LWP_SSL_CA_FILE", "SSL_CERT_FILE")),
    Runtime("Ruby", r"ruby[0-9.]*", r"", OPENSSL),
    Runtime("libcurl", r"", r"libcurl", ()),
    Runtime("GnuTLS", r"", r"libgnutls", ()),
    Runtime("OpenSSL", r"", r"libssl", OPENSSL),
    Runtime("Go", r"", r"go$", OPENSSL),
)


@dataclass(frozen=True)
class TlsClient:
    """A program of a pod, what it uses for TLS, and the variables that it reads; none where it reads none."""

    program: str
    library: str
    variables: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return f"{self.program} ({self.library}) reads {' and '.join(self.variables) or 'no variable'}"


def find_clients(shell: Shell, nodes: list[str], pods: Iterable[Object]) -> list[tuple[Object, TlsClient]]:
    """The programs that run in these pods and of which it is known what they read, each with its pod."""
    pod_of = {status["containerID"].rpartition("/")[2]: pod for pod in pods
              for status in pod["status"].get("containerStatuses") or [] if status.get("containerID")}
    found: dict[tuple[str, TlsClient], Object] = {}
    for node in nodes if pod_of else ():
        for line in shell.look("docker", "exec", node, "sh", "-c", SCRIPT, "sh", *pod_of).stdout.splitlines():
            container, program, libraries = [*line.split(" "), "", ""][:3]
            if container in pod_of and (client := identify(program.rpartition("/")[2], libraries)):
                found[container, client] = pod_of[container]
    return [(pod, client) for (_, client), pod in found.items()]


def identify(program: str, libraries: str) -> TlsClient | None:
    """What a program reads; None where nothing tells."""
    for runtime in RUNTIMES:
        by_name = runtime.program and re.fullmatch(runtime.program, program)
        by_library = runtime.mapped and re.search(rf"(^|,){runtime.mapped}", libraries)
        if by_name or by_library:
            return TlsClient(program, runtime.library, runtime.variables)
    return None
