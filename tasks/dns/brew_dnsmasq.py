"""macOS: dnsmasq from Homebrew, and a file in /etc/resolver for each of our domains (man 5 resolver)."""

from __future__ import annotations

from pathlib import Path

from invoke import Context, Exit, task

from tasks import settings as configuration
from tasks.names import PlainTask
from tasks.render import MARKER, render, work_file, write
from tasks.settings import Settings
from tasks.shell import Shell, is_macos, require

RESOLVERS = Path("/etc/resolver")


@task(klass=PlainTask)
def dnsmasq_brew_install(context: Context) -> None:
    """Install dnsmasq with Homebrew, and start it"""
    install(open_shell(context)[0])


@task(klass=PlainTask)
def dnsmasq_brew_configure(context: Context) -> None:
    """Have that dnsmasq, and macOS, resolve the clusters' names"""
    configure(*open_shell(context))


@task(klass=PlainTask)
def dnsmasq_brew(context: Context) -> None:
    """Resolve the clusters' names on macOS: install dnsmasq and configure it"""
    shell, settings = open_shell(context)
    install(shell)
    configure(shell, settings)


def open_shell(context: Context) -> tuple[Shell, Settings]:
    settings = configuration.load()
    shell = Shell(context, settings.environment)
    if not is_macos(shell):
        raise Exit("The dnsmasq-brew tasks are for macOS: no other system reads /etc/resolver.\n"
                   "What to type on this one is in the last rows of: inv k3d-cluster-examples --n 0")
    require(shell, "brew")
    return shell, settings


def install(shell: Shell) -> None:
    with shell.step("", "dnsmasq") as this:
        done = []
        if not shell.look("brew", "list", "--versions", "dnsmasq").ok:
            shell.change("brew", "install", "dnsmasq")
            done.append("installed")
        if not shell.look("pgrep", "-x", "dnsmasq").ok:
            service(shell, "start")
            done.append("started")
        this.outcome = " and ".join(done) or "already installed and running"


def service(shell: Shell, verb: str) -> None:
    # As root, because it listens on port 53: macOS ignores other ports in /etc/resolver (homebrew-core#256659).
    shell.sudo("brew", "services", verb, "dnsmasq", why=f"{verb} dnsmasq on port 53")


def configure(shell: Shell, settings: Settings) -> None:
    """Write dnsmasq's configuration and macOS's, restart what changed, and ask the system's resolver."""
    prefix = shell.look("brew", "--prefix").stdout.strip()
    if not prefix:
        raise Exit("brew --prefix said nothing. Is Homebrew whole? Try: brew doctor")
    folder = Path(prefix) / "etc" / "dnsmasq.d"
    wanted = {folder / "dev-cluster-tasks.conf": render("dnsmasq.conf", domains=settings.owned_domains)}
    resolvers = {RESOLVERS / domain: render("resolver") for domain in settings.owned_domains}
    refuse_foreign_files([*wanted, *resolvers])

    with shell.step("", "dnsmasq's configuration") as this:
        # There until dnsmasq has read what is written below, also when that is refused or ended before.
        restart_due = work_file("dnsmasq-restart-due")
        changed = [restart_due.exists()]
        if not shell.dry:
            restart_due.parent.mkdir(exist_ok=True)
            restart_due.touch()
        changed += [
            include_folder(shell, Path(prefix) / "etc" / "dnsmasq.conf", folder),
            remove_file_of_the_original(shell, folder / f"{settings.tld}.conf", f"address=/{settings.tld}/127.0.0.1"),
            *(write_changed(shell, file, text) for file, text in wanted.items()),
        ]
        if any(changed):
            service(shell, "restart")
        if not shell.dry:
            restart_due.unlink()
        this.outcome = "written, and dnsmasq restarted" if any(changed) else "already there"

    with shell.step("", f"resolver for {', '.join(settings.owned_domains)}") as this:
        missing = [file for file, text in resolvers.items() if read(file) != text]
        if missing:
            copies = [write(shell, work_file(f"resolver/{file.name}"), resolvers[file]) for file in missing]
            shell.sudo("mkdir", "-p", "-m", "0755", str(RESOLVERS), why=f"write to {RESOLVERS}")
            # Not cp: sudo keeps a umask of 077, and then the next run could not read what is there.
            shell.sudo("install", "-m", "0644", *map(str, copies), str(RESOLVERS), why=f"write to {RESOLVERS}")
        old = RESOLVERS / settings.tld
        takes_all = old not in resolvers and read(old).strip() == "nameserver 127.0.0.1"
        if takes_all:
            shell.sudo("rm", str(old), why=f"remove {old} of the original Taskfile, which takes all of .{settings.tld}")
        verify(shell, settings)
        this.outcome = "macOS resolves its names" + ("" if missing or takes_all else ", nothing to change")


def include_folder(shell: Shell, main: Path, folder: Path) -> bool:
    """Have dnsmasq read our folder: one line in its main file, which is the user's otherwise."""
    line = f"conf-dir={folder}/,*.conf"
    text = read(main)
    if line in (written.strip() for written in text.splitlines()):
        return False
    if shell.dry:
        print(f"# append {line} to {main}")
        return True
    main.parent.mkdir(parents=True, exist_ok=True)
    with main.open("a", encoding="utf-8") as file:
        file.write(("" if not text or text.endswith("\n") else "\n") + f"{line}\n")
    return True


def remove_file_of_the_original(shell: Shell, file: Path, content: str) -> bool:
    """Remove a file that holds nothing but what the original Taskfile wrote: it takes the whole TLD."""
    if read(file).strip() != content:
        return False
    shell.change("rm", str(file))
    return True


def write_changed(shell: Shell, file: Path, text: str) -> bool:
    if read(file) == text:
        return False
    write(shell, file, text)
    return True


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def refuse_foreign_files(files: list[Path]) -> None:
    foreign = [str(file) for file in files if file.exists() and not read(file).startswith(MARKER)]
    if foreign:
        raise Exit(f"Not written by these tasks: {', '.join(foreign)}. Move that away, then run this again.")


def verify(shell: Shell, settings: Settings) -> None:
    """Ask as a browser does; dig and nslookup do not read /etc/resolver."""
    name = f"proof.{settings.cluster_domain(0)}"
    question = ("dscacheutil", "-q", "host", "-a", "name", name)
    try:
        shell.until(f"macOS to resolve {name}", 15, lambda: "ip_address: 127.0.0.1" in shell.look(*question).stdout)
    except Exit:
        raise Exit(
            f"macOS does not resolve {name}, though everything is in place. In this order:\n"
            "  1. sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder\n"
            f"  2. scutil --dns: is there a resolver for {', '.join(settings.owned_domains)}? A VPN may have its own.\n"
            f"  3. dig @127.0.0.1 {name}: does dnsmasq answer 127.0.0.1?\n"
            "  4. Some versions of macOS 26 ignore /etc/resolver for a TLD that is not a public one. Then set in .env\n"
            "     a TLD below a public one, such as TLD=127.0.0.1.nip.io, which needs no resolver here."
        ) from None
